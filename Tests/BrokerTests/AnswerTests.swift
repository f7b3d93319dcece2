// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Ledger
import Routes
import Testing

/// Whoever is told that something is done finds it done after a crash. The ledger writes nothing here but for those who
/// wait for it, so that an answer given too early is found out each time.
@Suite(.timeLimit(.minutes(2))) struct AnswerTests {
    private static let routes = """
        topic orders { retain 400d }
        subscriber late { from orders; pull { lease 30s } }
        """

    /// Five events, acknowledged but for `dead`, and nothing under way.
    private func prepared(dead: Int = 0) async throws -> StoredBroker {
        let stored = StoredBroker()
        try await stored.start(Self.routes)
        try await stored.publish("orders", (0..<5).map { "e\($0)" })
        for _ in 0..<dead {
            let lease = try #require(try await stored.broker.pull("late", max: 1, wait: .seconds(20)).first)
            _ = try await stored.broker.settle(
                "late", [LeaseSettlement(lease: lease.id, action: .dead(reason: "never"))])
        }
        #expect(try await stored.take("late", 5 - dead).count == 5 - dead)
        await stored.stop()
        try await stored.start(Self.routes, writing: .manual)
        return stored
    }

    /// As it is after a crash at this moment and a start.
    private func afterACrash(_ stored: StoredBroker, _ check: (Broker) async throws -> Void) async throws {
        let before = stored.broker
        try stored.crash()
        try await stored.start(Self.routes)
        try await check(stored.broker)
        await stored.stop()
        await before?.stop(deadline: .zero)
    }

    @Test func aReplayThatWasAnsweredIsThereAfterACrash() async throws {
        let stored = try await prepared()
        let replay = try await stored.broker.replay("late", ReplayRequest(from: .earliest))
        try await afterACrash(stored) { (broker: Broker) async throws -> Void in
            let found = try await broker.history(of: "late", replay.lane.id)
            #expect(found.lane.state == .running && found.lane.details == replay.lane.details)
        }
    }

    @Test func aCancellationThatWasAnsweredHoldsAfterACrash() async throws {
        let stored = try await prepared()
        let replay = try await stored.broker.replay("late", ReplayRequest(from: .earliest))
        _ = try await stored.broker.cancelHistory(of: "late", replay.lane.id)
        try await afterACrash(stored) { (broker: Broker) async throws -> Void in
            #expect(try await broker.history(of: "late", replay.lane.id).lane.state == .cancelled)
        }
    }

    @Test func anImportThatWasBegunGoesOnAfterACrash() async throws {
        let stored = try await prepared()
        let begun = try await stored.broker.beginImport("late", topic: "orders", file: "digest", expected: 3)
        try await afterACrash(stored) { (broker: Broker) async throws -> Void in
            let again = try await broker.beginImport("late", topic: "orders", file: "digest", expected: 3)
            #expect(again.lane.id == begun.lane.id)
        }
    }

    @Test func anImportThatWasCompletedIsCompleteAfterACrash() async throws {
        let stored = try await prepared()
        let begun = try await stored.broker.beginImport("late", topic: "orders", file: "digest", expected: 1)
        let target = try await stored.broker.importTarget("late", begun.lane.id)
        var builder = RecordBatchBuilder(topic: target.topic, key: target.key, capacity: 256)
        builder.append(Event(id: "i", source: "/import", type: "t"))
        #expect(try await stored.broker.importEvents("late", begun.lane.id, at: 0, builder.finish()) == 1)
        _ = try await stored.broker.completeImport("late", begun.lane.id, events: 1)
        try await afterACrash(stored) { (broker: Broker) async throws -> Void in
            #expect(try await broker.history(of: "late", begun.lane.id).lane.details.isComplete)
        }
    }

    @Test func deadLettersThatWereDiscardedStayDiscardedAfterACrash() async throws {
        let stored = try await prepared(dead: 2)
        let letters = try await stored.broker.deadLetters(DeadLetterFilter(), before: nil, limit: 10).map(\.id)
        try #require(letters.count == 2)
        #expect(try await stored.broker.discard([letters[0]], reason: "not worth it") == 1)
        #expect(try await stored.broker.discard(DeadLetterFilter(), reason: "nor this") == 1)
        try await afterACrash(stored) { (broker: Broker) async throws -> Void in
            #expect(try await broker.deadLetters(DeadLetterFilter(), before: nil, limit: 10).isEmpty)
        }
    }

    @Test func aDeadLetterThatWasMendedStaysSoAfterACrash() async throws {
        let stored = try await prepared(dead: 1)
        let letter = try #require(try await stored.broker.deadLetters(DeadLetterFilter(), before: nil, limit: 1).first)
        var event = letter.original
        event.type = "mended"
        #expect(try await stored.broker.mend(letter.id, with: event).mended?.type == "mended")
        try await afterACrash(stored) { (broker: Broker) async throws -> Void in
            #expect(try await broker.deadLetter(letter.id)?.mended?.type == "mended")
        }
    }
}
