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
    var reading = 0
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
    private var isReadingProbe = false
    /// Records held in memory, and their bytes.
    package internal(set) var held = 0
    var heldBytes = 0

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

    package var hasRoom: Bool {
        held < (settings.isHistory ? Limits.historyWindowEvents : Limits.windowEvents)
            && heldBytes < (settings.isHistory ? Limits.historyWindowBytes : Limits.windowBytes)
            && deferred.count - (settings.isHistory ? 0 : schedule.count) < Limits.deferredMax
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

    mutating func park(_ id: DeliveryID, key: String, _ state: inout KeyState) {
        deferred[id] = Deferred(attempts: 0, due: nil, key: key, replay: settings.isReplay)
        state.parked.append(id)
    }

    mutating func hold(_ delivery: Delivery) {
        held += 1
        heldBytes += delivery.record.byteCount
    }

    mutating func release(_ delivery: Delivery) {
        held -= 1
        heldBytes -= delivery.record.byteCount
    }

    /// Deliveries that may start now, at most `max` and, but for the first, `maxBytes` of records; they are in flight
    /// from here on. Those whose time is over are in flight too, and ``takeOverdue()`` names them. Those that `isElsewhere`
    /// names must wait: another lane of the subscriber has them in flight, or something of their key.
    package mutating func start(
        max: Int, maxBytes: Int = .max, now: Timestamp, unless isElsewhere: ((Delivery) -> Bool)? = nil
    ) -> [Delivery] {
        guard !settings.paused, !(ready.isEmpty && retries.isEmpty) else { return [] }
        while let next = retries.first ?? ready.first, isOver(next, now), !(isElsewhere?(next) ?? false) {
            _ = begin(now)
        }
        var count = Swift.min(max, settings.inFlightMax - inFlight.count)
        switch breaker.stand(now: now) {
        case .everything: break
        case .probe: count = Swift.min(count, 1)
        case .nothing, .probing: return []
        }
        if let batch = settings.batch {
            guard inFlight.isEmpty, isBatchDue(batch, now) else { return [] }
            count = Swift.min(count, batch.count)
        }
        count = Swift.min(count, ready.count + retries.count)
        guard count > 0 else { return [] }
        if bucket != nil { count = bucket!.take(upTo: count, now: now) }
        guard count > 0 else { return [] }
        var started: [Delivery] = []
        started.reserveCapacity(count)
        var bytes = 0
        var passedOver: (retries: [Delivery], ready: [Delivery]) = ([], [])
        while started.count < count, let next = retries.first ?? ready.first {
            if let isElsewhere, isElsewhere(next) {
                guard passedOver.retries.count + passedOver.ready.count < Limits.passedOverMax else { break }
                if retries.isEmpty {
                    passedOver.ready.append(ready.removeFirst())
                } else {
                    passedOver.retries.append(retries.removeFirst())
                }
                continue
            }
            bytes += next.record.byteCount
            if bytes > maxBytes, !started.isEmpty { break }
            if let delivery = begin(now) { started.append(delivery) }
        }
        if !passedOver.retries.isEmpty { retries.prepend(contentsOf: passedOver.retries) }
        if !passedOver.ready.isEmpty { ready.prepend(contentsOf: passedOver.ready) }
        if let first = started.first { breaker.started(first.id) }
        if started.count < count { bucket?.putBack(count - started.count) }
        return started
    }

    /// Puts the next delivery in flight; nil where its time is over.
    private mutating func begin(_ now: Timestamp) -> Delivery? {
        guard var delivery = retries.popFirst() ?? ready.popFirst() else { return nil }
        delivery.began = now
        delivery.generation = generation
        inFlight[delivery.id] = delivery
        if settings.ordered, let key = delivery.record.key { inFlightKeys.insert(key) }
        guard isOver(delivery, now) else { return delivery }
        overdue.append(delivery.id)
        return nil
    }

    /// Keys that are in flight no longer.
    mutating func land(_ delivery: Delivery) {
        if !inFlightKeys.isEmpty, let key = delivery.record.key { inFlightKeys.remove(key) }
    }

    /// A batch starts when it is full, when its oldest record has waited for the interval, or when no more can be held.
    private func isBatchDue(_ batch: BatchPolicy, _ now: Timestamp) -> Bool {
        if ready.count + retries.count >= batch.count || !retries.isEmpty || !hasRoom { return true }
        if settings.isHistory { return behind(now: now) == nil }
        return batchDue(batch).map { $0 <= now } ?? false
    }

    private func batchDue(_ batch: BatchPolicy) -> Timestamp? {
        ready.first.map { $0.record.time + batch.every }
    }

    /// The next moment at which something changes by itself; nil: only when something comes in, or while it is paused.
    /// `canStart` is false while another lane keeps this one from starting anything.
    package func wake(now: Timestamp, canStart: Bool = true) -> Timestamp? {
        guard !settings.paused else { return nil }
        let isAnythingReady = !(ready.isEmpty && retries.isEmpty)
        var wake = [dueTimes.min?.time, suspended.lazy.map(\.due).min()].compactMap { $0 }.min()
        switch breaker.stand(now: now) {
        case .everything: break
        // Retries stay where they are: see `takeDue`.
        case .nothing(let until): return isAnythingReady || wake != nil ? until : nil
        case .probing: return nil
        case .probe: if isAnythingReady || isReadingProbe { wake = nil }
        }
        func consider(_ time: Timestamp?) {
            if let time { wake = wake.map { min($0, time) } ?? time }
        }
        if canReadScheduled { consider(schedule.min?.time) }
        if settings.deliverAfter != nil {
            for feed in feeds.values { if let time = feed.notBefore, time > now { consider(time) } }
        }
        guard isAnythingReady, canStart else { return wake }
        if let batch = settings.batch, inFlight.isEmpty, !settings.isHistory { consider(batchDue(batch)) }
        if inFlight.count < settings.inFlightMax { consider(rateWake(after: now)) }
        return wake
    }

    /// Names the deferred deliveries whose record is to be read again now, and gives them the place that ``resume(_:id:)`` fills.
    package mutating func takeDue(now: Timestamp, max: Int) -> [(id: DeliveryID, deadLetter: Int64?)] {
        var due: [(id: DeliveryID, deadLetter: Int64?)] = []
        guard !settings.paused else { return due }
        var max = max
        switch breaker.stand(now: now) {
        case .everything: break
        case .nothing, .probing: return due
        // One, where there is nothing else to probe with.
        case .probe:
            guard ready.isEmpty, retries.isEmpty, !isReadingProbe else { return due }
            max = 1
        }
        defer { if breaker.isOpen { isReadingProbe = !due.isEmpty } }
        while due.count < max, let next = dueTimes.min, next.time <= now {
            dueTimes.removeMin()
            guard let entry = deferred[next.id], entry.due == next.time, !entry.isUnderway else { continue }
            deferred[next.id]!.isUnderway = true
            reading += 1
            due.append((next.id, entry.deadLetter))
        }
        takeScheduled(now: now, max: max, &due)
        return due
    }

    /// The record of a deferred delivery was read.
    package mutating func resume(_ record: Record, id: DeliveryID, now: Timestamp) {
        guard let entry = deferred[id], entry.isUnderway else { return }
        if entry.attempts == 0, entry.deadLetter == nil, let due = record.deliverAt, due > now {
            // It was parked behind its key, and its own time hasn't come.
            postpone(id, until: due)
            return
        }
        reading -= 1
        let delivery = Delivery(record: record, attempt: entry.attempts + 1, replay: entry.replay)
        hold(delivery)
        retries.append(delivery)
    }

    /// The record of a deferred delivery is gone: retention took it.
    package mutating func lost(_ id: DeliveryID, now: Timestamp, into round: inout LedgerRound) {
        isReadingProbe = false
        guard let entry = deferred.removeValue(forKey: id) else { return }
        reading -= 1
        round.finished.append(id)
        if let deadLetter = entry.deadLetter { round.resolved.append(ResolvedLetter(deadLetter, .lost)) }
        guard settings.ordered, let key = entry.key else { return }
        if entry.due == nil {
            // It was parked: whoever it waited for still holds the key.
            keys[key]?.parked.removeAll { $0 == id }
            if keys[key]?.isIdle == true { keys[key] = nil }
        } else {
            release(key: key, now: now, into: &round)
        }
    }

    /// Deferred deliveries whose record is read from the journal again, by offset, below `end`.
    package func deferred(in topic: Topic, before end: Offset) -> [DeliveryID] {
        deferred.filter { id, row in
            id.topic == topic && id.offset < end && row.deadLetter == nil && !row.isUnderway
        }.keys.sorted { $0.offset < $1.offset }
    }

    /// The lowest offset of `topic` whose record is still needed; nil where the subscriber doesn't take from it.
    package func unsettledFloor(of topic: Topic) -> Offset? {
        let waiting = deferred.lazy.filter { $0.key.topic == topic && $0.value.deadLetter == nil }.map(\.key.offset)
        return [feeds[topic]?.position, waiting.min()].compactMap { $0 }.min()
    }

    /// Reading failed for now: try again at `time`.
    package mutating func postpone(_ id: DeliveryID, until time: Timestamp) {
        isReadingProbe = false
        guard deferred[id] != nil else { return }
        reading -= 1
        deferred[id]!.isUnderway = false
        deferred[id]!.due = time
        dueTimes.insert(Due(time: time, id: id))
    }

    /// A dead letter is sent again.
    package mutating func redrive(
        _ id: DeliveryID, key: String?, deadLetter: Int64, replay: Bool = false, now: Timestamp,
        into round: inout LedgerRound
    ) -> Bool {
        guard deferred[id] == nil, inFlight[id] == nil else { return false }
        var entry = Deferred(attempts: 0, due: now, key: key, replay: replay, deadLetter: deadLetter)
        entry.reason = "sent again"
        deferred[id] = entry
        dueTimes.insert(Due(time: now, id: id))
        if settings.ordered, let key {
            keys[key, default: KeyState()].isBusy = true
            keys[key]!.isBlocked = true
        }
        round.deferred.append(.init(id: id, deferral: entry))
        return true
    }

    /// A dead letter was discarded: what was parked behind it goes on.
    package mutating func unblock(key: String, now: Timestamp) {
        guard settings.ordered, keys[key] != nil else { return }
        // What is behind a dead letter is parked: its rows are there.
        var round = LedgerRound()
        release(key: key, now: now, into: &round)
    }

    /// A delivery of another lane has started; it is the probe where the breaker is open.
    mutating func probeStarted(_ id: DeliveryID) { breaker.started(id) }

    /// Attempts of another lane of the subscriber ended in success.
    package mutating func endpointAnswered() { breaker.succeeded() }

    /// What an attempt's end tells of the endpoint; true where the attempt is excused.
    package mutating func observe(_ settlement: Settlement, now: Timestamp) -> Bool {
        if settlement.outcome == .ack {
            breaker.succeeded()
            return false
        }
        return breaker.ended(settlement.delivery, settlement.endpoint, now: now)
    }

    /// Ends the attempt on `id`; false where it isn't in flight (settled before, or its lease ran out). `isExcused` is
    /// what ``observe(_:now:)`` said of it, where another lane of the subscriber has the breaker.
    package mutating func settle(
        _ settlement: Settlement, isExcused: Bool? = nil, now: Timestamp,
        random: inout some RandomNumberGenerator, into round: inout LedgerRound
    ) -> Bool {
        let id = settlement.delivery
        guard let delivery = inFlight.removeValue(forKey: id) else { return false }
        land(delivery)
        if isExcused ?? observe(settlement, now: now) {
            if isCancelled {
                leave(delivery, .discarded("its replay was cancelled"), &round)
            } else {
                // Behind all others, so that the next probe is another one: this one may be what the endpoint chokes on.
                ready.append(delivery)
            }
            return true
        }
        switch settlement.outcome {
        case .ack, .drop:
            if case .ack = settlement.outcome, delivery.attempt == 1,
                settlement.effects?.publications.isEmpty ?? true
            {
                round.passed.append(.init(delivery))
            } else {
                round.attempts.append(.init(delivery, settlement))
            }
            finish(delivery, now: now, into: &round)
        case .returned where isCancelled:
            leave(delivery, .discarded("its replay was cancelled"), &round)
        case .retry where isCancelled:
            round.attempts.append(.init(delivery, settlement))
            leave(delivery, .discarded("its replay was cancelled"), &round)
        case .returned:
            // Its place in the order is before everything that has not started.
            retries.prepend(delivery)
        case .retry(let after, let reason):
            round.attempts.append(.init(delivery, settlement))
            if let limit = settings.retry.attempts, delivery.attempt >= limit {
                bury(delivery, "gave up after \(limit) attempts: \(reason)", settlement.trace, now, &round)
            } else {
                let delay = settings.retry.delay(afterAttempt: delivery.attempt, asked: after, random: &random)
                postpone(delivery, until: now + delay, reason, settlement.trace, &round)
            }
        case .dead(let reason):
            round.attempts.append(.init(delivery, settlement))
            bury(delivery, reason, settlement.trace, now, &round)
        }
        return true
    }

    /// Ends attempts in success, which is what nearly all are; returns how many were in flight.
    package mutating func acknowledge(_ ids: [DeliveryID], now: Timestamp, into round: inout LedgerRound) -> Int {
        var count = 0
        for id in ids {
            guard let delivery = inFlight.removeValue(forKey: id) else { continue }
            land(delivery)
            if delivery.attempt == 1 {
                round.passed.append(.init(delivery))
            } else {
                round.attempts.append(.init(delivery, Settlement(id, .ack)))
            }
            finish(delivery, now: now, into: &round)
            count += 1
        }
        if count > 0 { breaker.succeeded() }
        return count
    }

    private mutating func finish(_ delivery: Delivery, now: Timestamp, into round: inout LedgerRound) {
        leave(delivery, .acknowledged, &round)
        if settings.ordered, let key = delivery.record.key { release(key: key, now: now, into: &round) }
    }

    /// Takes a delivery out of memory and out of what holds the position back.
    private mutating func leave(_ delivery: Delivery, _ end: DeadLetterEnd, _ round: inout LedgerRound) {
        release(delivery)
        let id = delivery.id
        if let row = deferred.removeValue(forKey: id) {
            round.finished.append(id)
            if let deadLetter = row.deadLetter { round.resolved.append(ResolvedLetter(deadLetter, end)) }
        } else {
            feeds[id.topic]?.finish(id.offset)
        }
    }

    private mutating func postpone(
        _ delivery: Delivery, until due: Timestamp, _ reason: String, _ trace: String?, _ round: inout LedgerRound
    ) {
        release(delivery)
        let id = delivery.id
        let before = deferred[id]
        if before == nil { feeds[id.topic]?.finish(id.offset) }
        let key = delivery.record.key
        let entry = Deferred(
            attempts: delivery.attempt, due: due, key: key, replay: delivery.replay, deadLetter: before?.deadLetter,
            reason: reason)
        deferred[id] = entry
        dueTimes.insert(Due(time: due, id: id))
        round.deferred.append(.init(id: id, deferral: entry, trace: trace))
        if settings.ordered, let key { block(key: key, &round) }
    }

    private mutating func bury(
        _ delivery: Delivery, _ reason: String, _ trace: String?, _ now: Timestamp, _ round: inout LedgerRound
    ) {
        let previous = deferred[delivery.id]?.deadLetter
        leave(delivery, .failedAgain, &round)
        round.dead.append(.init(delivery: delivery, reason: reason, trace: trace, time: now, previous: previous))
        // Its followers wait until somebody mends it, sends it again or discards it.
        if settings.ordered, let key = delivery.record.key { block(key: key, &round) }
    }

    mutating func block(key: String, _ round: inout LedgerRound) {
        var state = keys.removeValue(forKey: key) ?? KeyState()
        state.isBusy = true
        state.isBlocked = true
        while let follower = state.waiting.popFirst() {
            release(follower)
            feeds[follower.id.topic]?.finish(follower.id.offset)
            park(follower.id, key: key, &state)
            round.deferred.append(.init(id: follower.id, deferral: deferred[follower.id]!))
        }
        keys[key] = state
    }

    /// The head of a key is done: the next of that key may go.
    mutating func release(key: String, now: Timestamp, into round: inout LedgerRound) {
        guard var state = keys.removeValue(forKey: key) else { return }
        state.isBusy = false
        state.isBlocked = false
        if let next = state.parked.popFirst() {
            state.isBusy = true
            // Its followers stay parked until it is settled; it is read from the journal at once.
            state.isBlocked = true
            deferred[next]?.due = now
            dueTimes.insert(Due(time: now, id: next))
        } else if let next = state.waiting.popFirst() {
            state.isBusy = true
            if let due = next.record.deliverAt, due > now {
                release(next)
                feeds[next.id.topic]?.finish(next.id.offset)
                keys[key] = state
                scheduleHead(next.id, due, key: key, &round)
                return
            }
            ready.append(next)
        }
        if !state.isIdle { keys[key] = state }
    }
}
