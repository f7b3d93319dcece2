// SPDX-License-Identifier: Apache-2.0

import DequeModule
import HeapModule
package import Events
import Ledger
package import Routes

/// What one subscriber has taken in, started and settled. Pure: records, outcomes and the time come in; deliveries to
/// start and ledger changes come out. Whoever drives it does the reading, the delivering and the writing.
///
/// A delivery is in exactly one place:
///
///     ready ──start──► in flight ──settle──► done
///       ▲                  └──── failed ───► deferred ──due──► (read again) ──► ready
///       └── waiting behind its key, in memory; deferred without a due time when its key is blocked (parked)
///
/// For each topic, everything below ``Feed/position`` is done or deferred, and so are the `settled` ranges above it.
/// Together with the deferred rows that is all that a restart needs; nothing between the two can be lost, and
/// nothing settled is delivered again once written.
package struct SubscriberState {
    package struct Settings: Sendable {
        package var ordered = false
        /// Deliveries in flight at once.
        package var inFlightMax = Limits.pipelineEvents
        package var retry = RetryPolicy()
        package var rate: Rate?
        package var batch: BatchPolicy?
        package var breaker: BreakerPolicy?
        package var paused = false
        /// How long each record lies before it may be delivered, and until when it may.
        package var deliverAfter: Duration?
        package var ttl: Duration?
        /// Scheduled deliveries held in memory.
        package var scheduledMax = Limits.scheduledMax
        package var bounds = MemoryBounds()
        /// It takes what lies in the past, beside a live one: nothing of it waits for a batch's interval, and it holds less.
        package var isHistory = false
        /// What it delivers is marked as a replay.
        package var isReplay = false

        package init() {}
    }

    package var settings: Settings
    /// The running configuration's number; attempts that begin carry it.
    package var generation = 0
    package internal(set) var feeds: [Topic: Feed] = [:]
    /// May start now, in order.
    var ready: Deque<Delivery> = []
    /// Deferred deliveries whose time has come and whose record was read again; they go first.
    var retries: Deque<Delivery> = []
    package internal(set) var inFlight: [DeliveryID: Delivery] = [:]
    /// Of an ordered subscriber.
    var inFlightKeys: Set<String> = []
    /// It takes and starts nothing more; what is in flight ends, and isn't tried again.
    var isCancelled = false
    package internal(set) var deferred: [DeliveryID: Deferred] = [:]
    var dueTimes = Heap<Due>()
    /// Those that wait for a time that their publisher set; they are in `deferred` as well.
    var schedule = Heap<Due>()
    /// Where the schedule in memory ends and what is only in the ledger begins.
    var shelf = Shelf()
    /// Deferred deliveries whose record is being read.
    package internal(set) var reading = 0
    /// Failed while the subscriber is on probation; held in memory.
    var suspended: [Suspended] = []
    /// In flight, and to be dropped: their time was over before they could start.
    var overdue: [DeliveryID] = []
    /// Keys of an ordered subscriber that have something in flight, deferred or dead.
    var keys: [String: KeyState] = [:]
    var bucket: TokenBucket?
    package internal(set) var breaker: CircuitBreaker
    /// What the endpoint has allowed, beside the settings' rate; nil: as often as wanted.
    private var allowed: Rate?
    /// The record of a probe is being read.
    var isReadingProbe = false
    /// Records held in memory, and their bytes.
    package internal(set) var held = 0
    package internal(set) var heldBytes = 0

    package struct Deferred: Sendable {
        /// Attempts made so far.
        package var attempts: Int
        /// nil: parked behind its key.
        package var due: Timestamp?
        package var key: String?
        package var replay = false
        /// The dead letter it was before it was sent again; its record is read from there.
        package var deadLetter: Int64?
        package var reason = ""
        /// The record was asked for, or is ready or in flight again.
        package var isUnderway = false
    }

    struct Due: Comparable {
        var time: Timestamp
        var id: DeliveryID

        static func < (a: Due, b: Due) -> Bool {
            if a.time != b.time { return a.time < b.time }
            if a.id.topic != b.id.topic { return a.id.topic.name < b.id.topic.name }
            return a.id.offset < b.id.offset
        }
        static func == (a: Due, b: Due) -> Bool { a.time == b.time && a.id == b.id }
    }

    /// One key of an ordered subscriber. `parked` comes before `waiting`, and both are in offset order.
    struct KeyState {
        /// Something of this key is ready, in flight, deferred with a due time, or dead and not yet dealt with.
        var isBusy = false
        /// Its head is deferred or dead: followers are parked instead of held in memory.
        var isBlocked = false
        var waiting: Deque<Delivery> = []
        var parked: Deque<DeliveryID> = []

        var isIdle: Bool { !isBusy && !isBlocked && waiting.isEmpty && parked.isEmpty }
    }

    package init(settings: Settings) {
        self.settings = settings
        bucket = settings.rate.map { TokenBucket(rate: $0) }
        breaker = CircuitBreaker(policy: settings.breaker)
    }

    /// Takes new settings; what is in flight goes on under them.
    package mutating func update(_ settings: Settings) {
        let isOtherRate = settings.rate != self.settings.rate
        if settings.deliverAfter != self.settings.deliverAfter {
            for topic in feeds.keys { feeds[topic]!.notBefore = nil }
        }
        self.settings = settings
        if isOtherRate { fillBucket() }
        breaker.update(settings.breaker)
    }

    /// The lower of the settings' rate and this one holds from now on.
    package mutating func allow(_ rate: Rate?) {
        guard rate != allowed else { return }
        allowed = rate
        fillBucket()
    }

    private mutating func fillBucket() {
        let rates = [settings.rate, allowed].compactMap { $0 }
        bucket = rates.min { $0.perSecond < $1.perSecond }.map { TokenBucket(rate: $0) }
    }

    /// Goes on as if the endpoint had never failed.
    package mutating func resetBreaker() {
        breaker.reset()
        isReadingProbe = false
    }

    /// See ``CircuitBreaker/reopen(now:)``.
    package mutating func reopenBreaker(now: Timestamp) -> Bool { breaker.reopen(now: now) }

    package var hasRoom: Bool {
        held + reading < window.events && heldBytes < window.bytes
            && deferred.count - (settings.isHistory ? 0 : schedule.count) < settings.bounds.deferredMax
    }

    private var window: (events: Int, bytes: Int) {
        settings.isHistory
            ? (settings.bounds.historyWindowEvents, settings.bounds.historyWindowBytes)
            : (settings.bounds.windowEvents, settings.bounds.windowBytes)
    }

    /// How many deferred records may be asked for now. How large they are is known when they are there.
    var readable: Int {
        guard heldBytes < window.bytes else { return 0 }
        let largest = Swift.max(1, (window.bytes - heldBytes) / settings.bounds.recordBytes)
        return Swift.max(0, min(window.events - held, largest) - reading)
    }

    /// Takes those records of `batch` whose places `matching` names (ascending), as long as there is room. Records
    /// before the feed's `next`, and those past the topic's end as known, are left out: they came or will come another way.
    ///
    /// The topic's end must have been moved past a live batch before this call.
    package mutating func arrive(
        _ batch: RecordBatch, matching: [Int32], now: Timestamp, into round: inout LedgerRound
    ) {
        guard batch.count > 0, var feed = feeds.removeValue(forKey: batch.topic) else { return }
        defer { feeds[batch.topic] = feed }
        let from = feed.behindAt ?? batch.first
        let end = min(batch.last + 1, feed.end.offset)
        // A gap: what lies between is read from the journal first.
        guard from >= batch.first || batch.first > batch.last else { return }
        for index in matching {
            let record = batch[Int(index)]
            let offset = record.offset
            if offset < from { continue }
            if offset >= end { break }
            guard hasRoom else {
                feed.advance(to: offset)
                return
            }
            if let lag = settings.deliverAfter, record.time + lag > now {
                feed.advance(to: offset)
                feed.notBefore = max(record.time + lag, now + Limits.delayedReadInterval)
                return
            }
            if feed.wasSettled(offset) || deferred[DeliveryID(topic: batch.topic, offset: offset)] != nil {
                feed.outstanding.append(.init(offset: offset, isDone: true))
                feed.doneAhead += 1
                feed.trim()
                continue
            }
            feed.outstanding.append(.init(offset: offset, isDone: false))
            if feed.hasLeased, inFlight[DeliveryID(topic: batch.topic, offset: offset)] != nil { continue }
            if let due = record.deliverAt, due > now {
                schedule(record, due, &feed, &round)
            } else {
                enqueue(Delivery(record: record, attempt: 1, replay: settings.isReplay), &feed, &round)
            }
        }
        feed.advance(to: max(from, end))
        feed.trim()
    }

    package mutating func open(_ feed: Feed) {
        feeds[feed.end.topic] = feed
    }

    /// The subscriber no longer takes from `topic`; what it has taken in already is still delivered.
    package mutating func close(_ topic: Topic) {
        feeds[topic] = nil
    }

    /// A topic with records to read, and from where; those that are furthest back first.
    package func behind(now: Timestamp) -> (topic: Topic, from: Offset)? {
        var found: (topic: Topic, from: Offset)?
        for (topic, feed) in feeds {
            guard let at = feed.behindAt, feed.notBefore ?? now <= now else { continue }
            if found.map({ topic.id < $0.topic.id }) ?? true { found = (topic, at) }
        }
        return found
    }

    /// Records from `offset` on were not routed from memory.
    package mutating func fallBehind(_ topic: Topic, at offset: Offset) {
        if let feed = feeds[topic], feed.behindAt == nil { feeds[topic]!.behindAt = offset }
    }

    /// Jumps over records that no longer exist.
    package mutating func skip(_ topic: Topic, to offset: Offset) {
        guard let feed = feeds[topic], feed.next < offset else { return }
        feeds[topic]!.advance(to: offset)
    }

    mutating func enqueue(_ delivery: Delivery, _ feed: inout Feed, _ round: inout LedgerRound) {
        guard settings.ordered, let key = delivery.record.key else {
            hold(delivery)
            ready.append(delivery)
            return
        }
        var state = keys.removeValue(forKey: key) ?? KeyState()
        if state.isBlocked || !state.parked.isEmpty {
            park(delivery.id, key: key, &state)
            round.deferred.append(.init(id: delivery.id, deferral: deferred[delivery.id]!))
            feed.finish(delivery.id.offset)
        } else if state.isBusy {
            hold(delivery)
            state.waiting.append(delivery)
        } else {
            hold(delivery)
            state.isBusy = true
            ready.append(delivery)
        }
        keys[key] = state
    }

    mutating func hold(_ delivery: Delivery) {
        held += 1
        heldBytes += delivery.record.byteCount
    }

    mutating func release(_ delivery: Delivery) {
        held -= 1
        heldBytes -= delivery.record.byteCount
    }

}
