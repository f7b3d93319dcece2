// SPDX-License-Identifier: Apache-2.0

import CoreMetrics
import Events
import Ledger
import Logging
import Routes

extension BrokerCore {
    /// The fifth verb: ends attempts. The state machine says what each outcome means; what follows from it (the moved
    /// position, the retry, the dead letter, the plugin's state writes and its publications) goes to the ledger as
    /// one change, so that all of it is true after a crash or none.
    func settle(_ subscriber: Subscriber, _ settlements: Settlements) {
        guard !subscriber.isHandedOver else { return subscriber.heldSettlements.append(settlements) }
        if subscriber.history.isEmpty {
            settle(subscriber, subscriber, settlements)
        } else {
            for (lane, part) in byLane(subscriber, settlements) { settle(subscriber, lane, part) }
        }
        countKills(subscriber, settlements)
        watchEndpoint(subscriber, settlements)
        concludeProbation(of: subscriber, clock.now())
        dispatch(subscriber)
    }

    /// What ends belongs to the lane that has it in flight.
    private func byLane(
        _ subscriber: Subscriber, _ settlements: Settlements
    ) -> [(lane: any DeliveryLane, part: Settlements)] {
        var live = Settlements()
        var others = subscriber.history.map { (lane: $0, part: Settlements()) }
        for id in settlements.acks {
            if let place = subscriber.history.firstIndex(where: { $0.state.inFlight[id] != nil }) {
                others[place].part.acks.append(id)
            } else {
                live.acks.append(id)
            }
        }
        for settlement in settlements.others {
            let id = settlement.delivery
            if let place = subscriber.history.firstIndex(where: { $0.state.inFlight[id] != nil }) {
                others[place].part.others.append(settlement)
            } else {
                live.others.append(settlement)
            }
        }
        return ([(lane: subscriber as any DeliveryLane, part: live)] + others.map { ($0.lane, $0.part) })
            .filter { !$0.part.isEmpty }
    }

    private func settle(_ subscriber: Subscriber, _ lane: any DeliveryLane, _ settlements: Settlements) {
        let now = clock.now()
        let history = lane as? HistoryLane
        var round = LedgerRound()
        var effects = Effects()
        countOnProbation(settlements.acks, lane, subscriber, now)
        let acked = lane.state.acknowledge(settlements.acks, now: now, into: &round)
        subscriber.counts.acked += acked
        subscriber.metrics.acked.increment(by: acked)
        if let history, acked > 0 {
            count(acked, of: history, for: subscriber)
            subscriber.state.endpointAnswered()
        }

        for var settlement in settlements.others {
            settlement.outcome = settlement.outcome.withBoundedReason
            if let more = settlement.effects {
                if let refusal = refusal(of: more, subscriber) {
                    settlement.outcome = .retry(after: nil, reason: refusal.message)
                    settlement.effects = nil
                } else if effects.state.count + more.state.count > Limits.stateWritesMax / 2
                    || effects.publications.count + more.publications.count > Limits.publicationsMax / 2
                {
                    // What was settled so far is one change, the rest another; both whole.
                    subscriber.metrics.ended(round, now: now)
                    subscriber.attempts.add(&round, now: now)
                    commit(subscriber, round, effects, lane: lane.laneID)
                    round = LedgerRound()
                    effects = Effects()
                }
            }
            let ended = lane.state.inFlight[settlement.delivery]
            if takesOnProbation(settlement, lane, subscriber, now, into: &round) {
                count(settlement, of: ended, for: subscriber)
                continue
            }
            var isExcused: Bool?
            if let history, history.state.inFlight[settlement.delivery] != nil {
                isExcused = subscriber.state.observe(settlement, now: now)
            }
            guard
                lane.state.settle(settlement, isExcused: isExcused, now: now, random: &random, into: &round)
            else { continue }
            count(settlement, of: ended, for: subscriber)
            switch settlement.outcome {
            case .ack, .drop:
                if let history { count(1, of: history, for: subscriber) }
                if let more = settlement.effects {
                    effects.state += more.state
                    effects.publications += more.publications
                }
            case .retry, .dead, .returned: break
            }
        }
        if let history {
            if let began = round.passed.last?.began ?? round.attempts.last?.delivery.began {
                history.share.observe(now - began, least: subscriber.historyLeast)
            }
            history.pace.mark(history.passed, now)
            if history.state.inFlight.isEmpty {
                history.turns.end(clock.nanoseconds(), least: subscriber.historyLeast)
            }
        }
        subscriber.metrics.ended(round, now: now)
        subscriber.attempts.add(&round, now: now)
        if round.isEmpty && effects.isEmpty {
            markDirty(subscriber)
        } else {
            commit(subscriber, round, effects, lane: lane.laneID)
        }
    }

