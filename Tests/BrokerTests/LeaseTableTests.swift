// SPDX-License-Identifier: Apache-2.0

import Events
import Ledger
import Simulation
import Testing

@testable import Broker

struct LeaseTableTests {
    private static let start = Timestamp(milliseconds: 1_000)

    private static func table(_ count: Int) -> (LeaseTable, LeaseRow) {
        var table = LeaseTable()
        let row = table.grant(deliveries(count), batch: 7, until: start + .seconds(30))
        return (table, row)
    }

    private static func deliveries(_ count: Int, from first: Offset = 0) -> [Delivery] {
        let batch = records(count, first: first)
        return (0..<count).map { Delivery(record: batch[$0], attempt: 1) }
    }

    private func outcome(_ end: LeaseTable.End) -> LeaseResult? {
        if case .not(let result) = end { result } else { nil }
    }

    @Test func aLeaseSettledTwiceIsToldSo() {
        var (table, _) = Self.table(2)
        #expect(outcome(table.end(.init(batch: 7, index: 0))) == nil)
        #expect(outcome(table.end(.init(batch: 7, index: 0))) == .settled)
        #expect(outcome(table.end(.init(batch: 7, index: 1))) == nil)
        // The whole batch is over now, and still known.
        #expect(outcome(table.end(.init(batch: 7, index: 1))) == .settled)
        #expect(table.count == 0)
    }

    @Test func aLeaseSettledTooLateIsToldSo() {
        var (table, _) = Self.table(2)
        _ = table.end(.init(batch: 7, index: 0))
        #expect(table.expire(now: Self.start + .seconds(29)).isEmpty)
        #expect(table.expire(now: Self.start + .seconds(30)).map(\.offset) == [1])
        #expect(outcome(table.end(.init(batch: 7, index: 1))) == .expired)
        #expect(table.extend(.init(batch: 7, index: 1), until: Self.start + .seconds(60)) == .expired)
        #expect(table.extend(.init(batch: 7, index: 0), until: Self.start + .seconds(60)) == .settled)
    }

    @Test func aLeaseThatNeverWasIsUnknown() {
        var (table, _) = Self.table(1)
        #expect(outcome(table.end(.init(batch: 8, index: 0))) == .unknown)
        #expect(outcome(table.end(.init(batch: 7, index: 1))) == .unknown)
        #expect(table.extend(.init(batch: 7, index: 5), until: Self.start) == .unknown)
    }

    @Test func anExtendedLeaseOutlivesItsBatch() {
        var (table, _) = Self.table(3)
        #expect(table.extend(.init(batch: 7, index: 1), until: Self.start + .seconds(60)) == .done)
        #expect(table.expire(now: Self.start + .seconds(30)).map(\.offset) == [0, 2])
        #expect(table.nextExpiry == Self.start + .seconds(60))
        #expect(table.expire(now: Self.start + .seconds(60)).map(\.offset) == [1])
        #expect(table.count == 0)
    }

    @Test func theLedgerIsToldOfAnExtensionAndOfTheEnd() {
        var (table, row) = Self.table(2)
        #expect(row.runs == [.init(topic: "in", first: 0, count: 2, attempt: 1, replay: false)])
        #expect(table.takeChanges().isEmpty)
        _ = table.extend(.init(batch: 7, index: 1), until: Self.start + .seconds(60))
        var extended = row
        extended.expires = Self.start + .seconds(60)
        #expect(table.takeChanges() == [.put(extended)])
        _ = table.end(.init(batch: 7, index: 0))
        #expect(table.takeChanges().isEmpty)
        _ = table.end(.init(batch: 7, index: 1))
        #expect(table.takeChanges() == [.remove(7)])
    }

    @Test func endedLeasesAreRememberedWithinABound() {
        var table = LeaseTable()
        let size = 1_000
        for batch in 0..<UInt64(Limits.endedLeasesKept / size + 2) {
            _ = table.grant(Self.deliveries(size), batch: batch, until: Self.start)
        }
        _ = table.expire(now: Self.start)
        let known = (0..<UInt64(Limits.endedLeasesKept / size + 2)).count { batch in
            outcome(table.end(.init(batch: batch, index: 0))) == .expired
        }
        #expect(known == Limits.endedLeasesKept / size)
    }

    @Test(arguments: [
        "", "-", "a-", "-1", "a", "A-1", "a-1x", "a-+1", "a--1", "+a-1", "zzzzzzzzzzzzz-1", "a-123456789", "é-1",
    ])
    func garbageIsNoLease(_ text: String) {
        #expect(LeaseID(text) == nil)
    }

    @Test func aLeaseIsReadAsItWasWritten() {
        for id in [LeaseID(batch: 0, index: 0), LeaseID(batch: 1 << 45, index: 9_999)] {
            #expect(LeaseID(id.text) == id)
        }
        #expect(LeaseID("5k-17") == LeaseID(batch: 200, index: 17))
    }
}

/// Records of topic `in` with ids `e0`, `e1`, …; `attributes` by place.
func records(
    _ count: Int, first: Offset = 0, time: Timestamp = .init(milliseconds: 0),
    attributes: (Int) -> [Event.Attribute] = { _ in [] }
) -> RecordBatch {
    var builder = RecordBatchBuilder(topic: .named("in"), key: SubjectKey(), capacity: 256)
    for number in 0..<count {
        builder.append(Event(id: "e\(number)", source: "/test", type: "t", attributes: attributes(number)))
    }
    let batch = builder.finish()
    batch.stamp(first: first, time: time)
    return batch
}
