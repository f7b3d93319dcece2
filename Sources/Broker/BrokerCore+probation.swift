// SPDX-License-Identifier: Apache-2.0

package import Events
import Ledger
import Logging
import Routes

/// What became of a changed subscriber's probation, told to whoever makes generations.
package struct ProbationReport: Sendable {
    package var subscriber: String
    /// The one that changed it.
    package var generation: Int
    /// nil: it has proved itself. `undone` is what is wanted: until a generation takes it back, or
    /// ``Broker/pauseChanged(_:generation:previous:obstacle:)``, the subscriber starts nothing.
    package var badReload: BadReload?
}

extension BrokerCore {
    /// Looks at the end of an attempt before the state machine does; true where the delivery is dealt with, as its failure
    /// is not charged.
    func takesOnProbation(
        _ settlement: Settlement, _ lane: any DeliveryLane, _ subscriber: Subscriber, _ now: Timestamp,
        into round: inout LedgerRound
    ) -> Bool {
        guard let delivery = lane.state.inFlight[settlement.delivery] else { return false }
        let sign = settlement.sign
        let isFailure = sign == .failure || sign == .hopeless
        // What had failed before says nothing of the change, nor does what died before.
        let isFresh = delivery.attempt == 1 && lane.state.deferred[delivery.id]?.deadLetter == nil
        let mayWait = isFailure && isFresh && !lane.state.isCancelled
        if mayWait, subscriber.replaced?.contains(delivery.generation) ?? false {
            _ = subscriber.state.observe(settlement, now: now)
            guard lane.state.suspend(settlement, until: now, into: &round) else { return false }
            lane.state.resumeSuspended(now: now)
            return true
        }
        guard let probation = subscriber.probation, delivery.generation >= probation.generation else {
            if subscriber.probation == nil { subscriber.recent.add(sign) }
            return false
        }
        if sign == .success {
            subscriber.probation!.succeeded(1, now: now)
            if settlement.effects?.state.isEmpty == false { subscriber.probation!.hasWritten = true }
        }
        guard mayWait else { return false }
        let (reason, asked) = settlement.outcome.failure
        let times = subscriber.probation!.failed(
            delivery.id, sign, error: reason, trace: settlement.trace, now: now)
        guard probation.isBinding else { return false }
        _ = subscriber.state.observe(settlement, now: now)
        let delay = lane.state.settings.retry.delay(afterAttempt: times, asked: asked, random: &random)
        return lane.state.suspend(settlement, until: now + delay, into: &round)
    }

    /// Acknowledgements come in bulk.
    func countOnProbation(
        _ acks: [DeliveryID], _ lane: any DeliveryLane, _ subscriber: Subscriber, _ now: Timestamp
    ) {
        guard let probation = subscriber.probation else { return subscriber.recent.succeeded(acks.count) }
        let proving = acks.count { (lane.state.inFlight[$0]?.generation ?? 0) >= probation.generation }
        subscriber.probation!.succeeded(proving, now: now)
    }

    /// Acts on the verdict, once.
    func concludeProbation(of subscriber: Subscriber, _ now: Timestamp) {
        subscriber.probation?.tick(now: now)
        guard let probation = subscriber.probation, let verdict = probation.verdict,
            subscriber.badReload?.generation != probation.generation
        else { return }
        switch (verdict, probation.action) {
        case (.passed, _):
            subscriber.probation = nil
            subscriber.recent = RecentAttempts()
            subscriber.applySettings()
            reportProbation(
                ProbationReport(subscriber: subscriber.name, generation: probation.generation, badReload: nil))
        case (.failed, .keep):
            subscriber.probation = nil
            subscriber.recent = RecentAttempts()
            tell(badReload(of: subscriber, probation, .kept, now), subscriber)
        case (.failed, .pause):
            pause(subscriber, badReload(of: subscriber, probation, .paused, now), now)
        case (.failed, .rollback):
            guard !subscriber.isUndoing else { return }
            subscriber.isUndoing = true
            subscriber.applySettings()
            reportProbation(
                ProbationReport(
                    subscriber: subscriber.name, generation: probation.generation,
                    badReload: badReload(of: subscriber, probation, .undone, now)))
        }
    }

    /// It can't go back: it stands still until somebody changes or resumes it.
    package func pauseChanged(_ name: String, generation: Int, previous: Int?, obstacle: String) {
        guard let subscriber = subscribers[name], subscriber.isUndoing, let probation = subscriber.probation,
            probation.generation == generation
        else { return }
        subscriber.isUndoing = false
        let now = clock.now()
        var bad = badReload(of: subscriber, probation, .paused, now)
        bad.previous = previous
        bad.obstacle = obstacle
        pause(subscriber, bad, now)
    }

