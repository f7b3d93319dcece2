// SPDX-License-Identifier: Apache-2.0

import DequeModule
package import Events
import HeapModule
import Ledger
import Routes

/// What becomes of a delivery when its attempt ends.
extension SubscriberState {
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

    /// Keys that are in flight no longer.
    mutating func land(_ delivery: Delivery) {
        if !inFlightKeys.isEmpty, let key = delivery.record.key { inFlightKeys.remove(key) }
    }
}
