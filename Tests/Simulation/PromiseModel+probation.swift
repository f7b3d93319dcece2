// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Ledger
import Routes

/// What is held against a subscriber that a reload changed: while it is on probation a delivery that had not failed before is
/// not charged for what the change does to it, and after a few of them something is done.
struct ProbationModel {
    struct Probation {
        var generation: Int
        /// Nothing that it does succeeds.
        var isBad: Bool
        var failures = 0
        /// The broker has told what becomes of it.
        var isConcluded = false
    }

    /// Whose failures are not charged, that is, those that may go back or pause.
    var binding: [String: Probation] = [:]
    /// The generations that the last change of a subscriber put an end to, while it was on probation.
    var replaced: [String: Range<Int>] = [:]
    /// Attempts that failed and are charged.
    var charged: [PromiseModel.Lane: [DeliveryID: Int]] = [:]

    func isExcused(_ delivery: Delivery, of name: String) -> Bool {
        guard delivery.attempt == 1 else { return false }
        if let range = replaced[name], range.contains(delivery.generation) { return true }
        return binding[name].map { delivery.generation >= $0.generation } ?? false
    }
}

extension PromiseModel {
    /// Right before the broker hears of it.
    func failed(_ delivery: Delivery, of name: String, in row: LedgerLane?, _ sign: Probation.Sign) {
        let lane = Lane(subscriber: name, run: row?.id)
        let isFailure = sign == .failure || sign == .hopeless
        guard isFailure, probation.isExcused(delivery, of: name) else {
            probation.charged[lane, default: [:]][delivery.id, default: 0] += 1
            return
        }
        onRefund()
        guard let known = probation.binding[name], known.isBad, delivery.generation >= known.generation else { return }
        if known.failures >= Limits.probationFailures, !known.isConcluded {
            breach("\(name) failed \(known.failures) times since generation \(known.generation), and nothing was done")
        }
        probation.binding[name]?.failures += 1
    }

    /// An attempt counts those before it that failed, but for those that are not charged.
    func checkAttempts(_ delivery: Delivery, of name: String, in row: LedgerLane?) {
        let charged = probation.charged[Lane(subscriber: name, run: row?.id)]?[delivery.id] ?? 0
        if delivery.attempt > charged + 1 {
            breach("\(name) was given \(delivery.id.offset) as attempt \(delivery.attempt), and \(charged) are charged")
        }
    }

    func checkDeadLetters(_ change: LedgerChange) {
        // A client's attempts are its own matter.
        guard change.subscriber != "pulled" else { return }
        for draft in change.dead {
            let lane = Lane(subscriber: change.subscriber, run: draft.lane)
            let id = DeliveryID(topic: .named(draft.topic), offset: draft.offset)
            let charged = probation.charged[lane]?[id] ?? 0
            if draft.attempts > charged {
                breach("\(change.subscriber) gave up \(draft.offset) after \(draft.attempts), \(charged) are charged")
            }
        }
    }

    func probationEnded(_ report: ProbationReport) {
        let name = report.subscriber
        probation.binding[name]?.isConcluded = true
        // One that goes back or pauses still isn't charged for what was under way.
        guard report.badReload == nil, let known = probation.binding.removeValue(forKey: name) else { return }
        if known.isBad { breach("\(name) has proved itself in generation \(known.generation), where nothing succeeds") }
    }

    /// - Parameters:
    ///   - active: who is on probation in it.
    ///   - bad: those of which nothing succeeds.
    func generationApplied(_ number: Int, changed: Set<String>, _ active: [String: Probation], bad: Set<String>) {
        for name in changed {
            probation.replaced[name] = probation.binding[name].map { $0.generation..<number }
            probation.binding[name] = nil
            guard let begun = active[name], begun.isBinding else { continue }
            probation.binding[name] = .init(generation: number, isBad: bad.contains(name))
        }
    }

    /// What was under way is gone; those that were on probation begin anew.
    func probationsRestarted(_ number: Int, _ active: [String: Probation], bad: Set<String>) {
        probation.replaced = [:]
        probation.binding = [:]
        for (name, begun) in active where begun.isBinding {
            probation.binding[name] = .init(generation: number, isBad: bad.contains(name))
        }
    }
}
