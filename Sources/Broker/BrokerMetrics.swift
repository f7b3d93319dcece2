// SPDX-License-Identifier: Apache-2.0

import Events
import Ledger
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

/// How the runs of history of one kind go that a subscriber has. Made with the first; what there was stays, at 0.
struct HistoryMetrics {
    /// Under way.
    private let runs: Gauge
    /// Records that they have not come to or not settled, and deliveries that wait for a retry or behind their key.
    private let remaining: Gauge
    /// Records a second, lately.
    private let rate: Gauge
    let settled: Counter

    init(subscriber: String, kind: LedgerLane.Kind) {
        let labels = [("subscriber", subscriber), ("kind", kind.rawValue)]
        runs = Gauge(label: "fairlead_history_runs", dimensions: labels)
        remaining = Gauge(label: "fairlead_history_remaining", dimensions: labels)
        rate = Gauge(label: "fairlead_history_per_second", dimensions: labels)
        settled = Counter(label: "fairlead_history_settled_total", dimensions: labels)
    }

    func record(_ lanes: [HistoryLane], _ now: Timestamp) {
        let progress = lanes.map { $0.progress(now) }
        runs.record(lanes.count)
        remaining.record(progress.reduce(0) { $0 + max(0, $1.total - $1.passed) + $1.waiting })
        rate.record(progress.reduce(0) { $0 + ($1.perSecond ?? 0) })
    }
}

extension Subscriber {
    /// From the moment that a run of its kind is known.
    func metrics(of kind: LedgerLane.Kind) -> HistoryMetrics {
        if let known = historyMetrics[kind] { return known }
        let made = HistoryMetrics(subscriber: name, kind: kind)
        historyMetrics[kind] = made
        return made
    }

    /// Shows how its runs of history go.
    func recordHistory(_ now: Timestamp) {
        for (kind, metrics) in historyMetrics {
            metrics.record(history.filter { $0.row.details.kind == kind && !$0.isCancelled }, now)
        }
    }
}
