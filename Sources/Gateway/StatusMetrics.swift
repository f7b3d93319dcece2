// SPDX-License-Identifier: Apache-2.0

import Broker
import Events

/// How things stand with topics and subscribers, asked of the broker at each scrape: what is gone from routes.conf is gone
/// from here.
enum StatusMetrics {
    /// All that a subscriber's state can be (``SubscriberStatus/state``): one of them is 1.
    static let states = [
        "behind", "busy", "delayed", "down", "gone", "live", "paused", "quarantined", "stalled",
    ]

    static func render(
        _ status: BrokerStatus, now: Timestamp, version: String, as format: PrometheusMetrics.Format
    ) -> String {
        var text = ""
        func gauge(_ name: String, _ samples: [(labels: [(String, String)], value: Double)]) {
            guard !samples.isEmpty else { return }
            text += format.heading(name, "gauge", MetricHelp.texts[name] ?? name)
            for (labels, value) in samples {
                text += "\(name){\(PrometheusMetrics.labels(labels))} \(PrometheusMetrics.number(value))\n"
            }
        }
        func topics(_ name: String, _ value: (TopicStatus) -> Double) {
            gauge(name, status.topics.map { ([("topic", $0.name)], value($0)) })
        }
        func subscribers(_ name: String, _ value: (SubscriberStatus) -> Double) {
            gauge(name, status.subscribers.map { ([("subscriber", $0.name)], value($0)) })
        }
        gauge("fairlead_build_info", [([("version", version)], 1)])
        topics("fairlead_store_bytes") { Double($0.bytes) }
        topics("fairlead_store_events") { Double($0.end - $0.first) }
        subscribers("fairlead_subscriber_backlog_events") { Double($0.backlog) }
        subscribers("fairlead_subscriber_dead_letters") { Double($0.dead) }
        subscribers("fairlead_subscriber_in_flight") { Double($0.inFlight) }
        subscribers("fairlead_subscriber_oldest_unsettled_seconds") { subscriber in
            subscriber.oldestUnsettled.map { max(0, Double(now.milliseconds - $0.milliseconds) / 1_000) } ?? 0
        }
        subscribers("fairlead_subscriber_retrying") { Double($0.retrying) }
        gauge(
            "fairlead_subscriber_state",
            status.subscribers.flatMap { subscriber in
                states.map { state in
                    ([("subscriber", subscriber.name), ("state", state)], subscriber.state == state ? 1 : 0)
                }
            })
        return text
    }
}