    private func count(_ settled: Int, of history: HistoryLane, for subscriber: Subscriber) {
        history.count(settled)
        subscriber.metrics(of: history.row.details.kind).settled.increment(by: settled)
    }

    /// Why the ledger won't take one delivery's effects; nil where it will.
    private func refusal(of effects: Effects, _ subscriber: Subscriber) -> Failure? {
        var change = LedgerChange(subscriber: subscriber.name)
        change.state = effects.state
        change.publications = effects.publications
        return Ledger.refusal(of: change)
    }

    private func count(_ settlement: Settlement, of delivery: Delivery?, for subscriber: Subscriber) {
        if settlement.trace != nil || settlement.wasKilled { subscriber.pluginErrors?.increment() }
        switch settlement.outcome {
        case .ack:
            subscriber.counts.acked += 1
            subscriber.metrics.acked.increment()
        case .drop:
            subscriber.counts.dropped += 1
            subscriber.metrics.dropped.increment()
        case .retry(_, let reason):
            subscriber.counts.retried += 1
            subscriber.metrics.retried.increment()
            subscriber.lastError = reason
            report(reason, settlement, delivery, subscriber)
        case .dead(let reason):
            subscriber.lastError = reason
            report(reason, settlement, delivery, subscriber)
        case .returned: break
        }
    }

    /// A failure in a script is a warning the first time that it happens at its place, and for debugging from then on.
    private func report(
        _ reason: String, _ settlement: Settlement, _ delivery: Delivery?, _ subscriber: Subscriber
    ) {
        subscriber.lastTrace = settlement.trace
        var metadata: Logger.Metadata = [
            "subscriber": "\(subscriber.name)", "topic": "\(settlement.delivery.topic)",
            "offset": "\(settlement.delivery.offset)", "reason": "\(reason)",
        ]
        if let delivery {
            metadata["event.id"] = "\(delivery.record.id)"
            metadata["attempt"] = "\(delivery.attempt)"
        }
        var level = Logger.Level.debug
        if let trace = settlement.trace {
            metadata["trace"] = "\(trace)"
            if subscriber.shownTraces.count < Limits.shownTracesMax, subscriber.shownTraces.insert(trace).inserted {
                level = .warning
            }
        }
        log.log(level: level, "Delivery failed", metadata: metadata)
    }

