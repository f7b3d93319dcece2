// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering
package import Ledger
package import Routes

/// What a subscriber's deliveries run in: one live lane, and one for each run of history beside it.
protocol DeliveryLane: AnyObject {
    /// nil for the live one.
    var laneID: Int64? { get }
    var state: SubscriberState { get set }
    /// A read of the journal is on its way.
    var isReading: Bool { get set }
}

/// A run of history: records of the past on their way to one subscriber, beside what is live.
///
/// It has a state machine of its own, whose feeds end where the run ends, and its own positions and deferred rows in the
/// ledger. Attempts, dead letters, state and publications are the subscriber's. Owned by the broker's thread.
package final class HistoryLane: DeliveryLane {
    package private(set) var row: LedgerLane
    package internal(set) var state: SubscriberState
    var isReading = false
    var share = HistoryShare()
    var turns = HistoryTurns()
    var pace = Pace()
    /// Events of an import are being appended.
    var isAppending = false
    let ownFilter: Filter?
    private let filter: Matcher?
    private let scratch: MatchScratch?
    private let ends: [Topic: TopicEnd]

    var id: Int64 { row.id }
    var laneID: Int64? { row.id }
    var isCancelled: Bool { row.state == .cancelled }

    /// `known` is what the ledger has of it, `settings` are those of the subscriber. `importEnd` is how far the topic of
    /// an import goes, which the ledger doesn't know.
    init(
        _ row: LedgerLane, settings: SubscriberState.Settings, known: LaneLedger?, importEnd: Offset = 0,
        deadKeys: [String], now: Timestamp
    ) {
        self.row = row
        let filter = row.details.filter.flatMap { try? Filter.parse($0) }
        ownFilter = filter
        self.filter = filter.map { Matcher([$0]) }
        scratch = self.filter?.makeScratch()
        state = SubscriberState(settings: Self.settings(settings, row.details))
        var ends: [Topic: TopicEnd] = [:]
        for span in row.details.spans {
            let topic = Topic.named(span.topic)
            let end = TopicEnd(topic: topic, offset: max(span.until, importEnd))
            ends[topic] = end
            let place = known?.positions.first { $0.topic == span.topic }
            state.open(Feed(end: end, position: place?.position ?? span.from, settled: place?.settled ?? []))
        }
        self.ends = ends
        if let known { state.restore(rows: known.deferred.map(\.restored), deadKeys: deadKeys, now: now) }
    }

    static func settings(
        _ settings: SubscriberState.Settings, _ details: LedgerLane.Details
    ) -> SubscriberState.Settings {
        var settings = settings
        settings.isHistory = true
        // The handler of a new subscriber has never seen what `start` brings; what is replayed or imported has had its
        // effects in the world before.
        settings.isReplay = details.kind != .start
        settings.rate = details.rate
        // The subscriber's own decides for all of its lanes.
        settings.breaker = nil
        // All of it is in memory: see `hasRoom`.
        settings.scheduledMax = .max
        // Its records are as old as the file's way here.
        if details.kind == .imported { settings.deliverAfter = nil }
        return settings
    }

    func applySettings(_ settings: SubscriberState.Settings) {
        state.update(Self.settings(settings, row.details))
    }

    func takes(_ record: Record) -> Bool {
        guard let filter, let scratch else { return true }
        var isTrue = false
        filter.match(record, scratch) { _ in isTrue = true }
        return isTrue
    }

    /// Where a record of `id` is; nil where the run has nothing to do with it any more, or never had.
    func place(of id: DeliveryID) -> DeliveryTrace? {
        guard !isCancelled, let trace = state.place(of: id) else { return nil }
        switch trace.state {
        case .underway, .retrying, .parked, .waiting: return trace
        case .unread:
            // Of what is asked for again, its first delivery is what counts.
            guard row.details.kind == .start, let end = ends[id.topic], id.offset < end.offset else { return nil }
            return trace
        default: return nil
        }
    }

    // MARK: Imports

    var isImport: Bool { row.details.kind == .imported }
    private var importSpan: LedgerLane.Span { row.details.spans[0] }
    var importTopic: Topic { Topic.named(importSpan.topic) }
    var importFirst: Offset { importSpan.from }
    /// Events of an import that are in.
    var taken: Int { Int((ends[importTopic]?.offset ?? importFirst) - importFirst) }

    /// More of an import is in its topic.
    func grow(to end: Offset) {
        guard let topicEnd = ends[importTopic], topicEnd.offset < end else { return }
        let before = topicEnd.offset
        topicEnd.offset = end
        state.fallBehind(importTopic, at: before)
    }

    func complete() { row.details.isComplete = true }

    /// What is live waits for it.
    var isFirst: Bool { row.details.isFirst == true && !isCancelled }

    // MARK: How it goes

    func count(_ settled: Int) { row.done += settled }

    var isFinished: Bool { row.details.isComplete && state.isFinished && !isReading }

    func end(_ state: LedgerLane.State, at now: Timestamp) {
        row.state = state
        row.ended = now
    }

    var change: LaneChange {
        var change = LaneChange(id: id, done: row.done)
        if row.state == .running { change.positions = state.positions }
        return change
    }

    /// Records in its spans, and how many of them it is past.
    var total: Int {
        if isImport { return max(row.details.expected ?? 0, taken) }
        return row.details.spans.reduce(0) { $0 + Int($1.until - $1.from) }
    }

    var passed: Int {
        row.details.spans.reduce(0) { sum, span in
            guard let feed = state.feeds[Topic.named(span.topic)] else { return sum + Int(span.until - span.from) }
            return sum + Int(feed.position - min(span.from, feed.position))
        }
    }

    func progress(_ now: Timestamp) -> HistoryProgress {
        var progress = HistoryProgress(row)
        progress.total = total
        progress.passed = passed
        progress.taken = isImport ? taken : nil
        progress.waiting = state.deferred.count
        progress.inFlight = state.inFlight.count
        progress.perSecond = pace.perSecond(passed, now)
        return progress
    }

    /// How fast a run goes, over the last few seconds.
    struct Pace {
        private var samples: [(time: Timestamp, count: Int)] = []

        mutating func mark(_ count: Int, _ now: Timestamp) {
            if let last = samples.last, now - last.time < Limits.paceInterval { return }
            samples = samples.suffix(1) + [(now, count)]
        }

        func perSecond(_ count: Int, _ now: Timestamp) -> Double? {
            guard let first = samples.first, now > first.time else { return nil }
            return Double(count - first.count) / (now - first.time).seconds
        }
    }
}

