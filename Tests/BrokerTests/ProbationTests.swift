// SPDX-License-Identifier: Apache-2.0

import Events
import Routes
import Testing

@testable import Broker

struct ProbationTests {
    private static let topic = Topic.named("in")
    private let start = Timestamp(milliseconds: 1_000_000)

    private static func id(_ offset: Int) -> DeliveryID { DeliveryID(topic: topic, offset: Offset(offset)) }

    private func fail(_ probation: inout Probation, _ offset: Int, _ sign: Probation.Sign = .failure) -> Int {
        probation.failed(Self.id(offset), sign, error: "error \(offset)", trace: "trace \(offset)", now: start)
    }

    @Test func threeFailuresWithoutASuccessAreEnough() {
        var probation = Probation(generation: 2, action: .rollback)
        #expect(fail(&probation, 1) == 1)
        #expect(fail(&probation, 2) == 1)
        #expect(probation.verdict == nil)
        #expect(fail(&probation, 3) == 1)
        #expect(probation.verdict == .failed)
        #expect(probation.error == "error 3" && probation.trace == "trace 3")
        #expect(probation.failures == 3 && probation.deliveries == 3)
    }

    @Test func oneDeliveryThatFailsAgainAndAgainIsEnoughAndIsToldHowOften() {
        var probation = Probation(generation: 2, action: .rollback)
        #expect([fail(&probation, 1), fail(&probation, 1), fail(&probation, 1)] == [1, 2, 3])
        #expect(probation.verdict == .failed)
        #expect(probation.deliveries == 1)
    }

    @Test func aFewFailuresAmongSuccessesAreNoReasonToGoBack() {
        var probation = Probation(generation: 2, action: .rollback)
        probation.succeeded(4, now: start)
        for offset in 0..<3 { _ = fail(&probation, offset) }
        #expect(probation.verdict == nil)
        probation.succeeded(Limits.probationSuccesses - 5, now: start)
        #expect(probation.verdict == nil)
        probation.succeeded(1, now: start)
        #expect(probation.verdict == .passed)
    }

    @Test func whatFailsHalfOfTheTimeGoesBack() {
        var probation = Probation(generation: 2, action: .rollback)
        for offset in 0..<3 {
            #expect(probation.verdict == nil)
            probation.succeeded(1, now: start)
            _ = fail(&probation, offset)
        }
        #expect(probation.verdict == .failed)
    }

    @Test func anEndpointThatSaysItIsGoneIsEnoughAtOnce() {
        var probation = Probation(generation: 2, action: .rollback)
        _ = fail(&probation, 1, .hopeless)
        #expect(probation.verdict == .failed)
    }

    @Test func itsTimeRunsFromTheFirstAttemptAndThenTheMoreHaveIt() {
        var probation = Probation(generation: 2, action: .rollback)
        #expect(probation.wake == nil, "while nothing is delivered nothing is learned")
        probation.tick(now: start + .seconds(1_000_000))
        #expect(probation.verdict == nil)
        _ = fail(&probation, 1)
        #expect(probation.wake == start + Limits.probationTime)
        var quiet = Probation(generation: 2, action: .rollback)
        quiet.succeeded(1, now: start)
        for (one, verdict) in [(probation, Probation.Verdict.failed), (quiet, .passed)] {
            var one = one
            one.tick(now: start + Limits.probationTime)
            #expect(one.verdict == verdict)
        }
    }

    @Test func whatAnAttemptSaysOfWhatMadeIt() {
        func sign(_ outcome: Outcome, trace: String? = nil, _ endpoint: EndpointSign? = nil) -> Probation.Sign {
            Settlement(Self.id(1), outcome, trace: trace, endpoint: endpoint).sign
        }
        #expect(sign(.ack) == .success)
        #expect(sign(.drop(reason: "")) == .success)
        #expect(sign(.returned) == .nothing)
        #expect(sign(.retry(after: nil, reason: "")) == .failure, "a plugin that asks for a retry")
        #expect(sign(.dead(reason: "")) == .nothing, "a plugin has judged its event")
        #expect(sign(.dead(reason: ""), trace: "t") == .failure, "a request of a plugin was refused for good")
        #expect(sign(.dead(reason: ""), .up) == .failure, "an endpoint answered 404")
        #expect(sign(.retry(after: nil, reason: ""), .failing) == .failure)
        #expect(sign(.retry(after: nil, reason: ""), .unreachable) == .failure)
        #expect(sign(.retry(after: nil, reason: ""), .busy(.seconds(1))) == .nothing)
        #expect(sign(.retry(after: nil, reason: ""), .gone) == .hopeless)
    }

    @Test func whatCameTooLateToBeGivenProvesNothing() {
        var overdue = Settlement(Self.id(1), .drop(reason: "expired"))
        overdue.isOverdue = true
        #expect(overdue.sign == .nothing)
    }

    @Test func whatFailedLatelyHalfOfTheTimeWasFailing() {
        var recent = RecentAttempts()
        #expect(!recent.isFailing)
        recent.add(.failure)
        #expect(recent.isFailing)
        recent.succeeded(2)
        #expect(!recent.isFailing)
        recent.succeeded(10_000)
        for _ in 0..<3 { recent.add(.failure) }
        #expect(!recent.isFailing)
        recent.add(.nothing)
        #expect(!recent.isFailing)
        recent.add(.hopeless)
        #expect(recent.isFailing)
    }

    @Test func aSuspendedDeliveryKeepsItsAttemptsLeavesNoRowAndComesFirst() throws {
        var state = SubscriberState(settings: .init())
        state.open(Feed(end: TopicEnd(topic: Self.topic, offset: 3), position: 0))
        var builder = RecordBatchBuilder(topic: Self.topic, key: nil, capacity: 256)
        for number in 0..<3 { builder.append(Event(id: "e\(number)", source: "/test", type: "t")) }
        let batch = builder.finish()
        batch.stamp(first: 0, time: start)
        var round = LedgerRound()
        state.arrive(batch, matching: [0, 1, 2], now: start, into: &round)
        let started = state.start(max: 2, now: start)
        for delivery in started.reversed() {
            let settlement = Settlement(delivery.id, .dead(reason: "404"), endpoint: .up)
            let isTaken = state.suspend(settlement, until: start + .seconds(1), into: &round)
            #expect(isTaken)
        }
        #expect(round.isEmpty, "the ledger hears nothing of it")
        #expect(
            round.attempts.map(\.settlement.outcome) == Array(repeating: .retry(after: nil, reason: "404"), count: 2))
        #expect(state.feeds[Self.topic]?.position == 0)
        #expect(state.unsettled == 3)
        state.resumeSuspended(now: start)
        #expect(state.start(max: 10, now: start).map(\.record.id) == ["e2"])
        #expect(state.wake(now: start) == start + .seconds(1))
        state.resumeSuspended(now: start + .seconds(1))
        let again = state.start(max: 10, now: start + .seconds(1))
        #expect(again.map(\.record.id) == ["e0", "e1"])
        #expect(again.map(\.attempt) == [1, 1])
    }
}
