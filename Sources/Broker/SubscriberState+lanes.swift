// SPDX-License-Identifier: Apache-2.0

import DequeModule
import HeapModule
package import Events
import Routes

/// What one lane of a subscriber needs of another.
extension SubscriberState {
    /// How many could start if nothing but they themselves stood in the way.
    package var startable: Int { settings.paused ? 0 : ready.count + retries.count }

    /// Whether it has `delivery` in flight, or, where order counts, something of its key.
    package func isUnderway(_ delivery: Delivery) -> Bool {
        if inFlight[delivery.id] != nil { return true }
        guard settings.ordered, !inFlightKeys.isEmpty, let key = delivery.record.key else { return false }
        return inFlightKeys.contains(key)
    }

    /// Takes what another lane of the subscriber wants to start out of this one's rate.
    mutating func takeTokens(upTo count: Int, now: Timestamp) -> Int {
        bucket == nil ? count : bucket!.take(upTo: count, now: now)
    }

    mutating func putBackTokens(_ count: Int) {
        if count > 0 { bucket?.putBack(count) }
    }

    /// When the rate lets the next one start, where that is all that is in the way.
    func rateWake(after now: Timestamp) -> Timestamp? {
        bucket.flatMap { bucket in
            let next = bucket.next(after: now)
            return next > now ? next : nil
        }
    }

    /// Everything there was to take is taken and settled. What is parked behind a dead letter isn't.
    package var isFinished: Bool {
        held == 0 && deferred.isEmpty && feeds.values.allSatisfy { $0.behindAt == nil }
    }

    /// The lowest offset of `topic` whose record a run of history still needs; nil where it is done with the topic.
    func historyFloor(of topic: Topic) -> Offset? {
        guard !isCancelled, let floor = unsettledFloor(of: topic) else { return nil }
        if let feed = feeds[topic], floor >= feed.end.offset { return nil }
        return floor
    }

    /// Gives up what hasn't started. Returns the dead letters that were being sent again here.
    package mutating func cancel() -> [Int64] {
        isCancelled = true
        feeds = [:]
        ready = []
        retries = []
        suspended = []
        dueTimes = Heap()
        schedule = Heap()
        reading = 0
        keys = [:]
        let letters = deferred.filter { inFlight[$0.key] == nil }.compactMap(\.value.deadLetter)
        deferred = deferred.filter { inFlight[$0.key] != nil }
        held = inFlight.count
        heldBytes = inFlight.values.reduce(0) { $0 + $1.record.byteCount }
        return letters
    }
}
