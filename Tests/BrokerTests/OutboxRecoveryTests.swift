// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Foundation
import Journal
import Ledger
import Logging
import Testing

/// What a start does about events that plugins had published when the process ended.
struct OutboxRecoveryTests {
    private static let routes = "topic orders { retain 30d }\nsubscriber counter { from orders; pull; start earliest }"

    /// Journal and ledger of a data folder, with no broker at them.
    private final class Parts {
        let journal: Journal
        let ledger: Ledger
        let engine: EmbeddedEngine

        init(_ stored: StoredBroker) throws {
            let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            journal = Journal(folder: stored.folder.path + "/journal", clock: stored.clock, log: log)
            ledger = try Ledger(path: stored.folder.path + "/ledger.db", clock: stored.clock, log: log)
            engine = EmbeddedEngine(journal: journal, ledger: ledger, log: log)
            try journal.open { _ in }
        }

        /// What a handler publishes, as far as the ledger.
        func settle(_ ids: [String]) async throws -> [UInt64] {
            let publications = ids.map {
                Publication(topic: "orders", event: Event(id: $0, source: "/test", type: "t", data: .none))
            }
            return try await withCheckedThrowingContinuation { continuation in
                engine.commit(LedgerChange(subscriber: "counter", publications: publications)) {
                    continuation.resume(with: $0.map(\.outbox))
                }
            }
        }

        /// The second half, without the removal of the rows.
        func append(_ ids: [String], rows: [UInt64] = []) async throws {
            var builder = RecordBatchBuilder(topic: .named("orders"), key: nil, capacity: ids.count * 128)
            for (place, id) in ids.enumerated() {
                builder.append(
                    Event(id: id, source: "/test", type: "t", data: .none),
                    outbox: rows.isEmpty ? 0 : rows[place])
            }
            let batch = builder.finish()
            _ =
                try await withCheckedThrowingContinuation { continuation in
                    engine.append(batch) { continuation.resume(with: $0) }
                } as ClosedRange<Offset>
        }

        func close() { engine.close() }
    }

    private func ids(_ stored: StoredBroker) async throws -> [String] {
        var ids: [String] = []
        var at: Offset = 0
        while case let records = try await stored.broker.tail("orders", from: at, max: 1_000, wait: .zero),
            let last = records.last
        {
            ids += records.map(\.id)
            at = last.offset + 1
        }
        return ids
    }

    @Test(.timeLimit(.minutes(2)))
    func aCrashBetweenAppendAndRemovalNeitherDoublesNorLosesAndReadsOnlyWhatCameAfter() async throws {
        let stored = StoredBroker()
        try await stored.start(Self.routes)
        let old = (0..<6_000).map { "old-\($0)" }
        try await stored.publish("orders", ["first"])
        await stored.stop()

        let parts = try Parts(stored)
        for from in stride(from: 0, to: old.count, by: 1_000) {
            try await parts.append(Array(old[from..<from + 1_000]))
        }
        let appended = try await parts.settle(["a", "b"])
        try await parts.append(["between"])
        try await parts.append(["a", "b"], rows: appended)
        let waiting = try await parts.settle(["c", "d"])
        try await parts.append(["after"])
        parts.close()

        let again = try Parts(stored)
        let report = try OutboxRecovery(again.journal, again.ledger).search()
        #expect(report.rows == 4)
        #expect(report.found == appended, "\(waiting) are not in the topic")
        #expect(report.recordsRead <= 5, "of 6,005 records, those since the first of the rows was made")
        again.close()

        try await stored.start(Self.routes)
        let expected = ["first"] + old + ["between", "a", "b", "after", "c", "d"]
        // Waits until the last is in.
        _ = try await stored.broker.tail("orders", from: Offset(expected.count - 1), max: 1, wait: .seconds(30))
        #expect(try await ids(stored) == expected)
        #expect(try stored.ledger.outbox(limit: 10).isEmpty)
        await stored.stop()
        try await stored.start(Self.routes)
        #expect(try await ids(stored) == expected)
        await stored.stop()
    }

    /// A power cut may bring back rows that were done with long ago: their removal isn't synced.
    @Test(.timeLimit(.minutes(2)))
    func rowsThatCameBackAreFoundWithoutReadingWhatCameSince() async throws {
        let stored = StoredBroker()
        try await stored.start(Self.routes)
        await stored.stop()
        let parts = try Parts(stored)
        let done = try await parts.settle(["a"])
        try await parts.append(["a"], rows: done)
        for _ in 0..<20 { try await parts.append((0..<1_000).map { "\($0)" }) }
        let waiting = try await parts.settle(["b"])
        try await parts.append(["after"])
        let report = try OutboxRecovery(parts.journal, parts.ledger).search()
        #expect(report.found == done)
        #expect(!report.found.contains(waiting[0]))
        #expect(report.recordsRead <= Limits.catchUpEvents + 1, "one read at each row's place, of 20,002 records")
        parts.close()
    }

    /// With `sync interval` a power cut may take a topic's last records, and then a row knows a place beyond the topic's end.
    @Test(.timeLimit(.minutes(2)))
    func aTopicThatLostItsTailDoesNotHideWhatIsAppendedThen() async throws {
        let stored = StoredBroker()
        try await stored.start(Self.routes)
        await stored.stop()
        var parts = try Parts(stored)
        try await parts.append((0..<10).map { "lost-\($0)" })
        let rows = try await parts.settle(["a"])
        parts.close()
        try FileManager.default.removeItem(atPath: stored.folder.path + "/journal")

        parts = try Parts(stored)
        try parts.journal.create(.named("orders"))
        #expect(try OutboxRecovery(parts.journal, parts.ledger).search().found.isEmpty)
        try await parts.append(["a"], rows: rows)
        // Longer than it was when the row was made, and stopped again before the row was removed.
        for _ in 0..<2 { try await parts.append((0..<10).map { "new-\($0)" }) }
        #expect(try OutboxRecovery(parts.journal, parts.ledger).search().found == rows)
        parts.close()
    }
}
