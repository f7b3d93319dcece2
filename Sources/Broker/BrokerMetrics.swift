// SPDX-License-Identifier: Apache-2.0

import CoreMetrics
import Events
import Filtering
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

    /// What a script did wrong, as opposed to what it asked for.
    static func pluginErrors(subscriber: String, plugin: String) -> Counter {
        Counter(label: "fairlead_plugin_errors_total", dimensions: [("subscriber", subscriber), ("plugin", plugin)])
    }
}

/// What the filters on one topic cost, and what they could not judge.
struct FilterMetrics {
    private let events: Counter
    private let candidates: Counter
    private let mismatches: Counter
    private let opaque: Counter

    init(topic: Topic, unindexed: Int) {
        let labels = [("topic", topic.name)]
        events = Counter(label: "fairlead_filter_events_total", dimensions: labels)
        candidates = Counter(label: "fairlead_filter_candidates_total", dimensions: labels)
        mismatches = Counter(label: "fairlead_filter_type_mismatch_total", dimensions: labels)
        opaque = Counter(label: "fairlead_filter_data_unparseable_total", dimensions: labels)
        Gauge(label: "fairlead_filter_unindexed", dimensions: labels).record(unindexed)
    }

    func record(_ tally: MatchTally, events count: Int) {
        events.increment(by: count)
        candidates.increment(by: tally.candidates)
        if tally.mismatches > 0 { mismatches.increment(by: tally.mismatches) }
        if tally.opaque > 0 { opaque.increment(by: tally.opaque) }
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
    private let duration: any TimerHandler

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
        duration = MetricsSystem.factory.makeTimer(
            label: "fairlead_delivery_duration_seconds", dimensions: [("subscriber", subscriber)])
    }

    /// Attempts of a batch mostly began in the same millisecond: each run of them is recorded as one. Of a lease from before
    /// a restart nobody knows when it began.
    func ended(_ round: LedgerRound, now: Timestamp) {
        var began: Timestamp?
        var count = 0
        func add(_ next: Timestamp?) {
            if next != began {
                if let began, began != .distantPast, count > 0 {
                    // The clock may have been set back.
                    let nanoseconds = max(0, (now - began).milliseconds) * 1_000_000
                    if let duration = duration as? any RepeatedTiming {
                        duration.record(nanoseconds: nanoseconds, times: count)
                    } else {
                        for _ in 0..<count { duration.recordNanoseconds(nanoseconds) }
                    }
                }
                (began, count) = (next, 0)
            }
            count += 1
        }
        for passed in round.passed { add(passed.began) }
        for attempt in round.attempts { add(attempt.delivery.began) }
        add(nil)
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
