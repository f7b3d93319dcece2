// SPDX-License-Identifier: Apache-2.0

import Events
import Ledger
import Testing

@testable import Broker

/// An import to an ordered subscriber, beside what is live.
struct ImportOrderTests {
    private static let routes = """
        topic orders { retain 1d; key data.k }
        subscriber s { from orders; pull { lease 30s }; ordered }
        """

    private func batch(_ target: PublishTarget, _ ids: [String]) -> RecordBatch {
        var builder = RecordBatchBuilder(topic: target.topic, key: target.key, capacity: 1_024)
        for id in ids {
            // `a1` is of key `a`.
            builder.append(
                Event(id: id, source: "/test", type: "t", data: .json(Array("{\"k\":\"\(id.prefix(1))\"}".utf8))))
        }
        return builder.finish()
    }

    private func publish(_ broker: Broker, _ ids: String...) async throws {
        let target = try #require(broker.publishing(to: "orders"))
        _ = try await broker.publish(batch(target, ids))
    }

    /// Leases by the id of their event.
    private func pull(_ broker: Broker, _ count: Int) async throws -> [String: Lease] {
        var found: [String: Lease] = [:]
        while found.count < count {
            let leases = try await broker.pull("s", max: 10, wait: .seconds(30))
            guard !leases.isEmpty else { break }
            for lease in leases { found[lease.delivery.record.id] = lease }
        }
        return found
    }

    private func acknowledge(_ broker: Broker, _ leases: [String: Lease], _ ids: String...) async throws {
        let requests = try ids.map { LeaseSettlement(lease: try #require(leases[$0]).id, action: .ack) }
        #expect(try await broker.settle("s", requests) == requests.map { _ in .done })
    }

    private func sendImport(_ broker: Broker, isFirst: Bool = false, _ ids: String...) async throws -> Int64 {
        let begun = try await broker.beginImport(
            "s", topic: "orders", file: "f", expected: ids.count, isFirst: isFirst)
        let target = try await broker.importTarget("s", begun.lane.id)
        let sent = try await broker.importEvents("s", begun.lane.id, at: 0, batch(target, ids))
        #expect(sent == ids.count)
        return begun.lane.id
    }

    @Test(.timeLimit(.minutes(2)))
    func aKeyIsNeverUnderWayInTwoLanesAndEachLaneKeepsItsOrder() async throws {
        let stored = StoredBroker()
        try await stored.start(Self.routes)
        let broker = stored.broker!
        try await publish(broker, "a1")
        var leases = try await pull(broker, 1)
        #expect(leases.keys.sorted() == ["a1"])

        // Of the import, `a` waits for the live one; what comes behind it in the lane doesn't.
        let id = try await sendImport(broker, "a-old1", "a-old2", "b-old1")
        leases.merge(try await pull(broker, 1)) { $1 }
        #expect(leases.keys.sorted() == ["a1", "b-old1"])

        // What is live waits for the import's, too, and that alone.
        try await publish(broker, "b1", "c1")
        leases.merge(try await pull(broker, 1)) { $1 }
        #expect(leases.keys.sorted() == ["a1", "b-old1", "c1"])

        try await acknowledge(broker, leases, "a1", "b-old1", "c1")
        leases = try await pull(broker, 2)
        #expect(leases.keys.sorted() == ["a-old1", "b1"])
        try await publish(broker, "a2")
        try await acknowledge(broker, leases, "b1", "a-old1")
        // Both lanes have one of `a`, and one of them may go: the live one.
        leases = try await pull(broker, 1)
        #expect(leases.keys.sorted() == ["a2"])
        try await acknowledge(broker, leases, "a2")
        leases = try await pull(broker, 1)
        #expect(leases.keys.sorted() == ["a-old2"])
        try await acknowledge(broker, leases, "a-old2")
        let done = try await broker.completeImport("s", id, events: 3)
        #expect(done.lane.details.isComplete)
        await stored.stop()
    }

    @Test(.timeLimit(.minutes(2)))
    func whatIsLiveWaitsForAnImportThatGoesFirstAndComesWhenItIsCancelled() async throws {
        let stored = StoredBroker()
        try await stored.start(Self.routes)
        let broker = stored.broker!
        let id = try await sendImport(broker, isFirst: true, "a-old1", "b-old1")
        try await publish(broker, "a1", "c1")
        let leases = try await pull(broker, 2)
        #expect(leases.keys.sorted() == ["a-old1", "b-old1"])
        #expect(leases.values.allSatisfy { $0.delivery.replay })
        try await acknowledge(broker, leases, "a-old1", "b-old1")
        // Over a restart, too.
        await stored.stop()
        try await stored.start(Self.routes)
        let again = stored.broker!
        #expect(try await again.pull("s", max: 10, wait: .zero).isEmpty)
        _ = try await again.cancelHistory(of: "s", id)
        let live = try await pull(again, 2)
        #expect(live.keys.sorted() == ["a1", "c1"])
        await stored.stop()
    }

    @Test(.timeLimit(.minutes(2)))
    func whatIsLiveComesOnceAnImportThatGoesFirstIsDone() async throws {
        let stored = StoredBroker()
        try await stored.start(Self.routes)
        let broker = stored.broker!
        let id = try await sendImport(broker, isFirst: true, "a-old1")
        try await publish(broker, "a1")
        let leases = try await pull(broker, 1)
        #expect(leases.keys.sorted() == ["a-old1"])
        _ = try await broker.completeImport("s", id, events: 1)
        let waiting = Task { try await self.pull(broker, 1) }
        try await acknowledge(broker, leases, "a-old1")
        #expect(try await waiting.value.keys.sorted() == ["a1"])
        await stored.stop()
    }
}
