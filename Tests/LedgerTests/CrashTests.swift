// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import GRDB
import Ledger
import Synchronization
import Testing

/// Promise P3: state, publications and position of one change are there together or not at all, whenever the process
/// ends.
@Suite(.timeLimit(.minutes(3)), .serialized) struct CrashTests {
    static let childVariable = "FAIRLEAD_LEDGER_TEST_CHILD"
    let folder = TemporaryFolder()
    let clock = TestClock()

    private static func change(_ number: Int) -> LedgerChange {
        LedgerChange(
            subscriber: "a", positions: [LedgerPosition(topic: "orders", position: Offset(number))],
            deferred: [.put(Deferred(topic: "orders", offset: Offset(number), attempts: 1, due: nil))],
            state: [add("n", 1), put("last", "\(number)")], publications: [publication("p\(number)")])
    }

    /// How many of the changes 1, 2, … are in the ledger; fails where one is there in part.
    private func wholeChanges(_ path: String) throws -> Int {
        let ledger = try Ledger(path: path, clock: clock, log: quietLogger(), writing: .manual)
        defer { ledger.close() }
        let loaded = try ledger.load("a")
        let count = loaded.positions.first.map { Int($0.position) } ?? 0
        #expect(try ledger.text("a", "n") == (count == 0 ? nil : "\(count)"))
        #expect(try ledger.text("a", "last") == (count == 0 ? nil : "\(count)"))
        #expect(loaded.deferred.map(\.offset) == (0..<count).map { Offset($0 + 1) })
        let events = try ledger.outbox(limit: .max).map { row in
            row.record.withUnsafeBytes { RecordBatch.copying($0, topic: .named("stock")) }?[0].id
        }
        #expect(events == (0..<count).map { "p\($0 + 1)" })
        return count
    }

    @Test func whereverTheLogEndsEachChangeIsWholeOrAbsent() throws {
        let path = folder.path + "/ledger.db"
        let ledger = try Ledger(path: path, clock: clock, log: quietLogger(), writing: .manual)
        let before = try Data(contentsOf: URL(fileURLWithPath: path))
        for number in 1...12 {
            ledger.commit(Self.change(number))
            if number % 3 != 1 { while try ledger.step() {} }
        }
        while try ledger.step() {}
        // Nothing was checkpointed: the database is as it was, and all is in the log.
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == before)
        let log = try Data(contentsOf: URL(fileURLWithPath: path + "-wal"))
        var counts: [Int] = []
        for step in 0...60 {
            let copy = folder.path + "/copy\(step).db"
            try before.write(to: URL(fileURLWithPath: copy))
            try log.prefix(log.count * step / 60).write(to: URL(fileURLWithPath: copy + "-wal"))
            // However early it ended, the file is still taken for a ledger.
            counts.append(try wholeChanges(copy))
        }
        #expect(counts.first == 0)
        #expect(counts.last == 12)
        #expect(counts == counts.sorted())
        #expect(Set(counts).count > 5)
        ledger.close()
    }

    @Test func aKilledProcessLeavesWhatItWasToldIsCommitted() throws {
        for round in 0..<5 {
            let path = folder.path + "/killed\(round).db"
            let words = ["fairlead-tests", "--testing-library", "swift-testing", "--filter", "aChildThatCommits"]
            let variables =
                ProcessInfo.processInfo.environment.map { "\($0)=\($1)" } + ["\(Self.childVariable)=\(path)"]
            let arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
            let environment: [UnsafeMutablePointer<CChar>?] = variables.map { strdup($0) } + [nil]
            defer { for word in arguments + environment { free(word) } }
            var child = pid_t()
            #expect(posix_spawn(&child, "/proc/self/exe", nil, nil, arguments, environment) == 0)
            // Killed when it has been told of some, and is in the midst of others.
            let wanted = 50 + round * 97
            var acknowledged = 0
            let deadline = ContinuousClock.now + .seconds(60)
            while acknowledged < wanted, ContinuousClock.now < deadline {
                acknowledged =
                    (try? String(contentsOfFile: path + ".acknowledged", encoding: .utf8)).flatMap { Int($0) } ?? 0
            }
            kill(child, SIGKILL)
            var status: Int32 = 0
            waitpid(child, &status, 0)
            try #require(acknowledged >= wanted)
            #expect(try wholeChanges(path) >= acknowledged)
        }
    }

    /// Runs only in the process that the test above starts and kills.
    @Test(.enabled(if: ProcessInfo.processInfo.environment[childVariable] != nil)) func aChildThatCommits() throws {
        let path = try #require(ProcessInfo.processInfo.environment[Self.childVariable])
        let ledger = try Ledger(path: path, clock: clock, log: quietLogger())
        let file = open(path + ".acknowledged", O_RDWR | O_CREAT, 0o600)
        var number = 0
        while true {
            number += 1
            // As long as the one before, so that it replaces all of it.
            let digits = String(100_000_000 + number).dropFirst()
            ledger.commit(Self.change(number)) { _ in
                _ = Array(digits.utf8).withUnsafeBytes { pwrite(file, $0.baseAddress, $0.count, 0) }
            }
            while ledger.pressure.changes > 20 { sched_yield() }
        }
    }
}
