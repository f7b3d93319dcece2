// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Testing

@testable import Ledger

/// What is kept of leases, pauses, schedules and orphans.
struct LeaseTests {
    private let folder = TemporaryFolder()
    private let clock = TestClock()

    private func open() throws -> Ledger {
        try Ledger(path: folder.path + "/ledger.db", clock: clock, log: quietLogger())
    }

    @Test func leasesAndPausesAreThereAfterReopening() throws {
        let rows = [
            LeaseRow(
                id: 7, expires: Timestamp(milliseconds: 5),
                runs: [
                    .init(topic: "orders", first: 3, count: 4, attempt: 1, replay: false),
                    .init(topic: "stock", first: .max - 9, count: 2, attempt: 300, replay: true),
                    .init(topic: "orders", first: 1, count: 1, attempt: 2, replay: false),
                ]),
            LeaseRow(
                id: 1 << 45, expires: Timestamp(milliseconds: 9),
                runs: [.init(topic: "orders", first: 9, count: 1, attempt: 1, replay: false)]),
        ]
        let pause = PauseRecord(since: Timestamp(milliseconds: 4), cause: .dead, reason: "orders@3: torn")
        do {
            let ledger = try open()
            var change = LedgerChange(subscriber: "a")
            change.leases = rows.map { .put($0) } + [.put(LeaseRow(id: 8, expires: clock.now(), runs: [])), .remove(8)]
            change.pause = .pause(pause)
            _ = try ledger.committed(change)
            ledger.close()
        }
        let ledger = try open()
        defer { ledger.close() }
        let found = try ledger.load("a")
        #expect(found.leases == rows)
        #expect(found.pause == pause)
        var change = LedgerChange(subscriber: "a")
        change.leases = [.remove(7)]
        change.pause = .resume
        _ = try ledger.committed(change)
        #expect(try ledger.load("a").leases == [rows[1]])
        #expect(try ledger.load("a").pause == nil)
    }

    @Test(arguments: [[1], [1, 200, 1], [0, 1], [1, 1, 0x61, 5, 0, 1, 2], [0x80, 0x80]] as [[UInt8]])
    func damagedLeasesAreNoLeases(_ bytes: [UInt8]) {
        #expect(LeaseRow.decode(bytes) == nil)
    }

    @Test func scheduledDeliveriesAreReadInTheOrderOfTheirTimes() throws {
        let ledger = try open()
        defer { ledger.close() }
        var change = LedgerChange(subscriber: "a")
        let dues: [(String, Offset, Int64)] = [
            ("b", 1, 50), ("a", 9, 50), ("a", 2, 50), ("a", 3, 10), ("b", 4, 70), ("b", 5, 20),
        ]
        change.deferred = dues.map {
            .put(Deferred(topic: $0.0, offset: $0.1, attempts: 0, due: Timestamp(milliseconds: $0.2)))
        }
        // None of these waits for a time that its publisher set.
        change.deferred += [
            .put(Deferred(topic: "a", offset: 100, attempts: 1, due: Timestamp(milliseconds: 1))),
            .put(Deferred(topic: "a", offset: 101, attempts: 0, due: nil)),
            .put(Deferred(topic: "a", offset: 102, attempts: 0, due: Timestamp(milliseconds: 1), deadLetter: 1)),
        ]
        _ = try ledger.committed(change)
        let found = try ledger.load("a", scheduledMax: 2)
        #expect(found.deferred.map(\.offset) == [100, 101, 102])
        #expect(found.scheduled.map(\.offset) == [3, 5])
        #expect(found.scheduledCount == 6)
        let rest = try ledger.scheduled(
            of: "a", from: SchedulePlace(due: Timestamp(milliseconds: 50), topic: "a", offset: 3), limit: 2)
        #expect(rest.map(\.offset) == [9, 1])
    }

    @Test func aSubscriberThatDoesNotRunIsAnOrphanUntilItIsPurged() throws {
        let ledger = try open()
        defer { ledger.close() }
        for name in ["a", "b"] {
            var change = LedgerChange(subscriber: name, positions: [LedgerPosition(topic: "orders", position: 5)])
            change.deferred = [.put(Deferred(topic: "orders", offset: 1, attempts: 1, due: clock.now()))]
            change.state = [put("k", "1")]
            _ = try ledger.committed(change)
        }
        try ledger.setRunning(["a"])
        let since = clock.now()
        #expect(try ledger.orphans() == [Orphan(name: "b", since: since, deferred: 1, dead: 0)])
        clock.advance(.seconds(60))
        try ledger.setRunning(["a"])
        #expect(try ledger.orphans().map(\.since) == [since], "it is one since the first time")
        #expect(try !ledger.purgeOrphan("b", since: since - .seconds(1)), "it is too young")
        #expect(try !ledger.purgeOrphan("a", since: .distantFuture), "it runs")
        try ledger.adopt(["b"])
        #expect(try ledger.orphans().isEmpty)
        #expect(try !ledger.purgeOrphan("b", since: .distantFuture), "it is about to run")
        try ledger.setRunning(["a"])
        #expect(try ledger.purgeOrphan("b", since: .distantFuture))
        #expect(try ledger.subscribers() == ["a"])
        #expect(try ledger.load("b").positions.isEmpty)
        #expect(try ledger.text("b", "k") == nil)
        #expect(try ledger.load("a").positions.count == 1)
    }
}
