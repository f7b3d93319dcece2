// SPDX-License-Identifier: Apache-2.0

import Events
import GRDB
import Ledger
import Synchronization
import Testing

/// Plugins' state: what is read is what was handed over, committed or not.
@Suite(.timeLimit(.minutes(2))) struct StateTests {
    let folder = TemporaryFolder()
    let clock = TestClock()

    private func open(_ writing: Ledger.Writing = .manual) throws -> Ledger {
        try Ledger(path: folder.path + "/ledger.db", clock: clock, log: quietLogger(), writing: writing)
    }

    @Test func aWriteIsReadBeforeItIsCommitted() throws {
        let ledger = try open()
        ledger.commit(LedgerChange(subscriber: "a", state: [put("k", "{\"n\":1}"), add("count", 5)]))
        #expect(try ledger.text("a", "k") == "{\"n\":1}")
        #expect(try ledger.text("a", "count") == "5")
        ledger.commit(LedgerChange(subscriber: "a", state: [add("count", 2), .delete(key: "k")]))
        #expect(try ledger.text("a", "count") == "7")
        #expect(try ledger.text("a", "k") == nil)
        while try ledger.step() {}
        #expect(try ledger.text("a", "count") == "7")
        #expect(try ledger.text("a", "k") == nil)
        ledger.close()
        let again = try open()
        #expect(try again.text("a", "count") == "7")
        again.close()
    }

    @Test func addsOnTopOfWhatIsStoredAreSeenAtOnce() throws {
        let ledger = try open()
        ledger.commit(LedgerChange(subscriber: "a", state: [add("n", 40)]))
        try ledger.step()
        ledger.commit(LedgerChange(subscriber: "a", state: [add("n", 1)]))
        ledger.commit(LedgerChange(subscriber: "a", state: [add("n", 1)]))
        #expect(try ledger.text("a", "n") == "42")
        try ledger.step()
        #expect(try ledger.text("a", "n") == "42")
        ledger.close()
    }

    /// Reads went through all adds that waited, under the lock that the writer needs: the more waited, the less was written.
    @Test func aReadOfAKeyThatEverybodyCountsOnDoesNotGoThroughWhatWaits() throws {
        let ledger = try open()
        let count = 20_000
        for number in 1...count {
            ledger.commit(LedgerChange(subscriber: "a", state: [add("n", 1)]))
            #expect(try ledger.text("a", "n") == "\(number)")
        }
        try ledger.step()
        for number in 1...count {
            ledger.commit(LedgerChange(subscriber: "a", state: [add("n", 1)]))
            #expect(try ledger.text("a", "n") == "\(count + number)")
        }
        ledger.close()
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>) func whatIsReadIsWhatTheWritesInTheirOrderComeTo(seed: UInt64)
        throws
    {
        let ledger = try open()
        var state = seed
        func draw(_ count: UInt64) -> UInt64 {
            // Constants of Knuth's MMIX.
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state >> 33) % count
        }
        var expected: [String: Int] = [:]
        for step in 0..<400 {
            let key = "k\(draw(3))"
            switch draw(12) {
            case 0:
                ledger.commit(LedgerChange(subscriber: "a", state: [put(key, "\(step)")]))
                expected[key] = step
            case 1:
                ledger.commit(LedgerChange(subscriber: "a", state: [.delete(key: key)]))
                expected[key] = nil
            case 2: try ledger.step()
            default:
                let delta = Int64(draw(1_000)) - 500
                ledger.commit(LedgerChange(subscriber: "a", state: [add(key, delta)]))
                expected[key, default: 0] += Int(delta)
            }
            for key in ["k0", "k1", "k2"] {
                #expect(try ledger.text("a", key) == expected[key].map(String.init), "seed \(seed), step \(step)")
            }
        }
        ledger.close()
    }

    @Test func integersStayIntegersUntilAFloatJoinsIn() throws {
        let ledger = try open()
        ledger.commit(LedgerChange(subscriber: "a", state: [add("n", 2)]))
        #expect(try ledger.text("a", "n") == "2")
        ledger.commit(LedgerChange(subscriber: "a", state: [.add(key: "n", delta: .float(0.5))]))
        while try ledger.step() {}
        #expect(try ledger.text("a", "n") == "2.5")
        ledger.close()
    }

    @Test func addingToSomethingThatIsNoNumberCountsFromZeroAndIsReported() throws {
        let ledger = try open(.thread)
        let commit = try ledger.committed(
            LedgerChange(subscriber: "a", state: [put("k", "\"text\""), add("k", 3), add("fresh", 1)]))
        #expect(commit.notNumbers == ["k"])
        #expect(try ledger.text("a", "k") == "3")
        ledger.close()
    }

    @Test func stateIsPrivateToItsSubscriber() throws {
        let ledger = try open()
        ledger.commit(LedgerChange(subscriber: "a", state: [put("k", "1")]))
        ledger.commit(LedgerChange(subscriber: "b", state: [put("k", "2")]))
        #expect(try ledger.text("a", "k") == "1")
        try ledger.step()
        #expect(try ledger.text("b", "k") == "2")
        #expect(try ledger.text("c", "k") == nil)
        ledger.close()
    }

    @Test func keysAreBytes() throws {
        let ledger = try open()
        // Equal as Swift strings, and with a zero byte inside.
        let keys = ["e\u{301}", "\u{e9}", "a\u{0}b", "a", "%_"]
        ledger.commit(
            LedgerChange(subscriber: "a", state: keys.enumerated().map { put($1, "\($0)") }))
        for _ in 0..<2 {
            for (index, key) in keys.enumerated() { #expect(try ledger.text("a", key) == "\(index)") }
            while try ledger.step() {}
        }
        ledger.close()
    }

    @Test func expiredStateIsNeitherReadNorKept() throws {
        let ledger = try open()
        let soon = clock.now() + .seconds(60)
        ledger.commit(
            LedgerChange(
                subscriber: "a",
                state: [put("short", "1", expires: soon), put("long", "2"), put("n", "5", expires: soon)]))
        try ledger.step()
        #expect(try ledger.text("a", "short") == "1")
        clock.advance(.seconds(61))
        #expect(try ledger.text("a", "short") == nil)
        #expect(try ledger.values(subscriber: "a", prefix: "", after: nil, limit: 9).map(\.key) == ["long"])
        // An add starts over, without the old expiry.
        ledger.commit(LedgerChange(subscriber: "a", state: [add("n", 1)]))
        #expect(try ledger.text("a", "n") == "1")
        try ledger.step()
        #expect(try ledger.text("a", "n") == "1")
        clock.advance(.seconds(3_600))
        try ledger.step()
        let rows = try DatabaseQueue(path: folder.path + "/ledger.db").read { db in
            try Int.fetchOne(db, sql: "SELECT count(*) FROM state")
        }
        #expect(rows == 2)
        #expect(try ledger.text("a", "n") == "1")
        ledger.close()
    }

    @Test func expiryHoldsForWhatIsNotCommittedYet() throws {
        let ledger = try open()
        ledger.commit(LedgerChange(subscriber: "a", state: [put("k", "1", expires: clock.now() + .seconds(1))]))
        #expect(try ledger.text("a", "k") == "1")
        clock.advance(.seconds(1))
        #expect(try ledger.text("a", "k") == nil)
        ledger.close()
    }

    @Test func listingMergesWhatIsStoredWithWhatWaits() throws {
        let ledger = try open()
        ledger.commit(
            LedgerChange(subscriber: "a", state: (0..<10).map { put("item:\($0)", "\($0)") } + [put("other", "x")]))
        try ledger.step()
        ledger.commit(
            LedgerChange(
                subscriber: "a",
                state: [.delete(key: "item:1"), put("item:2", "\"new\""), put("item:25", "25"), add("item:3", 10)]))
        let all = try ledger.values(subscriber: "a", prefix: "item:", after: nil, limit: 100)
        #expect(
            all.map(\.key) == [
                "item:0", "item:2", "item:25", "item:3", "item:4", "item:5", "item:6", "item:7", "item:8", "item:9",
            ])
        #expect(all.map { String(decoding: $0.value, as: UTF8.self) }[1...3] == ["\"new\"", "25", "13"])
        let page = try ledger.values(subscriber: "a", prefix: "item:", after: "item:2", limit: 2)
        #expect(page.map(\.key) == ["item:25", "item:3"])
        #expect(try ledger.values(subscriber: "a", prefix: "item:", after: nil, limit: 0).isEmpty)
        ledger.close()
    }

    @Test func aReadNeverMissesNorDoublesAnAddWhileTheWriterCommits() throws {
        let ledger = try open(.thread)
        let rounds = 3_000
        let reader = Monitor((wrong: [String](), isDone: false))
        let accepted = Mutex(0)
        let thread = WorkerThread(name: "reader") {
            while !reader.withLock({ $0.isDone }) {
                let before = accepted.withLock { $0 }
                let read = (try? ledger.text("a", "n")).flatMap { $0 }.flatMap { Int($0) } ?? 0
                // One more may have been accepted than counted.
                let after = accepted.withLock { $0 } + 1
                if read < before || read > after {
                    reader.withLock { $0.wrong.append("\(read) is not in \(before)...\(after)") }
                }
            }
        }
        for _ in 0..<rounds {
            ledger.commit(LedgerChange(subscriber: "a", state: [add("n", 1)]))
            accepted.withLock { $0 += 1 }
        }
        try ledger.flush()
        reader.withLock { $0.isDone = true }
        thread.join()
        #expect(reader.withLock { $0.wrong } == [])
        #expect(try ledger.text("a", "n") == "\(rounds)")
        ledger.close()
    }

    /// Against a dictionary: random writes, commits at random moments, and reopenings.
    @Test func usageIsWhatIsKept() throws {
        let ledger = try open()
        #expect(try ledger.usage(subscriber: "a") == StateUsage())
        ledger.commit(LedgerChange(subscriber: "a", state: [put("k", "123"), add("n", 7)]))
        ledger.commit(LedgerChange(subscriber: "b", state: [put("key", "\"ł\"")]))
        while try ledger.step() {}
        #expect(try ledger.usage(subscriber: "a") == StateUsage(entries: 2, bytes: 1 + 3 + 1 + 1))
        #expect(try ledger.usage(subscriber: "b") == StateUsage(entries: 1, bytes: 3 + 4))
        ledger.commit(LedgerChange(subscriber: "a", state: [put("k", "123456"), add("n", 93), .delete(key: "none")]))
        while try ledger.step() {}
        #expect(try ledger.usage(subscriber: "a") == StateUsage(entries: 2, bytes: 1 + 6 + 1 + 3))
        ledger.commit(LedgerChange(subscriber: "a", state: [.delete(key: "k")]))
        while try ledger.step() {}
        #expect(try ledger.usage(subscriber: "a") == StateUsage(entries: 1, bytes: 4))
        ledger.close()
        let again = try open()
        #expect(try again.usage(subscriber: "a") == StateUsage(entries: 1, bytes: 4))
        try again.forget("a")
        #expect(try again.usage(subscriber: "a") == StateUsage())
        #expect(try again.usage(subscriber: "b").entries == 1)
        again.close()
    }

    @Test func whatExpiresIsUsedUntilItIsRemoved() throws {
        let ledger = try open()
        let write = StateWrite.put(key: "k", value: Array("1".utf8), expires: clock.now() + .seconds(5))
        ledger.commit(LedgerChange(subscriber: "a", state: [write]))
        while try ledger.step() {}
        #expect(try ledger.usage(subscriber: "a").entries == 1)
        clock.advance(.seconds(60))
        ledger.commit(LedgerChange(subscriber: "b", state: [put("k", "1")]))
        while try ledger.step() {}
        #expect(try ledger.usage(subscriber: "a") == StateUsage())
        ledger.close()
    }

    @Test func aMigrationsWritesAndItsVersionAreOneChange() throws {
        let ledger = try open()
        #expect(try ledger.stateVersion(of: "a") == nil)
        ledger.commit(LedgerChange(subscriber: "a", state: [put("old", "1")]))
        var change = LedgerChange(subscriber: "a", state: [put("new", "1"), .delete(key: "old")])
        change.stateVersion = 3
        ledger.commit(change)
        #expect(try ledger.stateVersion(of: "a") == 3)
        #expect(try ledger.text("a", "old") == nil)
        try ledger.adopt(["a"], renaming: [SubscriberRename("a", to: "b")])
        #expect(try ledger.stateVersion(of: "b") == 3)
        ledger.close()
        let again = try open()
        #expect(try again.stateVersion(of: "b") == 3)
        #expect(try again.text("b", "new") == "1")
        again.close()
    }

    /// A folder of the first version has neither counts nor versions.
    @Test func aLedgerOfTheFirstVersionIsCountedWhenItIsOpened() throws {
        let ledger = try open()
        ledger.commit(LedgerChange(subscriber: "a", state: [put("k", "123"), put("l", "4")]))
        while try ledger.step() {}
        ledger.close()
        let database = try DatabaseQueue(path: folder.path + "/ledger.db")
        try database.write { db in
            for trigger in ["state_added", "state_changed", "state_removed"] {
                try db.execute(sql: "DROP TRIGGER \(trigger)")
            }
            try db.execute(sql: "DROP TABLE state_usage; ALTER TABLE subscriber DROP COLUMN state_version")
            try db.execute(sql: "DELETE FROM grdb_migrations WHERE identifier = '3'")
        }
        try database.close()
        let again = try open()
        #expect(try again.usage(subscriber: "a") == StateUsage(entries: 2, bytes: 6))
        #expect(try again.stateVersion(of: "a") == nil)
        again.close()
    }

    @Test(arguments: 0..<40) func stateIsWhatAModelSays(_ seed: UInt64) throws {
        var random = Numbers(state: seed &* 0x9E37_79B9 + 1)
        var model: [String: Int] = [:]
        var ledger = try open()
        for _ in 0..<120 {
            switch random.next(12) {
            case 0:
                while try ledger.step() {}
            case 1:
                try ledger.step()
            case 2:
                ledger.close()
                ledger = try open()
            default:
                let writes: [StateWrite] = (0...random.next(3)).map { _ in
                    let key = "k\(random.next(6))"
                    switch random.next(4) {
                    case 0:
                        model[key] = nil
                        return .delete(key: key)
                    case 1:
                        model[key] = 100
                        return put(key, "100")
                    default:
                        model[key, default: 0] += 3
                        return add(key, 3)
                    }
                }
                ledger.commit(LedgerChange(subscriber: "a", state: writes))
            }
            let found = try ledger.values(subscriber: "a", prefix: "k", after: nil, limit: 100)
            let read = Dictionary(
                uniqueKeysWithValues: found.map { ($0.key, Int(String(decoding: $0.value, as: UTF8.self))) })
            #expect(read == model.mapValues { $0 }, "seed \(seed)")
            for key in model.keys { #expect(try ledger.text("a", key) == "\(model[key]!)", "seed \(seed)") }
        }
        ledger.close()
    }
}

/// xorshift64* (Vigna, 2016): small, and the same everywhere.
private struct Numbers {
    var state: UInt64

    mutating func next(_ bound: UInt64) -> UInt64 {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return ((state &* 0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}
