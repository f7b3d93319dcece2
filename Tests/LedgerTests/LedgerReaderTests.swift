// SPDX-License-Identifier: Apache-2.0

import Events
import GRDB
import Ledger
import Testing

/// Reading beside whoever writes.
@Suite(.timeLimit(.minutes(2))) struct LedgerReaderTests {
    let folder = TemporaryFolder()
    let clock = TestClock()
    private var path: String { folder.path + "/ledger.db" }

    private func open() throws -> Ledger { try Ledger(path: path, clock: clock, log: quietLogger()) }

    private func attempt(
        _ offset: Offset, _ outcome: Attempt.Outcome, number: Int = 1, ended: Int64 = 30, replay: Bool = false
    ) -> Attempt {
        Attempt(
            topic: "orders", offset: offset, number: number, began: Timestamp(milliseconds: 10),
            ended: Timestamp(milliseconds: ended), outcome: outcome, reason: outcome == .ack ? nil : "why",
            generation: 3, replay: replay)
    }

    @Test func theLastAttemptOfEachDeliveryIsFoundInWhatPassedAndInWhatFailed() throws {
        let ledger = try open()
        var change = LedgerChange(subscriber: "a")
        change.attempts = [
            attempt(7, .retry), attempt(7, .ack, number: 2, ended: 50), attempt(8, .dead),
            attempt(1, .dead, ended: 90, replay: true), attempt(65_537, .drop),
        ]
        change.passed = [
            PassedDeliveries(
                topic: "orders", offsets: [1, 2, 4, 65_536, 70_000], began: Timestamp(milliseconds: 5),
                ended: Timestamp(milliseconds: 9), generation: 2, replay: false),
            PassedDeliveries(
                topic: "orders", offsets: [3], began: Timestamp(milliseconds: 5), ended: Timestamp(milliseconds: 9),
                generation: 2, replay: true),
        ]
        _ = try ledger.committed(change)

        let reader = try LedgerReader(path: path)
        let last = try reader.lastAttempts(of: "a", topic: "orders", 1...65_537)
        #expect(last.keys.sorted() == [1, 2, 4, 7, 8, 65_536, 65_537], "replays are not what happened first")
        #expect(last[1]?.outcome == .ack)
        #expect(last[7]?.outcome == .ack && last[7]?.number == 2)
        #expect(last[8]?.outcome == .dead && last[8]?.reason == "why")
        #expect(last[65_537]?.outcome == .drop)
        #expect(try reader.lastAttempts(of: "a", topic: "orders", 2...3).keys.sorted() == [2])
        #expect(try reader.lastAttempts(of: "b", topic: "orders", 0...100).isEmpty)
        #expect(try reader.lastAttempts(of: "a", topic: "stock", 0...100).isEmpty)
        try reader.close()
        ledger.close()
    }

    @Test func stateIsReadWholeInTheOrderOfItsKeys() throws {
        let ledger = try open()
        var change = LedgerChange(subscriber: "a")
        change.state = [
            .put(key: "b", value: Array("2".utf8), expires: Timestamp(milliseconds: 9_000_000)),
            .put(key: "a", value: Array("1".utf8), expires: nil),
        ]
        change.stateVersion = 4
        _ = try ledger.committed(change)
        let reader = try LedgerReader(path: path)
        let (entries, version) = try reader.state(of: "a")
        #expect(entries.map(\.key) == ["a", "b"])
        #expect(entries[1].expires == Timestamp(milliseconds: 9_000_000))
        #expect(version == 4)
        #expect(try reader.state(of: "b").entries.isEmpty)
        try reader.close()
        ledger.close()
    }

    @Test func theNewestGenerationIsTheOneThatTookEffect() throws {
        let ledger = try open()
        for (number, verdict) in [(1, "applied"), (2, "applied"), (3, "refused: a syntax error")] {
            var generation = LedgerGeneration(
                number: number, hash: "h\(number)", time: clock.now(), trigger: "start", verdict: verdict)
            generation.details.config = "routes.conf"
            generation.details.files = ["routes.conf": "hash\(number)", "gone.conf": "nothing"]
            try ledger.recordGeneration(generation, contents: ["hash\(number)": Array("topic t\(number)".utf8)])
        }
        let reader = try LedgerReader(path: path)
        let newest = try #require(try reader.generation(nil))
        #expect(newest.number == 2)
        #expect(try reader.files(of: newest) == ["routes.conf": Array("topic t2".utf8)])
        #expect(try reader.generation(1)?.hash == "h1")
        #expect(try reader.generation(9) == nil)
        try reader.close()
        ledger.close()
    }

    @Test func whatIsNoLedgerIsRefused() throws {
        let other = try DatabaseQueue(path: path)
        try other.write { try $0.execute(sql: "CREATE TABLE t (a)") }
        let refusal = #expect(throws: Failure.self) { try LedgerReader(path: path) }
        #expect(refusal?.message == "\(path) is no ledger of Fairlead's")
        try other.close()
    }
}
