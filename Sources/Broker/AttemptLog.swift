// SPDX-License-Identifier: Apache-2.0

import Events
import Ledger

/// Attempts of one subscriber that have ended and are not in the ledger yet. Those that failed go with the next change;
/// the many that simply passed are gathered for a few seconds, since nothing hangs on them but the answer to *when*.
struct AttemptLog {
    private var attempts: [Attempt] = []
    private var passed: [Kind: Span] = [:]
    private var passedCount = 0

    private struct Kind: Hashable {
        var topic: Topic
        var generation: Int
        var replay: Bool
    }

    private struct Span {
        var offsets: [Offset] = []
        var began: Timestamp
        var ended: Timestamp
    }

    var isEmpty: Bool { attempts.isEmpty && passed.isEmpty }

    mutating func add(_ round: inout LedgerRound, now: Timestamp) {
        for end in round.attempts { attempts.append(Attempt(end, ended: now)) }
        // Nearly always all of a round are of one kind: looked up once for each run.
        var rest = round.passed[...]
        while let first = rest.first {
            let run = rest.prefix {
                $0.id.topic == first.id.topic && $0.generation == first.generation && $0.replay == first.replay
            }
            let kind = Kind(topic: first.id.topic, generation: first.generation, replay: first.replay)
            var span = passed.removeValue(forKey: kind) ?? Span(began: first.began, ended: now)
            for mark in run {
                span.offsets.append(mark.id.offset)
                span.began = min(span.began, mark.began)
            }
            span.ended = now
            passed[kind] = span
            rest = rest[run.endIndex...]
        }
        passedCount += round.passed.count
        round.attempts = []
        round.passed = []
    }

    /// Moves what is to be written to `change`; what passed only if it is asked for or has become much.
    mutating func write(to change: inout LedgerChange, all: Bool) {
        change.attempts = attempts
        attempts = []
        guard all || passedCount >= Limits.passedGatheredMax else { return }
        change.passed = passed.map { kind, span in
            PassedDeliveries(
                topic: kind.topic.name, offsets: span.offsets.sorted(), began: span.began, ended: span.ended,
                generation: kind.generation, replay: kind.replay)
        }
        passed = [:]
        passedCount = 0
    }
}

extension Attempt {
    init(_ end: LedgerRound.AttemptEnd, ended: Timestamp) {
        let (delivery, settlement) = (end.delivery, end.settlement)
        var reason: String?
        let outcome: Outcome
        switch settlement.outcome {
        case .ack, .returned: outcome = .ack
        case .drop(let why): (outcome, reason) = (.drop, why)
        case .retry(_, let why): (outcome, reason) = (.retry, why)
        case .dead(let why): (outcome, reason) = (.dead, why)
        }
        self.init(
            topic: delivery.record.topic.name, offset: delivery.record.offset, number: delivery.attempt,
            began: delivery.began, ended: ended, outcome: outcome, reason: reason, trace: settlement.trace,
            generation: delivery.generation, replay: delivery.replay,
            published: (settlement.effects?.publications ?? []).map { PublishedName(topic: $0.topic, id: $0.event.id) })
    }
}
