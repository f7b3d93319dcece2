// SPDX-License-Identifier: Apache-2.0

import Metrics

/// Every metric of the broker. Labels are names from routes.conf and outcomes, never anything of an event.
struct BrokerMetrics {
    let matched = Counter(label: "fairlead_matches_total")
    let outbox = Counter(label: "fairlead_outbox_events_total")
    let generation = Gauge(label: "fairlead_config_generation")

    static func published(topic: String) -> Counter {
        Counter(label: "fairlead_events_published_total", dimensions: [("topic", topic)])
    }

    static func duplicates(topic: String) -> Counter {
        Counter(label: "fairlead_events_duplicate_total", dimensions: [("topic", topic)])
    }

    /// What `dedupe` forgot before its time, as it was full.
    static func forgotten(topic: String) -> Counter {
        Counter(label: "fairlead_dedupe_forgotten_total", dimensions: [("topic", topic)])
    }

    /// Events that a subscriber was to get and that are gone.
    static func lost(subscriber: String, topic: String) -> Counter {
        Counter(label: "fairlead_events_lost_total", dimensions: [("subscriber", subscriber), ("topic", topic)])
    }

    /// Records that retention has removed.
    static func expired(topic: String) -> Counter {
        Counter(label: "fairlead_events_expired_total", dimensions: [("topic", topic)])
    }

    static func rejected(topic: String, reason: String) -> Counter {
        Counter(label: "fairlead_events_rejected_total", dimensions: [("topic", topic), ("reason", reason)])
    }
}

struct SubscriberMetrics {
    let acked: Counter
    let retried: Counter
    let dropped: Counter
    let dead: Counter
    /// 1 while the breaker is open.
    let endpointDown: Gauge
    let outages: Counter
    private let attempts: Counter

    init(subscriber: String) {
        func outcome(_ outcome: String) -> Counter {
            Counter(
                label: "fairlead_deliveries_total", dimensions: [("subscriber", subscriber), ("outcome", outcome)])
        }
        acked = outcome("ack")
        retried = outcome("retry")
        dropped = outcome("drop")
        dead = outcome("dead")
        endpointDown = Gauge(label: "fairlead_endpoint_down", dimensions: [("subscriber", subscriber)])
        outages = Counter(label: "fairlead_endpoint_outages_total", dimensions: [("subscriber", subscriber)])
        attempts = Counter(label: "fairlead_attempts_total", dimensions: [("subscriber", subscriber)])
    }

    func started(_ count: Int) {
        attempts.increment(by: count)
    }
}
