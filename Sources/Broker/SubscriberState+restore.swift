// SPDX-License-Identifier: Apache-2.0

import DequeModule
import HeapModule
package import Events

extension SubscriberState {
    /// Puts back what the ledger knew, before the first record arrives. `rows` in order of topic and offset;
    /// `deadKeys` are the keys that have dead letters nobody has dealt with.
    package mutating func restore(
        rows: [(id: DeliveryID, deferral: Deferred)], deadKeys: [String], now: Timestamp
    ) {
        if settings.ordered {
            for key in deadKeys {
                keys[key, default: KeyState()].isBusy = true
                keys[key]!.isBlocked = true
            }
        }
        for (id, row) in rows {
            if row.isScheduled, !(settings.ordered && row.key != nil), let due = row.due {
                insertScheduled(Due(time: due, id: id), row)
                continue
            }
            deferred[id] = row
            if let due = row.due { dueTimes.insert(Due(time: due, id: id)) }
            guard settings.ordered, let key = row.key else {
                if row.due == nil {
                    // It was parked while the subscriber was ordered, and isn't any more.
                    deferred[id]!.due = now
                    dueTimes.insert(Due(time: now, id: id))
                }
                continue
            }
            var state = keys[key] ?? KeyState()
            if row.due == nil {
                state.parked.append(id)
            } else {
                state.isBusy = true
                state.isBlocked = true
            }
            keys[key] = state
        }
        // Only parked rows so far, which change nothing by being let go.
        var round = LedgerRound()
        for (key, state) in keys where !state.isBusy && !state.parked.isEmpty {
            release(key: key, now: now, into: &round)
        }
    }

    /// A delivery that was leased before a restart is in flight still; false where it has been settled since.
    package mutating func resumeLeased(_ delivery: Delivery) -> Bool {
        let id = delivery.id
        guard inFlight[id] == nil else { return false }
        if let entry = deferred[id] {
            // A run of history may have had it, and has a row of its own.
            guard entry.due != nil, entry.attempts == delivery.attempt - 1, entry.replay == delivery.replay,
                !entry.isUnderway
            else { return false }
            deferred[id]!.isUnderway = true
        } else {
            guard delivery.attempt == 1, !delivery.replay, let feed = feeds[id.topic], id.offset >= feed.next,
                !feed.resumed.contains(where: { $0.contains(id.offset) })
            else { return false }
            feeds[id.topic]!.hasLeased = true
            if settings.ordered, let key = delivery.record.key { keys[key, default: KeyState()].isBusy = true }
        }
        hold(delivery)
        inFlight[id] = delivery
        if settings.ordered, let key = delivery.record.key { inFlightKeys.insert(key) }
        return true
    }

    /// Records that have come in and are not settled, as far as they are known here.
    package var unsettled: Int { held + deferred.count - deferred.values.count { $0.isUnderway } + shelf.count }

    /// Records held, deferred with a due time, or not yet read: all that moves by itself. What is parked behind a dead
    /// letter isn't counted.
    package var movable: Int {
        held + shelf.count + deferred.values.count { $0.due != nil && !$0.isUnderway }
            + unread
    }

    /// Records that were not looked at yet.
    package var unread: Int { feeds.values.reduce(0) { $0 + Int($1.end.offset - min($1.next, $1.end.offset)) } }

    /// When the oldest record was appended that is held in memory and not settled.
    package var oldestUnsettled: Timestamp? {
        let candidates = [ready.first, retries.first].compactMap { $0 } + inFlight.values
        return candidates.map(\.record.time).min()
    }
}
