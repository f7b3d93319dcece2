// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import GRDB
import Ledger
import Testing

/// `fairlead verify` on the ledger: each promise it rests on is looked at, and repairs keep what they replace.
@Suite(.timeLimit(.minutes(2))) struct InspectionTests {
    let folder = TemporaryFolder()
    let clock = TestClock()

    private var path: String { folder.path + "/ledger.db" }

    private func open() throws -> Ledger {
        try Ledger(path: path, clock: clock, log: quietLogger())
    }

    private func inspect(_ bounds: Range<Offset>? = 0..<100) -> LedgerInspection {
        LedgerInspection(
            reading: path,
            records: .init(bounds: { _ in bounds }, has: { offset, _ in bounds?.contains(offset) ?? false }))
    }

    /// A subscriber with a position, a retry, a dead letter and an event to publish.
    private func fill() throws {
        let ledger = try open()
        var change = LedgerChange(subscriber: "receipts")
        change.positions = [LedgerPosition(topic: "orders", position: 10, settled: [12...14])]
        change.deferred = [
            .put(Deferred(topic: "orders", offset: 7, attempts: 1, due: clock.now(), reason: "later"))
        ]
        change.dead = [
            NewDeadLetter(
                topic: "orders", offset: 3, reason: "no", attempts: 8, time: clock.now(), record: record("dead"))
        ]
        change.publications = [publication("p")]
        _ = try ledger.committed(change)
        ledger.close()
    }

    private func change(_ sql: String) throws {
        let database = try DatabaseQueue(path: path)
        try database.write { try $0.execute(sql: sql) }
        try database.close()
    }

    @Test func aSoundLedgerHasNoFindings() throws {
        try fill()
        let inspection = inspect()
        #expect(inspection.findings.isEmpty, "\(inspection.findings)")
        #expect(inspection.rows == 4)
        #expect(inspection.positions.map(\.settled) == [[12...14]])
        #expect(try LedgerRepair(of: path).mend(inspection.findings) == nil)
    }

    @Test func aRunningLedgerIsReadBesideItsServer() throws {
        try fill()
        let ledger = try open()
        #expect(inspect().findings.isEmpty)
        ledger.close()
    }

    @Test func positionsAndRetriesAreHeldAgainstTheJournal() throws {
        try fill()
        let beyond = inspect(0..<5).findings
        #expect(beyond.map(\.kind) == [.positionBeyondEnd, .retryWithoutRecord])
        #expect(beyond[1].offsets == 7...7)
        #expect(beyond.allSatisfy { $0.subscriber == "receipts" && $0.repair == nil })
        let before = inspect(20..<30).findings
        #expect(before.map(\.kind) == [.positionBeforeStart, .retryWithoutRecord])
        #expect(inspect(nil).findings.first?.kind == .positionBeyondEnd)
    }

    @Test func rowsThatCanNotBeReadAreNamedAndTakenOut() throws {
        try fill()
        try change("UPDATE position SET settled = x'FF'")
        try change("UPDATE dead SET record = x'0102'")
        try change("UPDATE outbox SET record = x'0102'")
        try change("INSERT INTO state (subscriber, key, value) VALUES (99, x'01', x'31')")
        let findings = inspect().findings
        #expect(
            findings.map(\.kind) == [
                .damagedPosition, .damagedDeadLetter, .damagedOutboxRow, .rowWithoutSubscriber, .rowWithoutSubscriber,
            ])
        #expect(findings.suffix(2).map(\.detail) == ["state", "state_usage"])
        let aside = try #require(try LedgerRepair(of: path).mend(findings))
        #expect(inspect().findings.isEmpty)
        // What was taken out is in the copy.
        let copy = try DatabaseQueue(path: aside)
        let left = try copy.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM dead") }
        try copy.close()
        #expect(left == 1)
        // The server starts again, and the events settled out of order come again.
        let ledger = try open()
        #expect(try ledger.load("receipts").positions == [LedgerPosition(topic: "orders", position: 10)])
        ledger.close()
    }

    @Test func aRunOfHistoryIsNamedAsItsOwnerKnowsIt() throws {
        let ledger = try open()
        func begin(_ id: Int64, _ kind: LedgerLane.Kind, topic: String) throws {
            let details = LedgerLane.Details(kind: kind, spans: [.init(topic: topic, from: 0, until: 90)])
            var part = LaneChange(id: id, done: 0)
            part.row = LedgerLane(
                id: id, subscriber: "receipts", details: details, begun: Timestamp(milliseconds: 1_000))
            part.positions = [LedgerPosition(topic: topic, position: 30, settled: [40...42])]
            part.deferred = [.put(Deferred(topic: topic, offset: 7, attempts: 1, due: nil))]
            var change = LedgerChange(subscriber: "receipts")
            change.lanes = [part]
            _ = try ledger.committed(change)
        }
        try begin(3, .replay, topic: "orders")
        try begin(4, .imported, topic: "$import.4.orders")
        try begin(5, .start, topic: "orders")
        ledger.close()
        let findings = inspect(0..<5).findings
        let texts = findings.map(\.meaning)
        for name in ["replay 3", "import 4", "history 5"] {
            let said = texts.filter { $0.contains("subscriber \"receipts\" (\(name))") }
            #expect(said.count == 2 && said.allSatisfy { $0.contains("in topic \"orders\"") }, "\(texts)")
        }
        #expect(!texts.contains { $0.contains("$") }, "\(texts)")
        #expect(findings.allSatisfy { $0.subscriber == "receipts" })

        try change("UPDATE position SET settled = x'FF' WHERE topic = '$import.4.orders'")
        let damaged = inspect().findings
        #expect(damaged.map(\.kind) == [.damagedPosition], "\(damaged)")
        _ = try LedgerRepair(of: path).mend(damaged)
        #expect(inspect().findings.isEmpty)
        let again = try open()
        #expect(
            try again.load("receipts").lanes.map { $0.positions[0].settled } == [[40...42], [], [40...42]],
            "mended by its own name")
        again.close()
    }

    @Test func aDamagedDatabaseIsCopiedAsFarAsItCanBeRead() throws {
        let ledger = try open()
        for number in 0..<400 {
            var change = LedgerChange(subscriber: "s\(number)")
            change.positions = [LedgerPosition(topic: "orders", position: Offset(number))]
            change.state = [put("k", "\"\(String(repeating: "v", count: 200))\"")]
            _ = try ledger.committed(change)
        }
        ledger.close()
        // A page in the middle of the file, well behind the schema.
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
        let size = try file.seekToEnd()
        try file.seek(toOffset: size / 2 / 4_096 * 4_096)
        try file.write(contentsOf: Data(repeating: 0xEE, count: 4_096))
        try file.close()
        let findings = inspect().findings
        #expect(findings.map(\.kind) == [.damagedDatabase], "\(findings)")
        let aside = try #require(try LedgerRepair(of: path).mend(findings))
        #expect(FileManager.default.fileExists(atPath: aside))
        #expect(!inspect(0..<1_000).findings.contains { $0.kind == .damagedDatabase })
        let again = try open()
        #expect(try again.subscribers().count > 300)
        // No number of an outbox row is used a second time.
        let commit = try again.committed(LedgerChange(subscriber: "s1", publications: [publication("p")]))
        #expect(try #require(commit.outbox.first) > 1_000_000_000_000)
        again.close()
    }

    @Test func aFileThatIsNoLedgerIsToldApart() throws {
        try Data("this is a shopping list, not a database, and it is long enough to be read as one".utf8).write(
            to: URL(fileURLWithPath: path))
        let findings = inspect().findings
        #expect(findings.map(\.kind) == [.notADatabase], "\(findings)")
        let aside = try #require(try LedgerRepair(of: path).mend(findings))
        #expect(try String(contentsOfFile: aside, encoding: .utf8).hasPrefix("this is a shopping list"))
        #expect(inspect().findings.isEmpty)
        try FileManager.default.removeItem(atPath: path)
        for suffix in ["-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + suffix) }
        let foreign = try DatabaseQueue(path: path)
        try foreign.write { try $0.execute(sql: "CREATE TABLE recipes (name TEXT)") }
        try foreign.close()
        #expect(inspect().findings.map(\.kind) == [.foreignDatabase])
        #expect(try LedgerRepair(of: path).mend(inspect().findings) == nil)
    }
}
