// SPDX-License-Identifier: Apache-2.0

import Events
import Routes
import Testing

@testable import Broker

struct RedriveTests {
    private let start = Timestamp(milliseconds: 1_000)

    private func succeed(_ run: inout RedriveRun, _ letters: [Int64]) {
        for letter in letters { run.succeed(letter) }
    }

    @Test func aCanaryRunSendsOneThenTenThenTheRest() {
        var run = RedriveRun(id: 1, letters: Array(1...40), options: .init(isCanary: true))
        let first = run.next(now: start)
        #expect(first == [1])
        #expect(run.next(now: start).isEmpty, "the first isn't settled")
        succeed(&run, first)
        let second = run.next(now: start)
        #expect(second == Array(2...11))
        succeed(&run, second.dropLast())
        #expect(run.next(now: start).isEmpty, "one of the ten isn't settled")
        succeed(&run, [11])
        #expect(run.next(now: start) == Array(12...40))
        succeed(&run, Array(12...40))
        #expect(run.state == .finished)
        #expect(run.progress.succeeded == 40)
    }

    @Test func aCanaryThatFailsLeavesTheOthersUntouched() {
        var run = RedriveRun(id: 1, letters: Array(1...40), options: .init(isCanary: true))
        _ = run.next(now: start)
        run.fail(1, "still broken")
        #expect(run.state == .stopped(letter: 1, reason: "still broken"))
        #expect(run.next(now: start).isEmpty)
        #expect(run.progress.waiting == 39)
        #expect(run.progress.failed == 1)
    }

    @Test func aFailureInTheSecondStepStopsTheRunWhenTheOthersOfTheStepAreOut() {
        var run = RedriveRun(id: 1, letters: Array(1...40), options: .init(isCanary: true))
        succeed(&run, run.next(now: start))
        let ten = run.next(now: start)
        run.succeed(ten[0])
        run.fail(ten[1], "no")
        succeed(&run, Array(ten.dropFirst(2)))
        #expect(run.progress.succeeded == 10)
        #expect(run.progress.waiting == 29)
        #expect(run.state == .stopped(letter: 3, reason: "no"))
    }

    @Test func aRunHasABoundedNumberUnderWay() {
        var run = RedriveRun(id: 1, letters: Array(1...2_000), options: .init())
        #expect(run.next(now: start).count == Limits.redriveBatch)
        #expect(run.next(now: start).isEmpty)
        run.succeed(1)
        #expect(run.next(now: start) == [Int64(Limits.redriveBatch) + 1])
    }

    @Test func aRunThatKeepsGoingEndsWithItsFailuresCounted() {
        var run = RedriveRun(id: 1, letters: [1, 2, 3], options: .init(keepsGoing: true))
        #expect(run.next(now: start) == [1, 2, 3])
        run.fail(1, "a")
        run.skip([2])
        run.succeed(3)
        #expect(run.state == .finished)
        #expect(run.progress.failed == 1 && run.progress.skipped == 1 && run.progress.succeeded == 1)
    }

    @Test func aRunKeepsToItsRate() {
        var run = RedriveRun(
            id: 1, letters: Array(1...10), options: .init(rate: Rate(count: 2, per: .seconds(1))))
        #expect(run.next(now: start) == [1, 2])
        #expect(run.next(now: start).isEmpty)
        let next = run.wake(now: start)
        #expect(next == start + .milliseconds(500))
        #expect(run.next(now: start + .milliseconds(500)) == [3])
    }

    @Test func aRunOfNothingIsFinished() {
        #expect(RedriveRun(id: 1, letters: [], options: .init()).state == .finished)
    }
}
