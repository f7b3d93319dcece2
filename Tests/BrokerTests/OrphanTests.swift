// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Journal
import Ledger
import Routes
import Simulation
import Testing

@testable import Broker

/// What a subscriber leaves behind whose block was removed.
@Suite(.timeLimit(.minutes(2))) struct OrphanTests {
    private static let topic = "topic orders { retain 400d }\nsubscriber other { from orders; pull }"
    private static let both = topic + "\nsubscriber late { from orders; pull { lease 30s } }"
    private let week = Duration.seconds(7 * 86_400)

    private struct Report: Decodable, Equatable {
        var subscriber: String
        var removed: String
        var deferred: Int
        var dead: Int
        var history: Int
    }

    private func settle(_ stored: StoredBroker, _ lease: Lease, _ action: LeaseSettlement.Action) async throws {
        let results = try await stored.broker.settle("late", [LeaseSettlement(lease: lease.id, action: action)])
        #expect(results == [.done])
    }

    /// `late` has a replay of ten events under way: three are acknowledged, one waits for a retry, one is dead.
    private func replaying() async throws -> (stored: StoredBroker, lane: Int64) {
        let stored = StoredBroker()
        try await stored.start(Self.both)
        try await stored.publish("orders", (0..<10).map { "e\($0)" })
        #expect(try await stored.take("late", 10).count == 10)
        let replay = try await stored.broker.replay("late", ReplayRequest(from: .earliest))
        let leases = try await stored.broker.pull("late", max: 5, wait: .seconds(20))
        try #require(leases.map(\.delivery.record.id) == (0..<5).map { "e\($0)" })
        for lease in leases.prefix(3) { try await settle(stored, lease, .ack) }
        try await settle(stored, leases[3], .retry(after: .seconds(3_600), reason: "later"))
        try await settle(stored, leases[4], .dead(reason: "never"))
        return (stored, replay.lane.id)
    }

    @Test(arguments: [false, true])
    func aReplayThatIsNotDoneStaysAndGoesOnWhenTheBlockComesBack(isRestarted: Bool) async throws {
        let (stored, lane) = try await replaying()
        try await stored.reload(Self.topic)
        if isRestarted {
            await stored.stop()
            try await stored.start(Self.topic)
        }
        let orphan = try #require(try await stored.broker.orphans().first)
        #expect(orphan.name == "late")
        #expect(orphan.history == 1 && orphan.deferred == 1 && orphan.dead == 1, "\(orphan)")
        if isRestarted {
            await stored.stop()
            try await stored.start(Self.both)
        } else {
            try await stored.reload(Self.both)
        }
        #expect(try await stored.take("late", 5) == (5..<10).map { "e\($0)" })
        var run = try await stored.broker.history(of: "late", lane)
        #expect(run.lane.state == .running && run.waiting == 1, "\(run)")
        stored.clock.advance(.seconds(3_601))
        #expect(try await stored.take("late", 1) == ["e3"])
        while run.lane.state == .running {
            try await Task.sleep(for: .milliseconds(10))
            run = try await stored.broker.history(of: "late", lane)
        }
        #expect(run.lane.state == .finished && run.lane.done == 10, "\(run)")
        #expect(try await stored.broker.orphans().isEmpty)
        await stored.stop()
    }

    @Test func whatIsForgottenTakesItsRunsAlongAndLeavesTheirNumbers() async throws {
        let (stored, lane) = try await replaying()
        let begun = try await stored.broker.beginImport("late", topic: "orders", file: "digest", expected: 1)
        #expect(stored.journal.topics().contains { $0.isImport })
        try await stored.reload(Self.topic)
        try await stored.broker.forget("late")
        #expect(try stored.ledger.lanes(of: nil, limit: 10).isEmpty)
        #expect(try stored.ledger.lowestDeferred(in: "orders") == nil)
        #expect(!stored.journal.topics().contains { $0.isImport }, "the events of its import are gone as well")
        await stored.stop()
        try await stored.start(Self.both)
        #expect(try await stored.broker.histories(of: "late").isEmpty)
        let again = try await stored.broker.replay("late", ReplayRequest(from: .earliest))
        #expect(again.lane.id > begun.lane.id && begun.lane.id > lane)
        await stored.stop()
    }

    @Test func aWeekAfterItsRemovalAnOrphanIsGoneAndThatIsReportedOnce() async throws {
        let (stored, _) = try await replaying()
        let removed = stored.clock.now()
        try await stored.reload(Self.topic)
        stored.clock.advance(week - .seconds(1))
        await stored.broker.clearOld()
        #expect(try await stored.broker.orphans().map(\.name) == ["late"])
        stored.clock.advance(.seconds(1))
        await stored.broker.clearOld()
        #expect(try await stored.broker.orphans().isEmpty)
        #expect(try stored.ledger.subscribers() == ["other"])
        let alert = try #require(try await stored.broker.tail("$alert", from: 0, max: 10, wait: .seconds(30)).first)
        #expect(alert.type == "fairlead.subscriber.forgotten")
        #expect(
            try JSONDecoder().decode(Report.self, from: Data(alert.data))
                == Report(subscriber: "late", removed: RFC3339.format(removed), deferred: 1, dead: 1, history: 1))

        // Neither the next turn nor a restart tells it again, and one of its name is a new one.
        await stored.broker.clearOld()
        await stored.stop()
        try await stored.start(Self.both)
        try await stored.publish("orders", ["new"])
        #expect(try await stored.take("late", 1) == ["new"])
        #expect(stored.journal.bounds(.named("$alert"))?.end == 1)
        await stored.stop()
    }

    @Test func oneThatCameBackWithinTheWeekIsNotForgotten() async throws {
        let (stored, _) = try await replaying()
        try await stored.reload(Self.topic)
        stored.clock.advance(week - .seconds(1))
        try await stored.reload(Self.both)
        stored.clock.advance(week)
        await stored.broker.clearOld()
        #expect(try await stored.take("late", 6).sorted() == ["e3"] + (5..<10).map { "e\($0)" })
        await stored.stop()
    }
}