    /// Writes what a round changed, together with the positions as they stand.
    func commit(
        _ subscriber: Subscriber, _ round: LedgerRound, _ effects: Effects = Effects(), lane: Int64? = nil,
        redriven: [Int64] = [], needsSync: Bool = false, allAttempts: Bool = false, newRows: [LedgerLane] = [],
        then: (@Sendable () -> Void)? = nil
    ) {
        var change = LedgerChange(subscriber: subscriber.name)
        change.needsSync = needsSync
        if let lane, !round.dead.isEmpty, let history = subscriber.history.first(where: { $0.id == lane }) {
            count(round.dead.count, of: history, for: subscriber)
        }
        if !subscriber.history.isEmpty { subscriber.recordHistory(clock.now()) }
        change.positions = subscriber.state.positions
        change.lanes = subscriber.history.map(\.change)
        for row in newRows {
            if let place = change.lanes.firstIndex(where: { $0.id == row.id }) { change.lanes[place].row = row }
        }
        let deferred =
            round.finished.map { DeferredChange.remove(topic: $0.topic.name, offset: $0.offset) }
            + round.deferred.map { .put(Deferred($0)) }
        if lane == nil {
            change.deferred = deferred
        } else if let place = change.lanes.firstIndex(where: { $0.id == lane }),
            subscriber.history[place].row.state == .running
        {
            change.lanes[place].deferred = deferred
        }
        change.resolved = round.resolved
        change.redriven = redriven
        change.state = effects.state
        change.publications = effects.publications
        for burial in round.dead {
            subscriber.counts.dead += 1
            subscriber.metrics.dead.increment()
            var metadata: Logger.Metadata = [
                "subscriber": "\(subscriber.name)", "topic": "\(burial.delivery.record.topic)",
                "offset": "\(burial.delivery.record.offset)", "event.id": "\(burial.delivery.record.id)",
                "attempt": "\(burial.delivery.attempt)", "reason": "\(burial.reason)",
            ]
            if let trace = burial.trace { metadata["trace"] = "\(trace)" }
            log.warning("Delivery is a dead letter", metadata: metadata)
            var letter = NewDeadLetter(burial)
            letter.lane = lane
            change.dead.append(letter)
            // A dead letter of the dead letters' own subscriber is kept, but not announced: that would never end.
            if burial.delivery.record.topic != .dead {
                change.publications.append(.deadLetter(burial, subscriber: subscriber.name))
            }
            if case .publish(let topic) = subscriber.route.onDead {
                change.publications.append(Publication(topic: topic, event: burial.delivery.record.event))
            }
        }
        if let burial = round.dead.first, subscriber.route.onDead == .pause, subscriber.pause == nil {
            let pause = PauseRecord(
                since: clock.now(), cause: .dead,
                reason: "\(burial.delivery.record.topic)@\(burial.delivery.record.offset): \(burial.reason)")
            subscriber.pause = pause
            change.pause = .pause(pause)
            subscriber.applySettings()
            log.warning("Subscriber is paused after a dead letter", metadata: ["subscriber": "\(subscriber.name)"])
        }
        change.leases = subscriber.leases.takeChanges()
        change.standstills = subscriber.takeStandstillChanges()
        subscriber.attempts.write(to: &change, all: allAttempts)
        observeRedrives(round)
        subscriber.isDirty = false
        let hasPublications = !change.publications.isEmpty
        let name = subscriber.name
        engine.commit(change) { [post, log] result in
            switch result {
            case .success:
                if hasPublications { post { core in core.drainOutbox() } }
                then?()
            case .failure(let failure):
                // The ledger retries what the disk refuses; it gives up only when it is closed while the disk fails.
                log.error(
                    "Settlements not written; their events will be delivered again",
                    metadata: ["subscriber": "\(name)", "error": "\(failure)"])
            }
        }
    }

    /// Plain acknowledgements are written a little later, many in one.
    func markDirty(_ subscriber: Subscriber) {
        subscriber.isDirty = true
        if flushAt == nil { flushAt = clock.now() + Limits.settleFlushDelay }
    }

    func flush() {
        flushAt = nil
        for subscriber in subscribers.values where subscriber.isDirty { commit(subscriber, LedgerRound()) }
    }

    /// Also of those that settled nothing, since records that don't concern them move their positions as well.
    func flushAllPositions(_ now: Timestamp) {
        positionsAt = now + Limits.positionsInterval
        for subscriber in subscribers.values {
            let sum = subscriber.lanes.reduce(0) { sum, lane in
                lane.state.feeds.values.reduce(sum) { $0 &+ $1.position }
            }
            if sum != subscriber.positionsWritten || !subscriber.attempts.isEmpty {
                subscriber.positionsWritten = sum
                commit(subscriber, LedgerRound(), allAttempts: true)
            }
        }
    }
}
