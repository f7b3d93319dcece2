// SPDX-License-Identifier: Apache-2.0

import DequeModule
import HeapModule
package import Events
package import Ledger

/// Deliveries that wait for a time that their publisher set, and those whose time is over.
///
/// Each is a row in the ledger from the moment it is taken in. The nearest ``SubscriberState/Settings/scheduledMax`` are
/// in memory as well; all from the shelf's horizon on are read when those before have gone. The exception are keyed
/// deliveries of an ordered subscriber: their followers wait behind them, so they stay in memory and count as deferred.
extension SubscriberState {
    struct Shelf {
        /// Everything in the order of times from here on is only in the ledger; nil: nothing is.
        var horizon: Due?
        var count = 0
        /// Where the read that is under way begins.
        var readingFrom: Due?
        /// What came to the shelf during that read, which may not have seen it.
        var arrivals: [(due: Due, deferral: Deferred)] = []
    }

    /// A record is taken in whose time has not come.
    mutating func schedule(_ record: Record, _ due: Timestamp, _ feed: inout Feed, _ round: inout LedgerRound) {
        let id = DeliveryID(topic: record.topic, offset: record.offset)
        guard settings.ordered, let key = record.key else {
            feed.finish(id.offset)
            let entry = Deferred(attempts: 0, due: due, key: record.key, replay: settings.isReplay)
            round.deferred.append(.init(id: id, deferral: entry))
            insertScheduled(Due(time: due, id: id), entry)
            return
        }
        guard let state = keys[key], state.isBusy || !state.parked.isEmpty else {
            feed.finish(id.offset)
            scheduleHead(id, due, key: key, &round)
            return
        }
        // It waits its turn first, as any other; its time is looked at again when it is the head. A row for it while its
        // head has none would let it go first after a restart.
        enqueue(Delivery(record: record, attempt: 1, replay: settings.isReplay), &feed, &round)
    }

    /// The head of a key waits for its time; followers are parked behind it.
    mutating func scheduleHead(_ id: DeliveryID, _ due: Timestamp, key: String, _ round: inout LedgerRound) {
        let entry = Deferred(attempts: 0, due: due, key: key, replay: settings.isReplay)
        deferred[id] = entry
        dueTimes.insert(Due(time: due, id: id))
        round.deferred.append(.init(id: id, deferral: entry))
        block(key: key, &round)
    }

    mutating func insertScheduled(_ due: Due, _ entry: Deferred) {
        if let horizon = shelf.horizon, !(due < horizon) {
            shelf.count += 1
            if shelf.readingFrom != nil { shelf.arrivals.append((due, entry)) }
            return
        }
        deferred[due.id] = entry
        schedule.insert(due)
        guard schedule.count > settings.scheduledMax, let last = schedule.popMax() else { return }
        deferred[last.id] = nil
        shelf.horizon = last
        shelf.count += 1
    }

    mutating func takeScheduled(now: Timestamp, max: Int, _ due: inout [(id: DeliveryID, deadLetter: Int64?)]) {
        while due.count < max, readable > 0, let next = schedule.min, next.time <= now {
            schedule.removeMin()
            // It may have been leased before a restart.
            guard let entry = deferred[next.id], entry.isScheduled, !entry.isUnderway else { continue }
            deferred[next.id]!.isUnderway = true
            reading += 1
            due.append((next.id, nil))
        }
    }

    /// Where to read scheduled deliveries from, and how many; nil where there are enough in memory. The answer goes to
    /// ``unshelve(_:isLast:)``, or where there is none, to ``unshelvingFailed()``.
    package mutating func takeShelfRead() -> (from: SchedulePlace, limit: Int)? {
        guard let horizon = shelf.horizon, shelf.readingFrom == nil, schedule.count <= settings.scheduledMax / 2 else {
            return nil
        }
        shelf.readingFrom = horizon
        let place = SchedulePlace(due: horizon.time, topic: horizon.id.topic.name, offset: horizon.id.offset)
        return (place, Swift.max(1, settings.scheduledMax / 2))
    }

    /// Takes in what the ledger has from the asked-for place on; `isLast`: there is nothing after it.
    package mutating func unshelve(_ rows: [(id: DeliveryID, deferral: Deferred)], isLast: Bool) {
        let from = shelf.readingFrom
        let arrivals = shelf.arrivals
        shelf.readingFrom = nil
        shelf.arrivals = []
        // Sooner ones went to the shelf in the meantime: they are to be read first.
        guard from == shelf.horizon else { return }
        let last = rows.last.flatMap { row in row.deferral.due.map { Due(time: $0, id: row.id) } }
        if isLast {
            shelf.horizon = nil
        } else if let last {
            shelf.horizon = Due(
                time: last.time, id: DeliveryID(topic: last.id.topic, offset: last.id.offset + 1))
        }
        var taken = 0
        func take(_ due: Due, _ entry: Deferred) {
            guard deferred[due.id] == nil, shelf.horizon.map({ due < $0 }) ?? true else { return }
            deferred[due.id] = entry
            schedule.insert(due)
            taken += 1
        }
        for row in rows { if let due = row.deferral.due { take(Due(time: due, id: row.id), row.deferral) } }
        for (due, entry) in arrivals { take(due, entry) }
        shelf.count = Swift.max(0, shelf.count - taken)
        if shelf.horizon == nil { shelf.count = 0 }
    }

    package mutating func unshelvingFailed() {
        shelf.readingFrom = nil
        shelf.arrivals = []
    }

    /// After a restart: of the scheduled deliveries only the first were read.
    package mutating func restoreShelf(after last: (id: DeliveryID, due: Timestamp), count: Int) {
        shelf.horizon = Due(
            time: last.due, id: DeliveryID(topic: last.id.topic, offset: last.id.offset + 1))
        shelf.count = count
    }

    /// Whether it may not be delivered any more. What somebody asks to have again has no end.
    func isOver(_ delivery: Delivery, _ now: Timestamp) -> Bool {
        if settings.isReplay { return false }
        let record = delivery.record
        if let ttl = settings.ttl, record.time + ttl <= now { return true }
        if let expires = record.expires { return expires <= now }
        return false
    }

    /// Deliveries that are in flight only to be dropped, since their time is over.
    package mutating func takeOverdue() -> [DeliveryID] {
        defer { overdue.removeAll() }
        return overdue
    }
}

extension SubscriberState.Deferred {
    /// It waits for a time that its publisher set, and was never tried.
    var isScheduled: Bool { attempts == 0 && due != nil && deadLetter == nil }
}
