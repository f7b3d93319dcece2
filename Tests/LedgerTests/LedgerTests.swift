// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import GRDB
import Ledger
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(2))) struct LedgerTests {
    let folder = TemporaryFolder()
    let clock = TestClock()

    private var path: String { folder.path + "/ledger.db" }

    private func open() throws -> Ledger {
        try Ledger(path: path, clock: clock, log: quietLogger())
    }

    /// As another process would; `ROLLBACK` gives it back.
    private func holdWriteLock() throws -> DatabaseQueue {
        var configuration = Configuration()
        configuration.allowsUnsafeTransactions = true
        let other = try DatabaseQueue(path: path, configuration: configuration)
        try other.inDatabase { try $0.execute(sql: "BEGIN IMMEDIATE") }
        return other
    }

    @Test func positionsAndDeferredDeliveriesComeBackAfterReopening() throws {
        let ledger = try open()
        var change = LedgerChange(subscriber: "receipts")
        change.positions = [
            LedgerPosition(topic: "orders", position: 100, settled: [103...103, 110...250]),
            LedgerPosition(topic: "stock", position: 7),
        ]
        let waiting = Deferred(
            topic: "orders", offset: 90, attempts: 3, due: Timestamp(milliseconds: 5_000), key: "o\u{0}1",
            reason: "503", trace: "at line 3", replay: true, deadLetter: 12)
        let parked = Deferred(topic: "orders", offset: 91, attempts: 0, due: nil, key: "o\u{0}1")
        change.deferred = [.put(parked), .put(waiting)]
        _ = try ledger.committed(change)
        ledger.close()
        let again = try open()
        let loaded = try again.load("receipts")
        #expect(loaded.positions == change.positions)
        #expect(loaded.deferred == [waiting, parked])
        #expect(try again.subscribers() == ["receipts"])
        #expect(try again.load("nobody") == SubscriberLedger(positions: [], deferred: []))
        again.close()
    }

    @Test func theLastOfSeveralChangesToADeferredDeliveryHolds() throws {
        let ledger = try open()
        let first = Deferred(topic: "orders", offset: 1, attempts: 1, due: Timestamp(milliseconds: 1))
        let second = Deferred(topic: "orders", offset: 2, attempts: 1, due: Timestamp(milliseconds: 1))
        ledger.commit(LedgerChange(subscriber: "a", deferred: [.put(first), .put(second)]))
        var later = second
        later.attempts = 2
        ledger.commit(LedgerChange(subscriber: "a", deferred: [.remove(topic: "orders", offset: 1), .put(later)]))
        #expect(try ledger.load("a").deferred == [later])
        ledger.close()
    }

    @Test func offsetsBeyondSixtyThreeBitsSurvive() throws {
        let ledger = try open()
        let position = LedgerPosition(topic: "orders", position: .max - 10, settled: [.max - 8 ... .max - 5])
        _ = try ledger.committed(LedgerChange(subscriber: "a", positions: [position]))
        #expect(try ledger.load("a").positions == [position])
        ledger.close()
    }

    @Test func publicationsBecomeOutboxRowsWithRisingIds() throws {
        let ledger = try open()
        let first = try ledger.committed(
            LedgerChange(subscriber: "a", publications: [publication("p1"), publication("p2", topic: "audit")]))
        let second = try ledger.committed(LedgerChange(subscriber: "a", publications: [publication("p3")]))
        #expect(first.outbox.count == 2)
        #expect(first.outbox[0] < first.outbox[1] && first.outbox[1] < second.outbox[0])
        let rows = try ledger.outbox(limit: 10)
        #expect(rows.map(\.id) == first.outbox + second.outbox)
        #expect(rows.map(\.topic) == ["stock", "audit", "stock"])
        let batch = try #require(rows[1].record.withUnsafeBytes { RecordBatch.copying($0, topic: .named("audit")) })
        #expect(batch.count == 1)
        #expect(batch[0].outbox == rows[1].id)
        #expect(batch[0].event == publication("p2").event)

        let removed = Monitor(false)
        ledger.removeOutbox([rows[0].id, rows[2].id]) { failure in removed.notify { $0 = failure == nil } }
        #expect(removed.wait(timeout: .seconds(20), { $0 ? true : nil }) == true)
        #expect(try ledger.outbox(limit: 10).map(\.id) == [rows[1].id])
        ledger.removeOutbox([rows[1].id])
        ledger.close()
        // Ids are never used twice, not even when the table was empty in between.
        let again = try open()
        let third = try again.committed(LedgerChange(subscriber: "a", publications: [publication("p4")]))
        #expect(third.outbox[0] > second.outbox[0])
        again.close()
    }

    @Test func deadLettersAreKeptListedSentAgainAndDiscarded() throws {
        let ledger = try open()
        func letter(_ offset: Offset, key: String?) -> NewDeadLetter {
            NewDeadLetter(
                topic: "orders", offset: offset, reason: "http 400", trace: "receipts.lua:3", attempts: 8,
                time: Timestamp(milliseconds: 77), record: record("o-\(offset)", key: key))
        }
        let ids = try ledger.committed(
            LedgerChange(
                subscriber: "receipts", dead: [letter(1, key: "k"), letter(2, key: "k"), letter(3, key: nil)])
        ).deadLetters
        let other = try ledger.committed(LedgerChange(subscriber: "slack", dead: [letter(1, key: "x")])).deadLetters
        #expect(try ledger.deadLetters(limit: 10).map(\.id) == other + ids.reversed())
        #expect(try ledger.deadLetters(.init(subscriber: "receipts"), limit: 2).map(\.id) == [ids[2], ids[1]])
        #expect(try ledger.deadLetters(.init(subscriber: "receipts"), before: ids[1], limit: 2).map(\.id) == [ids[0]])
        #expect(try ledger.deadLetters(.init(subscriber: "nobody"), limit: 2).isEmpty)
        #expect(try ledger.deadLetter(ids[0])?.letter == letter(1, key: "k"))
        #expect(try ledger.deadLetterCounts() == ["receipts": 3, "slack": 1])
        #expect(try ledger.openDeadLetters(of: "receipts") == OpenDeadLetters(count: 3, keys: ["k"]))

        _ = try ledger.committed(LedgerChange(subscriber: "receipts", redriven: [ids[0]]))
        #expect(try ledger.deadLetters(.init(subscriber: "receipts"), limit: 9).map(\.id) == [ids[2], ids[1]])
        #expect(try ledger.deadLetters(.init(state: .underway), limit: 9).map(\.id) == [ids[0]])
        #expect(try ledger.deadLetter(ids[0])?.redriven == clock.now())
        _ = try ledger.committed(
            LedgerChange(
                subscriber: "receipts",
                resolved: [.init(ids[0], .acknowledged), .init(ids[1], .discarded("a test order"))]))
        #expect(try ledger.deadLetter(ids[0])?.resolution == .acknowledged)
        #expect(try ledger.deadLetter(ids[1])?.resolution == .discarded("a test order"))
        #expect(try ledger.deadLetters(.init(state: .resolved), limit: 9).map(\.id) == [ids[1], ids[0]])
        #expect(try ledger.deadLetterCounts() == ["receipts": 1, "slack": 1])
        #expect(try ledger.deadLetters(.init(text: "HTTP"), limit: 9).map(\.id) == other + [ids[2]])
        #expect(try ledger.deadLetters(.init(since: Timestamp(milliseconds: 78)), limit: 9).isEmpty)
        ledger.close()
    }

    @Test func deadLettersThatFailedInTheSameWayAreOneGroup() throws {
        let ledger = try open()
        func letter(_ offset: Offset, _ reason: String, _ trace: String?) -> NewDeadLetter {
            NewDeadLetter(
                topic: "orders", offset: offset, reason: reason, trace: trace, attempts: 1,
                time: Timestamp(milliseconds: Int64(offset)), record: record("o-\(offset)", key: nil))
        }
        let ids = try ledger.committed(
            LedgerChange(
                subscriber: "receipts",
                dead: [
                    letter(1, "order o-1 is in \"SEK\"", "email_receipt.lua:14: in function"),
                    letter(2, "order o-22 is in \"DKK\"", "email_receipt.lua:14: in function"),
                    letter(3, "order o-3 is in \"SEK\"", "email_receipt.lua:15: in function"),
                    letter(4, "no connection", nil),
                ])
        ).deadLetters
        let groups = try ledger.deadLetterGroups(.init(subscriber: "receipts"), limit: 9)
        #expect(groups.map(\.count) == [2, 1, 1])
        #expect(groups[0].sample == ids[1])
        #expect(groups[0].group.place == "email_receipt.lua:14")
        #expect(groups[0].first == Timestamp(milliseconds: 1) && groups[0].last == Timestamp(milliseconds: 2))
        #expect(try ledger.deadLetterIDs(.init(group: groups[0].group.id), limit: 9) == [ids[0], ids[1]])
        ledger.close()
    }

    @Test func deadLettersOfImportsAreFoundUnderTheTopicThatTheyAreFor() throws {
        let ledger = try open()
        let topics = ["orders", "$import.12.orders", "$import.3.orders.eu", "$import.x.orders", "stock"]
        let letters = topics.map { topic in
            NewDeadLetter(
                topic: topic, offset: 1, reason: "r", attempts: 1, time: clock.now(), record: record("o-1", key: nil))
        }
        let ids = try ledger.committed(LedgerChange(subscriber: "a", dead: letters)).deadLetters
        func found(_ topic: String) throws -> [Int64] {
            try ledger.deadLetterIDs(DeadLetterFilter(topic: topic), limit: 9)
        }
        #expect(try found("orders") == [ids[0], ids[1]])
        #expect(try found("orders.eu") == [ids[2]])
        #expect(try found("$import.12.orders") == [ids[1]])
        #expect(try found("eu").isEmpty)
        #expect(try found("stock") == [ids[4]])
        ledger.close()
    }

    @Test func aMendedDeadLetterKeepsItsOriginal() throws {
        let ledger = try open()
        let letter = NewDeadLetter(
            topic: "orders", offset: 1, reason: "r", attempts: 1, time: clock.now(), record: record("o-1", key: "k"))
        let id = try ledger.committed(LedgerChange(subscriber: "a", dead: [letter])).deadLetters[0]
        #expect(try ledger.mend(id, record: record("mended", key: "k")))
        let kept = try #require(try ledger.deadLetter(id))
        #expect(kept.letter.record == letter.record)
        #expect(kept.mended == record("mended", key: "k"))
        #expect(kept.mendedTime == clock.now())
        _ = try ledger.committed(LedgerChange(subscriber: "a", redriven: [id]))
        #expect(try !ledger.mend(id, record: []), "it is on its way")
        ledger.close()
    }

    @Test func theLastFailuresOfASubscriberComeFirst() throws {
        let ledger = try open()
        func attempt(_ offset: Offset, _ outcome: Attempt.Outcome) -> Attempt {
            Attempt(
                topic: "orders", offset: offset, number: 1, began: clock.now(), ended: clock.now(), outcome: outcome,
                reason: outcome == .ack ? nil : "failed at \(offset)", trace: "a.lua:1", generation: 1)
        }
        for (subscriber, offsets) in [("a", 1...4), ("b", 5...6)] {
            var change = LedgerChange(subscriber: subscriber)
            for offset in offsets {
                change.attempts += [
                    attempt(Offset(offset), offset == 3 ? .dead : .retry), attempt(Offset(offset), .ack),
                ]
            }
            _ = try ledger.committed(change)
        }
        #expect(try ledger.failures(of: "a", limit: 3) == [attempt(4, .retry), attempt(3, .dead), attempt(2, .retry)])
        #expect(try ledger.failures(of: "b", limit: 3).map(\.offset) == [6, 5])
        #expect(try ledger.failures(of: "c", limit: 3).isEmpty)
        ledger.close()
    }

    @Test func attemptsAreKeptUntilTheyArePurged() throws {
        let ledger = try open()
        let failed = Attempt(
            topic: "orders", offset: 7, number: 1, began: Timestamp(milliseconds: 10),
            ended: Timestamp(milliseconds: 30), outcome: .retry, reason: "busy", trace: "a.lua:1", generation: 3)
        let done = Attempt(
            topic: "orders", offset: 7, number: 2, began: Timestamp(milliseconds: 40),
            ended: Timestamp(milliseconds: 50), outcome: .ack, generation: 4,
            published: [PublishedName(topic: "stock", id: "s-1")])
        // Two buckets, with a gap in the first.
        let passed = PassedDeliveries(
            topic: "orders", offsets: [1, 2, 4, 65_535, 65_536, 70_000], began: Timestamp(milliseconds: 5),
            ended: Timestamp(milliseconds: 9), generation: 2, replay: false)
        var change = LedgerChange(subscriber: "a")
        change.attempts = [failed, done]
        change.passed = [passed]
        _ = try ledger.committed(change)
        #expect(try ledger.attempts(of: "a", topic: "orders", offset: 7) == [failed, done])
        for offset in passed.offsets {
            let kept = try ledger.attempts(of: "a", topic: "orders", offset: offset)
            #expect(kept.map(\.outcome) == [.ack])
            #expect(kept.first?.generation == 2)
        }
        #expect(try ledger.attempts(of: "a", topic: "orders", offset: 3).isEmpty)
        #expect(try ledger.attempts(of: "b", topic: "orders", offset: 7).isEmpty)
        #expect(try ledger.failures(of: "a", limit: 5) == [failed])
        try ledger.purgeAttempts(before: Timestamp(milliseconds: 31))
        #expect(try ledger.failures(of: "a", limit: 5).isEmpty)
        #expect(try ledger.attempts(of: "a", topic: "orders", offset: 7) == [done])
        #expect(try ledger.attempts(of: "a", topic: "orders", offset: 1).isEmpty)
        ledger.close()
    }

    @Test func openDeadLettersExpireOnlyWhenTheyAreOldEnough() throws {
        let ledger = try open()
        func letter(_ offset: Offset, at time: Int64) -> NewDeadLetter {
            NewDeadLetter(
                topic: "orders", offset: offset, reason: "r", attempts: 1, time: Timestamp(milliseconds: time),
                record: record("o-\(offset)", key: nil))
        }
        _ = try ledger.committed(LedgerChange(subscriber: "a", dead: [letter(1, at: 10), letter(2, at: 20)]))
        #expect(try ledger.expireDeadLetters(before: Timestamp(milliseconds: 20)) == ["a": 1])
        #expect(try ledger.expireDeadLetters(before: Timestamp(milliseconds: 20)).isEmpty)
        #expect(try ledger.deadLetters(limit: 9).map(\.letter.offset) == [2])
        ledger.close()
    }

    @Test func aSubscriberIsRenamedWithAllItHas() throws {
        let ledger = try open()
        ledger.commit(
            LedgerChange(
                subscriber: "old", positions: [LedgerPosition(topic: "orders", position: 5)], state: [put("k", "1")]))
        try ledger.adopt(["old"], renaming: [SubscriberRename("old", to: "new")])
        #expect(try ledger.subscribers() == ["new"])
        #expect(try ledger.load("new").positions == [LedgerPosition(topic: "orders", position: 5)])
        #expect(try ledger.text("new", "k") == "1")
        // Until the new one runs, the old one may be at work.
        _ = try ledger.committed(
            LedgerChange(subscriber: "old", positions: [LedgerPosition(topic: "orders", position: 6)]))
        #expect(try ledger.load("new").positions == [LedgerPosition(topic: "orders", position: 6)])
        try ledger.setRunning(["new"])
        #expect(try ledger.subscribers() == ["new"])
        #expect(try ledger.orphans().isEmpty)
        #expect(try ledger.text("old", "k") == nil)
        _ = try ledger.committed(LedgerChange(subscriber: "old", state: [put("k", "2")]))
        #expect(try ledger.text("new", "k") == "1")
        ledger.close()
    }

    @Test func namesAreGivenAllOrNone() throws {
        let ledger = try open()
        for name in ["a", "b", "c"] {
            _ = try ledger.committed(LedgerChange(subscriber: name, state: [put("k", "1")]))
        }
        try ledger.setRunning([])
        let orphans = try ledger.orphans()
        #expect(throws: Failure(.conflict, "the ledger has a subscriber \"c\" already: forget it first")) {
            try ledger.adopt(
                ["a", "b"], renaming: [SubscriberRename("a", to: "d"), SubscriberRename("b", to: "c")])
        }
        #expect(throws: Failure(.conflict, "subscriber \"e\" was forgotten just now; try again")) {
            try ledger.adopt(["a", "e"], renaming: [SubscriberRename("a", to: "d")])
        }
        #expect(try ledger.subscribers() == ["a", "b", "c"])
        #expect(try ledger.orphans() == orphans, "they have been orphans for as long as before")
        ledger.close()
    }

    @Test func aForgottenSubscriberLeavesNothing() throws {
        let ledger = try open()
        ledger.commit(
            LedgerChange(
                subscriber: "gone", positions: [LedgerPosition(topic: "orders", position: 5)], state: [put("k", "1")]))
        try ledger.forget("gone")
        #expect(try ledger.subscribers().isEmpty)
        #expect(try ledger.text("gone", "k") == nil)
        #expect(throws: Failure(.unknownSubscriber, "the ledger knows no subscriber \"gone\"")) {
            try ledger.forget("gone")
        }
        // Under the same name it starts anew.
        ledger.commit(LedgerChange(subscriber: "gone", state: [add("n", 1)]))
        #expect(try ledger.text("gone", "n") == "1")
        #expect(try ledger.load("gone").positions.isEmpty)
        ledger.close()
    }

    @Test func generationsAreListedNewestFirst() throws {
        let ledger = try open()
        var one = LedgerGeneration(
            number: 1, hash: "aa", time: Timestamp(milliseconds: 1), trigger: "start", verdict: "accepted")
        one.details.files = ["routes.conf": "h1"]
        one.details.ends = ["orders": 5]
        let two = LedgerGeneration(
            number: 2, hash: "bb", time: Timestamp(milliseconds: 2), trigger: "signal", verdict: "refused: R034")
        try ledger.recordGeneration(one, contents: ["h1": [1, 2]])
        try ledger.recordGeneration(two, contents: ["h1": [9, 9]])
        #expect(try ledger.generations(limit: 5) == [two, one])
        #expect(try ledger.generation(2) == two)
        #expect(try ledger.generation(3) == nil)
        #expect(try ledger.generation(routing: "orders", 5) == one)
        #expect(try ledger.generation(routing: "orders", 4) == nil)
        #expect(try ledger.configFile("h1") == [1, 2], "the same hash is the same content")
        #expect(try ledger.configFile("h2") == nil)
        ledger.close()
    }

    @Test func answersComeInTheOrderOfTheChanges() throws {
        let ledger = try open()
        let order = Mutex<[Int]>([])
        for index in 0..<5_000 {
            ledger.commit(
                LedgerChange(subscriber: "a", positions: [LedgerPosition(topic: "orders", position: Offset(index))])
            ) { _ in order.withLock { $0.append(index) } }
        }
        try ledger.flush()
        #expect(order.withLock { $0 } == Array(0..<5_000))
        #expect(try ledger.load("a").positions.first?.position == 4_999)
        #expect(ledger.pressure.changes == 0)
        ledger.close()
    }

    @Test func pressureRisesWithWhatWaits() throws {
        let ledger = try Ledger(path: path, clock: clock, log: quietLogger(), writing: .manual)
        for index in 0..<1_000 {
            ledger.commit(LedgerChange(subscriber: "a", state: [put("k\(index)", "1")]))
        }
        #expect(ledger.pressure.changes == 1_000)
        #expect(ledger.pressure.value > 0.01)
        while try ledger.step() {}
        #expect(ledger.pressure.changes == 0)
        #expect(ledger.pressure.bytes == 0)
        ledger.close()
    }

    // MARK: Files that aren't ours

    @Test func aFileThatIsNoDatabaseIsRefused() throws {
        try Data("this is a shopping list, not a database, and it is long enough".utf8).write(
            to: URL(fileURLWithPath: path))
        #expect(
            throws: Failure(.storage, "\(path) is no SQLite database: move it away or choose another data folder")
        ) { try open() }
    }

    @Test func aDatabaseOfSomebodyElsesIsRefusedAndLeftAlone() throws {
        let foreign = try DatabaseQueue(path: path)
        try foreign.write { try $0.execute(sql: "CREATE TABLE wine (name TEXT)") }
        try foreign.close()
        #expect {
            try open()
        } throws: { error in
            "\(error)"
                == "\(path) is an SQLite database, but no ledger of Fairlead's: move it away or choose another data folder"
        }
        let again = try DatabaseQueue(path: path)
        #expect(try again.read { try $0.tableExists("wine") })
        #expect(try !again.read { try $0.tableExists("state") })
    }

    @Test func aLedgerOfANewerVersionIsRefused() throws {
        try open().close()
        let later = try DatabaseQueue(path: path)
        try later.write { try $0.execute(sql: "INSERT INTO grdb_migrations (identifier) VALUES ('99')") }
        try later.close()
        #expect(throws: Failure(.storage, "\(path) was written by a newer Fairlead: use that one")) { try open() }
    }

    @Test func aChangeThatBreaksALimitIsRefusedWhole() throws {
        let ledger = try open()
        let long = String(repeating: "k", count: Limits.stateKeyBytesMax + 1)
        #expect(throws: Failure(.tooLarge, "a state key of 1025 bytes; allowed are 1 to 1024")) {
            try ledger.committed(LedgerChange(subscriber: "a", state: [put("fine", "1"), put(long, "1")]))
        }
        let large = put("k", String(repeating: "1", count: Limits.stateValueBytesMax + 1))
        #expect(throws: Failure(.tooLarge, "the value of state key \"k\" is 262145 bytes; the limit is 262144")) {
            try ledger.committed(LedgerChange(subscriber: "a", state: [large]))
        }
        #expect(try ledger.text("a", "fine") == nil)
        ledger.close()
        #expect(throws: Failure(.storage, "the ledger is closed")) {
            try ledger.committed(LedgerChange(subscriber: "a"))
        }
    }

    // MARK: Disks that fail

    @Test func whileAnotherHoldsTheDatabaseChangesAreKeptAndCommittedLater() throws {
        let health = Mutex<[Ledger.Health]>([])
        let ledger = try Ledger(
            path: path, clock: clock, log: quietLogger(), writing: .manual, busyTimeout: .milliseconds(5),
            onHealth: { state in health.withLock { $0.append(state) } })
        let other = try holdWriteLock()
        let answers = Mutex(0)
        for index in 0..<50 {
            ledger.commit(LedgerChange(subscriber: "a", state: [put("k\(index)", "\(index)"), add("n", 1)])) { result in
                if case .success = result { answers.withLock { $0 += 1 } }
            }
        }
        for _ in 0..<3 { #expect(throws: (any Error).self) { try ledger.step() } }
        #expect(answers.withLock { $0 } == 0)
        #expect(health.withLock { $0 } == [.failing(Failure(.storage, "the ledger failed: database is locked"))])
        // What was accepted is still read, and more is taken.
        #expect(try ledger.text("a", "n") == "50")
        ledger.commit(LedgerChange(subscriber: "a", state: [add("n", 1)]))
        #expect(try ledger.text("a", "n") == "51")
        #expect(ledger.pressure.changes == 51)
        try other.inDatabase { try $0.execute(sql: "ROLLBACK") }
        while try ledger.step() {}
        #expect(answers.withLock { $0 } == 50)
        #expect(health.withLock { $0.last } == .working)
        #expect(try ledger.text("a", "n") == "51")
        ledger.close()
        let again = try open()
        #expect(try again.text("a", "n") == "51")
        again.close()
    }

    @Test func closingDoesNotWaitForADiskThatFails() throws {
        let ledger = try Ledger(path: path, clock: clock, log: quietLogger(), busyTimeout: .milliseconds(5))
        let other = try holdWriteLock()
        let answer = Mutex<Result<LedgerCommit, Failure>?>(nil)
        ledger.commit(LedgerChange(subscriber: "a", state: [put("k", "1")])) { result in answer.withLock { $0 = result }
        }
        ledger.close()
        let failure = Failure(.storage, "the ledger was closed while its disk failed: the change is not kept")
        #expect(answer.withLock { $0 } == .failure(failure))
        try other.inDatabase { try $0.execute(sql: "ROLLBACK") }
    }
}
