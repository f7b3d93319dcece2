// SPDX-License-Identifier: Apache-2.0

import Events
import Ledger
import Routes
import Simulation
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

    @Test func whatARunSendsIsReadInOneGo() throws {
        let simulation = BrokerSimulation(seed: 1, table: SimulatedTables.table, failure: 0)
        let letters = Array(Int64(1)...400)
        _ = simulation.core.beginRedrive(letters, .init())
        #expect(simulation.run(allowFailures: false))
        #expect(simulation.engine.with { $0.letterReads } == 1)
        #expect(simulation.core.redrives[1]?.progress.skipped == 400, "there are none of these")
    }

    private func dead(_ count: Int) async throws -> (stored: StoredBroker, ids: [Int64]) {
        let stored = StoredBroker()
        try await stored.start(
            "topic orders { retain 30d }\nsubscriber s { from orders; pull { lease 30s }; start earliest }")
        try await stored.publish("orders", ["first"])
        var builder = RecordBatchBuilder(topic: .named("orders"), key: nil, capacity: count * 64)
        for number in 1..<count { builder.append(Event(id: "\(number)", source: "/test", type: "t", data: .none)) }
        _ = try await stored.broker.publish(builder.finish())
        var left = count
        while left > 0 {
            let leases = try await stored.broker.pull("s", max: left, wait: .seconds(20))
            try #require(!leases.isEmpty)
            left -= leases.count
            _ = try await stored.broker.settle(
                "s", leases.map { LeaseSettlement(lease: $0.id, action: .dead(reason: "no")) })
        }
        try stored.ledger.flush()
        let ids = try stored.ledger.deadLetterIDs(DeadLetterFilter(), limit: 10_000)
        try #require(ids.count == count)
        return (stored, ids)
    }

    @Test(.timeLimit(.minutes(2))) func lettersNamedByTheirIdsAreSentOrRefusedAsOne() async throws {
        let count = Limits.redriveBatch * 2 + 3
        let (stored, ids) = try await dead(count)
        let unknown = try #require(ids.last) + 7
        var failure = await #expect(throws: Failure.self) {
            try await stored.broker.redrive(ids + [unknown], .init())
        }
        #expect(failure?.code == .notFound && failure?.message.contains("\(unknown)") == true)
        failure = await #expect(throws: Failure.self) {
            _ = try await stored.broker.discard(ids + [unknown], reason: "wrong")
        }
        #expect(failure?.message.contains("no dead letter \(unknown)") == true)
        #expect(try stored.ledger.deadLetterIDs(DeadLetterFilter(), limit: 10_000) == ids, "none was touched")

        #expect(try await stored.broker.discard([ids[0], ids[0]], reason: "done") == 1)
        try stored.ledger.flush()
        failure = await #expect(throws: Failure.self) { try await stored.broker.redrive(ids, .init()) }
        #expect(failure?.message.contains("dead letter \(ids[0]) was discarded") == true)

        let run = try await stored.broker.redrive(ids.dropFirst().reversed() + [ids[1]], .init())
        #expect(run.total == count - 1, "each once")
        #expect(try await stored.take("s", count - 1).count == count - 1)
        while try await stored.broker.redriveProgress(run.id).state == .running {
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(try await stored.broker.redriveProgress(run.id).succeeded == count - 1)
        await stored.stop()
    }

    @Test func aLetterOfARemovedSubscriberIsNamed() async throws {
        let (stored, ids) = try await dead(2)
        try await stored.reload("topic orders { retain 30d }")
        let failure = await #expect(throws: Failure.self) { try await stored.broker.redrive(ids, .init()) }
        #expect(failure?.code == .conflict)
        #expect(failure?.message.contains("dead letter \(ids[0]) is of subscriber \"s\"") == true)
        #expect(try await stored.broker.discard(ids, reason: "it is gone") == 2)
        try stored.ledger.flush()
        #expect(try stored.ledger.deadLetterIDs(DeadLetterFilter(), limit: 10).isEmpty)
        await stored.stop()
    }
}
