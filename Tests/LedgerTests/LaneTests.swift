// SPDX-License-Identifier: Apache-2.0

import Events
import GRDB
import Ledger
import Testing

@Suite(.timeLimit(.minutes(2))) struct LaneTests {
    let folder = TemporaryFolder()
    let clock = TestClock()

    private func open() throws -> Ledger {
        try Ledger(path: folder.path + "/ledger.db", clock: clock, log: quietLogger())
    }

    private func lane(_ id: Int64, of subscriber: String = "receipts") -> LedgerLane {
        var details = LedgerLane.Details(kind: .replay, spans: [.init(topic: "orders", from: 2, until: 90)])
        details.filter = "type = 'a'"
        details.rateCount = 5
        details.rateMilliseconds = 1_000
        return LedgerLane(id: id, subscriber: subscriber, details: details, begun: clock.now())
    }

    private func change(_ lane: LedgerLane, done: Int, position: Offset) -> LedgerChange {
        var part = LaneChange(id: lane.id, done: done)
        part.row = lane
        part.positions = [LedgerPosition(topic: "orders", position: position, settled: [40...42])]
        part.deferred = [.put(Deferred(topic: "orders", offset: 7, attempts: 1, due: nil, key: "k", replay: true))]
        var change = LedgerChange(subscriber: lane.subscriber)
        change.positions = [LedgerPosition(topic: "orders", position: 100)]
        change.lanes = [part]
        return change
    }

    @Test func aRunIsKeptApartFromWhatIsLiveAndComesBackAfterReopening() throws {
        let ledger = try open()
        _ = try ledger.committed(change(lane(3), done: 4, position: 30))
        ledger.close()
        let again = try open()
        let loaded = try again.load("receipts")
        #expect(loaded.positions == [LedgerPosition(topic: "orders", position: 100)])
        #expect(loaded.deferred.isEmpty)
        var expected = lane(3)
        expected.done = 4
        #expect(
            loaded.lanes == [
                LaneLedger(
                    lane: expected, positions: [LedgerPosition(topic: "orders", position: 30, settled: [40...42])],
                    deferred: [Deferred(topic: "orders", offset: 7, attempts: 1, due: nil, key: "k", replay: true)])
            ])
        #expect(try again.subscribers() == ["receipts"], "a run is no subscriber")
        #expect(try again.lastLane() == 3)
        again.close()
    }

    @Test func anEndedRunLeavesItsRowAndNothingElse() throws {
        let ledger = try open()
        var ended = lane(1)
        _ = try ledger.committed(change(ended, done: 4, position: 30))
        ended.state = .finished
        ended.ended = clock.now()
        // Positions of the same change are dropped with it.
        _ = try ledger.committed(change(ended, done: 88, position: 90))
        #expect(try ledger.load("receipts").lanes.isEmpty)
        ended.done = 88
        #expect(try ledger.lanes(of: "receipts", limit: 10) == [ended])
        #expect(try ledger.lanes(of: nil, limit: 10) == [ended])
        #expect(try ledger.lanes(of: "nobody", limit: 10).isEmpty)
        // Were anything left of it, this would bring it back.
        var revived = LaneChange(id: 1, done: 0)
        revived.row = lane(1)
        var change = LedgerChange(subscriber: "receipts")
        change.lanes = [revived]
        _ = try ledger.committed(change)
        #expect(try ledger.load("receipts").lanes == [LaneLedger(lane: lane(1), positions: [], deferred: [])])
        ledger.close()
    }

    @Test func aRenamedSubscriberKeepsItsRunsAndAForgottenOneLosesThem() throws {
        let ledger = try open()
        _ = try ledger.committed(change(lane(1), done: 4, position: 30))
        try ledger.adopt(["receipts"], renaming: [SubscriberRename("receipts", to: "mail")])
        #expect(try ledger.load("mail").lanes.map(\.lane.id) == [1])
        #expect(try ledger.load("mail").lanes[0].deferred.count == 1)
        try ledger.forget("mail")
        #expect(try ledger.lanes(of: nil, limit: 10).isEmpty)
        ledger.close()
    }

    @Test func aRunIsNoOrphanAndGoesWithTheOneItBelongsTo() throws {
        let ledger = try open()
        _ = try ledger.committed(change(lane(1), done: 4, position: 30))
        try ledger.setRunning([])
        #expect(try ledger.orphans().map(\.name) == ["receipts"])
        #expect(try ledger.lowestDeferred(in: "orders")?.subscriber == "receipts", "and rows are told as its own")
        #expect(try ledger.purgeOrphan("receipts", since: clock.now()))
        #expect(try ledger.lowestDeferred(in: "orders") == nil)
        #expect(try ledger.lanes(of: nil, limit: 10).isEmpty)
        var revived = LaneChange(id: 1, done: 0)
        revived.row = lane(1)
        var change = LedgerChange(subscriber: "receipts")
        change.lanes = [revived]
        _ = try ledger.committed(change)
        #expect(try ledger.load("receipts").lanes == [LaneLedger(lane: lane(1), positions: [], deferred: [])])
        ledger.close()
    }

    @Test func anOrphansRunsAreCountedWithWhatWaitsInThem() throws {
        let ledger = try open()
        _ = try ledger.committed(change(lane(1), done: 4, position: 30))
        var ended = lane(2)
        (ended.state, ended.ended) = (.finished, clock.now())
        _ = try ledger.committed(change(ended, done: 4, position: 30))
        var live = LedgerChange(subscriber: "receipts")
        live.deferred = [.put(Deferred(topic: "orders", offset: 8, attempts: 1, due: clock.now()))]
        _ = try ledger.committed(live)
        try ledger.setRunning([])
        #expect(
            try ledger.orphans() == [
                Orphan(name: "receipts", since: clock.now(), deferred: 2, dead: 0, history: 1)
            ])
        #expect(try ledger.load("receipts").lanes.map(\.lane.id) == [1], "what comes back has it again")
        ledger.close()
    }

    @Test func endedRunsGoByAgeAndNumberAndImportsByNumberAlone() throws {
        let ledger = try open()
        func add(_ ids: ClosedRange<Int64>, _ kind: LedgerLane.Kind, isEnded: Bool = true) throws {
            for id in ids {
                var row = lane(id)
                row.details.kind = kind
                _ = try ledger.committed(change(row, done: 1, position: 3))
                guard isEnded else { continue }
                (row.state, row.ended) = (.finished, clock.now())
                _ = try ledger.committed(change(row, done: 1, position: 90))
            }
        }
        let before = clock.now()
        try add(1...3, .replay)
        try add(4...6, .imported)
        try add(7...7, .replay, isEnded: false)
        clock.advance(.seconds(60))
        try add(8...10, .start)
        func ids() throws -> [Int64] { try ledger.lanes(of: nil, limit: 100).map(\.id).reversed() }
        try ledger.expireLanes(before: before, keeping: 100)
        #expect(try ids() == Array(1...10), "none is old enough")
        try ledger.expireLanes(before: before + .seconds(1), keeping: 100)
        #expect(try ids() == Array(4...10), "a file that was imported is known for longer")
        try ledger.expireLanes(before: before, keeping: 2)
        #expect(try ids() == [5, 6, 7, 9, 10])
        try ledger.expireLanes(before: .distantFuture, keeping: 0)
        #expect(try ids() == [7], "what is under way stays")
        #expect(try ledger.load("receipts").lanes.map(\.lane.id) == [7])
        ledger.close()
        #expect(try names() == ["$history-7", "receipts"], "nothing of the others is left")
    }

    private func names() throws -> [String] {
        let database = try DatabaseQueue(path: folder.path + "/ledger.db")
        defer { try? database.close() }
        return try database.read { try String.fetchAll($0, sql: "SELECT name FROM subscriber ORDER BY name") }
    }

    @Test func aNumberIsNeverGivenTwice() throws {
        var ledger = try open()
        _ = try ledger.committed(change(lane(5), done: 4, position: 30))
        try ledger.setRunning([])
        #expect(try ledger.purgeOrphan("receipts", since: clock.now()))
        #expect(try ledger.lastLane() == 5)
        ledger.close()
        #expect(try names().isEmpty)
        ledger = try open()
        #expect(try ledger.lastLane() == 5, "though nothing of it is left")
        _ = try ledger.committed(change(lane(6), done: 4, position: 30))
        try ledger.forget("receipts")
        #expect(try ledger.lastLane() == 6)
        ledger.close()
    }

    @Test func aDeadLetterHoldsTheKeyOfItsOwnRun() throws {
        let ledger = try open()
        let topic = Topic.named("orders")
        struct First: KeyExtractor {
            func withKey(of record: UnsafeRawPointer, _ body: (UnsafeRawBufferPointer) -> Void) {
                Array("k".utf8).withUnsafeBytes { body($0) }
            }
        }
        var builder = RecordBatchBuilder(topic: topic, key: First(), capacity: 64)
        builder.append(Event(id: "1", source: "/s", type: "t"))
        let batch = builder.finish()
        batch.stamp(first: 5, time: clock.now())
        var letter = NewDeadLetter(
            topic: "orders", offset: 5, reason: "no", attempts: 1, time: clock.now(), record: Array(batch.bytes))
        letter.lane = 3
        _ = try ledger.committed(LedgerChange(subscriber: "receipts", dead: [letter]))
        #expect(
            try ledger.openDeadLetters(of: "receipts") == OpenDeadLetters(count: 1, keys: [], laneKeys: [3: ["k"]]))
        #expect(try ledger.deadLetter(1)?.letter.lane == 3)
        ledger.close()
    }
}
