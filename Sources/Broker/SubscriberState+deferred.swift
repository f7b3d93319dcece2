// SPDX-License-Identifier: Apache-2.0

package import Events
import HeapModule
import Ledger

/// Deliveries that wait for their next attempt: their records are read again when their time has come.
extension SubscriberState {
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
        while due.count < max, readable > 0, let next = dueTimes.min, next.time <= now {
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
}
