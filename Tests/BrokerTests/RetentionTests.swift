// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Journal
import Ledger
import Routes
import Simulation
import Testing

@testable import Broker

/// P2: every event until ack, dead, drop or the end of retention, and that end is never silent.
@Suite(.timeLimit(.minutes(2))) struct RetentionTests {
    private static let slow = """
        subscriber slow { from orders; where type = 'wanted'; pull { lease 30s } }
        """
    private static let paused = """
        subscriber slow { from orders; where type = 'wanted'; pull { lease 30s }; pause }
        """

    /// A hundred events, every second one wanted, none taken, and the broker started anew with `routes`, so that nothing
    /// is in memory.
    private func behind(_ topic: String, then routes: String) async throws -> StoredBroker {
        let stored = StoredBroker()
        try await stored.start("\(topic)\n\(Self.slow)")
        for number in 0..<100 {
            try await stored.publish(
                "orders", ["e\(number)"], type: number % 2 == 0 ? "wanted" : "other", dataBytes: 400)
        }
        await stored.stop()
        try await stored.start("\(topic)\n\(routes)")
        return stored
    }

    @Test func whoLosesEventsToRetentionIsToldOnceWhichAndHowMany() async throws {
        let stored = try await behind("topic orders { retain 1h }", then: Self.paused)
        stored.clock.advance(.seconds(7_200))
        try await stored.applyRetention()
        #expect(stored.first("orders") == 100)
        // One alert for each group of segments that goes.
        var alerts = try await stored.alerts(1)
        while alerts.compactMap(\.events).reduce(0, +) < 50 { alerts = try await stored.alerts(alerts.count + 1) }
        #expect(alerts.allSatisfy { $0.subscriber == "slow" && $0.topic == "orders" })
        #expect(alerts.compactMap(\.events).reduce(0, +) == 50)
        #expect(alerts.first?.first == 0)
        // Neither the next turn nor a restart tells it again, and what comes is delivered.
        let count = alerts.count
        try await stored.applyRetention()
        await stored.stop()
        try await stored.start("topic orders { retain 1h }\n\(Self.slow)")
        try await stored.publish("orders", ["new"], type: "wanted")
        #expect(try await stored.take("slow", 1) == ["new"])
        #expect(stored.journal.bounds(.named("$alert"))?.end == Offset(count))
        await stored.stop()
    }

    @Test func anEventThatWouldBeGoneBeforeItsTimeIsNotAccepted() async throws {
        let stored = StoredBroker()
        try await stored.start(
            """
            topic orders { retain 1h }
            topic held { retain 1h unless unsettled }
            topic large { retain 1GB }
            """)
        func publish(_ delays: [String?], to topic: String) async throws -> Int {
            var builder = RecordBatchBuilder(topic: .named(topic), key: nil, capacity: 512)
            for (place, delay) in delays.enumerated() {
                let attributes = delay.map { [Event.Attribute("deliverafter", .string($0))] } ?? []
                builder.append(Event(id: "\(place)", source: "/test", type: "t", attributes: attributes, data: .none))
            }
            return try await stored.broker.publish(builder.finish()).accepted
        }
        let inAnHour = RFC3339.format(stored.clock.now() + .seconds(3_600))
        let before = RFC3339.format(stored.clock.now() + .seconds(3_599))
        for tooLate in ["1h", "90m", inAnHour] {
            let failure = await #expect(throws: Failure.self) {
                try await publish([nil, "59m", tooLate], to: "orders")
            }
            #expect(failure?.code == .malformed && failure?.index == 2)
            #expect(
                failure?.message.contains("is \"\(tooLate)\", and topic \"orders\" drops its events after 1h") == true,
                "\(String(describing: failure))")
        }
        #expect(stored.journal.bounds(.named("orders"))?.end == 0, "all or nothing")
        #expect(try await publish([nil, "59m", before], to: "orders") == 3)
        #expect(try await publish(["90m"], to: "held") == 1, "it stays until it is delivered")
        #expect(try await publish(["90m"], to: "large") == 1)
        await stored.stop()
    }

    @Test func whoSettledEverythingIsNotTold() async throws {
        let stored = try await behind("topic orders { retain 1h }", then: Self.slow)
        #expect(try await stored.take("slow", 50).count == 50)
        stored.clock.advance(.seconds(7_200))
        try await stored.applyRetention()
        #expect(stored.first("orders") == 100)
        await stored.stop()
        try await stored.start("topic orders { retain 1h }\n\(Self.slow)")
        #expect(stored.journal.bounds(.named("$alert"))?.end == 0)
        await stored.stop()
    }

    @Test func unlessUnsettledKeepsWhatASubscriberHasNotSettled() async throws {
        let topic = "topic orders { retain 1h unless unsettled }"
        let stored = try await behind(topic, then: Self.paused)
        stored.clock.advance(.seconds(7_200))
        try await stored.applyRetention()
        #expect(stored.first("orders") == 0)
        // Not in routes.conf any more: it still holds them.
        try await stored.reload(topic)
        try await stored.applyRetention()
        #expect(stored.first("orders") == 0)
        // It comes back, takes a part and then all.
        try await stored.reload("\(topic)\n\(Self.slow)")
        #expect(try await stored.take("slow", 25).count == 25)
        try await stored.applyRetention()
        #expect(stored.first("orders") > 0)
        #expect(stored.first("orders") <= 50)
        #expect(try await stored.take("slow", 25).last == "e98")
        try await stored.applyRetention()
        #expect(stored.first("orders") == 100)
        #expect(stored.journal.bounds(.named("$alert"))?.end == 0)
        await stored.stop()
    }

    @Test func unlessUnsettledKeepsWhatWaitsForItsRetry() async throws {
        let topic = "topic orders { retain 1h unless unsettled }"
        let stored = try await behind(topic, then: Self.slow)
        let lease = try #require(try await stored.broker.pull("slow", max: 1, wait: .seconds(20)).first)
        _ = try await stored.broker.settle(
            "slow", [LeaseSettlement(lease: lease.id, action: .retry(after: .seconds(10 * 3_600), reason: "later"))])
        #expect(try await stored.take("slow", 49).count == 49)
        stored.clock.advance(.seconds(7_200))
        try await stored.applyRetention()
        #expect(stored.first("orders") == 0)
        // The same where nobody runs it.
        try await stored.reload(topic)
        try await stored.applyRetention()
        #expect(stored.first("orders") == 0)
        try stored.ledger.forget("slow")
        try await stored.applyRetention()
        #expect(stored.first("orders") == 100)
        await stored.stop()
    }

    @Test func aRetryWhoseRecordIsGoneIsReported() async throws {
        let stored = try await behind("topic orders { retain 1h }", then: Self.slow)
        let lease = try #require(try await stored.broker.pull("slow", max: 1, wait: .seconds(20)).first)
        _ = try await stored.broker.settle(
            "slow", [LeaseSettlement(lease: lease.id, action: .retry(after: .seconds(10 * 3_600), reason: "later"))])
        #expect(try await stored.take("slow", 49).count == 49)
        stored.clock.advance(.seconds(7_200))
        try await stored.applyRetention()
        let alerts = try await stored.alerts(1)
        #expect(alerts.map(\.events) == [1])
        #expect(alerts[0].first == 0 && alerts[0].last == 0)
        #expect(alerts[0].reason.contains("waited for their next attempt"))
        #expect(try stored.ledger.load("slow").deferred.isEmpty)
        await stored.stop()
    }

    @Test func recordsThatAreGoneAtAStartAreReported() async throws {
        let stored = try await behind("topic orders { retain 1h }", then: Self.paused)
        await stored.stop()
        let files = stored.folder.appendingPathComponent("journal/orders")
        for name in try FileManager.default.contentsOfDirectory(atPath: files.path).sorted().prefix(2) {
            try FileManager.default.removeItem(at: files.appendingPathComponent(name))
        }
        try await stored.start("topic orders { retain 1h }\n\(Self.paused)")
        let alert = try #require(try await stored.alerts(1).first)
        #expect(alert.first == 0)
        #expect(alert.last == stored.first("orders") - 1)
        #expect(alert.events == nil)
        await stored.stop()
    }

    @Test func aTopicWhoseFilesWereRemovedIsDeliveredFromItsNewStart() async throws {
        let stored = try await behind("topic orders { retain 1h }", then: Self.slow)
        #expect(try await stored.take("slow", 50).count == 50)
        await stored.stop()
        try FileManager.default.removeItem(at: stored.folder.appendingPathComponent("journal/orders"))
        try await stored.start("topic orders { retain 1h }\n\(Self.slow)")
        try await stored.publish("orders", ["new"], type: "wanted")
        #expect(try await stored.take("slow", 1) == ["new"])
        await stored.stop()
    }

    @Test func unlessUnsettledKeepsWhatAReplayNeeds() async throws {
        let topic = "topic orders { retain 1h unless unsettled }"
        let stored = try await behind(topic, then: Self.slow)
        #expect(try await stored.take("slow", 50).count == 50)
        _ = try await stored.broker.replay("slow", ReplayRequest(from: .earliest))
        let lease = try #require(try await stored.broker.pull("slow", max: 1, wait: .seconds(20)).first)
        #expect(lease.delivery.replay)
        let trace = try await stored.broker.trace("slow", lease.delivery.id)
        #expect(trace?.state == .underway, "what a replay has in flight is told")
        stored.clock.advance(.seconds(7_200))
        try await stored.applyRetention()
        #expect(stored.first("orders") == 0)
        // The same where nobody runs it.
        try await stored.reload(topic)
        try await stored.applyRetention()
        #expect(stored.first("orders") == 0)
        try await stored.reload("\(topic)\n\(Self.slow)")
        #expect(try await stored.take("slow", 50).count == 50)
        try await stored.applyRetention()
        #expect(stored.first("orders") == 100)
        #expect(stored.journal.bounds(.named("$alert"))?.end == 0)
        await stored.stop()
    }

    @Test func whatAReplayLosesToRetentionIsTold() async throws {
        let topic = "topic orders { retain 1h }"
        let stored = try await behind(topic, then: Self.slow)
        #expect(try await stored.take("slow", 50).count == 50)
        await stored.stop()
        // Paused from here on, so that nothing is in memory.
        try await stored.start("\(topic)\n\(Self.paused)")
        var request = ReplayRequest(from: .earliest)
        request.filter = "id = 'e2' or id = 'e3' or id = 'e4'"
        let begun = try await stored.broker.replay("slow", request)
        stored.clock.advance(.seconds(7_200))
        try await stored.applyRetention()
        #expect(stored.first("orders") == 100)
        let alerts = try await stored.alerts(1)
        #expect(alerts.map(\.events) == [2], "by both filters")
        #expect(alerts[0].first == 0 && alerts[0].subscriber == "slow")
        try await stored.reload("\(topic)\n\(Self.slow)")
        var state = LedgerLane.State.running
        while state == .running {
            state = try await stored.broker.history(of: "slow", begun.lane.id).lane.state
        }
        #expect(state == .finished)
        await stored.stop()
    }

    @Test func aParkedDeliveryThatIsLostLeavesItsKeyToThoseThatHoldIt() throws {
        var settings = SubscriberState.Settings()
        settings.ordered = true
        var state = SubscriberState(settings: settings)
        let topic = Topic.named("in")
        let end = TopicEnd(topic: topic, offset: 0)
        state.open(Feed(end: end, position: 0))
        func id(_ offset: Offset) -> DeliveryID { DeliveryID(topic: topic, offset: offset) }
        let now = Timestamp(milliseconds: 1_000)
        state.restore(
            rows: [
                (id(0), SubscriberState.Deferred(attempts: 1, due: now + .seconds(60), key: "a")),
                (id(1), SubscriberState.Deferred(attempts: 0, due: nil, key: "a")),
                (id(2), SubscriberState.Deferred(attempts: 0, due: nil, key: "a")),
            ], deadKeys: [], now: now)
        var round = LedgerRound()
        state.lost(id(1), now: now, into: &round)
        // The third waits for the first as before.
        #expect(state.takeDue(now: now, max: 9).isEmpty)
        state.lost(id(0), now: now, into: &round)
        #expect(state.takeDue(now: now, max: 9).map(\.id) == [id(2)])
        #expect(round.finished == [id(1), id(0)])
    }
}