    private func pause(_ subscriber: Subscriber, _ bad: BadReload, _ now: Timestamp) {
        if subscriber.pause == nil {
            let pause = PauseRecord(since: now, cause: .badReload, reason: bad.error)
            subscriber.pause = pause
            var change = LedgerChange(subscriber: subscriber.name)
            change.pause = .pause(pause)
            commit(change, "A pause", of: subscriber.name)
        }
        for lane in subscriber.lanes { lane.state.resumeAllSuspended() }
        subscriber.applySettings()
        tell(bad, subscriber)
    }

    private func badReload(
        of subscriber: Subscriber, _ probation: Probation, _ end: BadReload.End, _ now: Timestamp
    ) -> BadReload {
        BadReload(
            end: end, generation: probation.generation, fingerprint: subscriber.fingerprint, time: now,
            error: probation.error, trace: probation.trace, failures: probation.failures,
            deliveries: probation.deliveries)
    }

    private func tell(_ bad: BadReload, _ subscriber: Subscriber) {
        subscriber.badReload = bad
        alert(bad, subscriber)
        reportProbation(
            ProbationReport(subscriber: subscriber.name, generation: bad.generation, badReload: bad))
    }

    /// A generation changes what the subscriber is: ends the probation of what it was, and begins that of what it becomes.
    func replaceVersion(of subscriber: Subscriber, in next: Generation) {
        let before = subscriber.probation
        for lane in subscriber.lanes { lane.state.resumeAllSuspended() }
        subscriber.isUndoing = false
        subscriber.replaced = before.flatMap { $0.isBinding ? $0.generation..<next.number : nil }
        subscriber.probation = nil
        if subscriber.pause?.cause == .badReload {
            subscriber.pause = nil
            var change = LedgerChange(subscriber: subscriber.name)
            change.pause = .resume
            commit(change, "The end of a pause", of: subscriber.name)
        }
        if let action = next.probations[subscriber.name], before != nil || !subscriber.recent.isFailing {
            var probation = Probation(generation: next.number, action: action)
            // What would be put back is of before both.
            probation.hasWritten = before?.hasWritten ?? false
            subscriber.probation = probation
        } else {
            subscriber.recent = RecentAttempts()
        }
        let known = subscriber.badReload
        subscriber.badReload = next.badReloads[subscriber.name]
        if let bad = subscriber.badReload, bad != known, bad.end == .undone { alert(bad, subscriber) }
    }

    /// Of one that the broker starts with.
    func restoreProbation(of subscriber: Subscriber, in next: Generation) {
        subscriber.badReload = next.badReloads[subscriber.name]
        subscriber.probation = next.probations[subscriber.name].map { action in
            Probation(generation: next.number, action: action)
        }
        subscriber.applySettings()
    }

    private func commit(_ change: LedgerChange, _ what: String, of name: String) {
        engine.commit(change) { [log] result in
            guard case .failure(let failure) = result else { return }
            log.error("\(what) is not written", metadata: ["subscriber": "\(name)", "error": "\(failure)"])
        }
    }

    private func alert(_ bad: BadReload, _ subscriber: Subscriber) {
        let remedy =
            switch bad.end {
            case .undone: "mend it and reload; the same files are tried again only with `fairlead reload --force`"
            case .paused: "mend it and reload, or `fairlead resume \(subscriber.name)` to go on as it is"
            case .kept: "mend it and reload"
            }
        log.error(
            "A changed subscriber fails",
            metadata: [
                "subscriber": "\(subscriber.name)", "generation": "\(bad.generation)", "end": "\(bad.end.rawValue)",
                "error": "\(bad.error)", "failures": "\(bad.failures)",
            ])
        let data = Alert(
            subscriber: subscriber.name, end: bad.end.rawValue, generation: bad.generation, previous: bad.previous,
            error: bad.error, trace: bad.trace, failures: bad.failures, deliveries: bad.deliveries,
            obstacle: bad.obstacle, remedy: remedy)
        alert("fairlead.subscriber.bad_reload", as: "bad-reload", subscriber: subscriber.name, data)
    }

    private struct Alert: Encodable {
        var subscriber: String
        /// `undone`, `paused` or `kept`.
        var end: String
        /// The one that changed it, and the one that it went back to.
        var generation: Int
        var previous: Int?
        var error: String
        var trace: String?
        /// Attempts that failed, and of how many deliveries.
        var failures: Int
        var deliveries: Int
        /// Why it could not go back.
        var obstacle: String?
        var remedy: String
    }
}

extension Outcome {
    /// Why an attempt failed, and when it wants to be made again.
    fileprivate var failure: (reason: String, after: Duration?) {
        switch self {
        case .retry(let after, let reason): (reason, after)
        case .dead(let reason): (reason, nil)
        case .ack, .drop, .returned: ("", nil)
        }
    }
}