/// How history makes room while events are published: in short turns, with pauses between them in which every thread that
/// works for it sleeps. A processor that is free when a live event comes is what its latency depends on most: threads that
/// never sleep cost it a time slice of the kernel at each of the four hops from its socket to its handler.
struct HistoryTurns {
    private(set) var inFlightMax = Limits.yieldInFlightStart
    private var began: Int64?
    /// When the next turn may begin.
    private(set) var next: Timestamp = .distantPast

    func mayBegin(_ now: Timestamp) -> Bool { next <= now }

    /// A turn has begun, at `nanoseconds` of a clock that is never set.
    mutating func begin(_ now: Timestamp, _ nanoseconds: Int64) {
        next = now + Limits.yieldInterval
        if began == nil { began = nanoseconds }
    }

    /// Everything that was started is settled; at least `least` may be under way whatever it takes.
    mutating func end(_ nanoseconds: Int64, least: Int) {
        guard let began else { return }
        self.began = nil
        let time = Duration.nanoseconds(nanoseconds - began)
        if time > Limits.yieldTurnMax {
            inFlightMax = max(least, inFlightMax / 2)
        } else if time < Limits.yieldTurnMin {
            inFlightMax = min(Limits.yieldInFlightMax, inFlightMax + max(1, inFlightMax / 8))
        }
    }
}

/// How many deliveries of history a destination may have at once. What is live stands in one line with them, so that the
/// time they take is the time it waits.
struct HistoryShare {
    private(set) var inFlightMax = Limits.historyInFlightStart

    /// A delivery took `time`; `least` may be under way whatever they take.
    mutating func observe(_ time: Duration, least: Int) {
        if time >= Limits.historyTurnMax {
            inFlightMax = max(least, inFlightMax / 2)
        } else if time < Limits.historyTurnMin {
            inFlightMax = min(Limits.historyInFlightMax, inFlightMax + max(1, inFlightMax / 8))
        }
    }
}

extension LedgerLane.Details {
    package var rate: Rate? {
        get {
            guard let rateCount, let rateMilliseconds else { return nil }
            return Rate(count: rateCount, per: .milliseconds(rateMilliseconds))
        }
        set {
            rateCount = newValue?.count
            rateMilliseconds = newValue?.per.milliseconds
        }
    }
}

extension SubscriberState {
    var positions: [LedgerPosition] {
        feeds.map { topic, feed in LedgerPosition(topic: topic.name, position: feed.position, settled: feed.settled) }
    }
}
