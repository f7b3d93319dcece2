// SPDX-License-Identifier: Apache-2.0

import DequeModule
import Events
import HeapModule

/// Of an ordered subscriber: one delivery of a key goes, its followers wait in memory, or are parked behind one that failed.
extension SubscriberState {
    mutating func park(_ id: DeliveryID, key: String, _ state: inout KeyState) {
        deferred[id] = Deferred(attempts: 0, due: nil, key: key, replay: settings.isReplay)
        state.parked.append(id)
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
