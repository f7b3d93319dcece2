// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Ledger
import Routes
import Synchronization
import Simulation
import Testing

@testable import Broker

/// Reloads that break a subscriber, on a real journal and a real ledger.
@Suite(.timeLimit(.minutes(2)))
struct BadReloadTests {
    private static func routes(_ more: String = "", backoff: String = "1s") -> String {
        """
        topic orders { retain 30d }
        subscriber slack {
          from orders
          run slack
          start earliest
          retry { attempts 2; backoff \(backoff) }
          \(more)
        }
        """
    }

    /// A plugin that answers each delivery as it was told to.
    private final class Script: Destination {
        private let answer: @Sendable (Delivery) -> Outcome
        private let sink = Mutex<(@Sendable (Settlements) -> Void)?>(nil)
        private let seen = Mutex<[Delivery]>([])

        init(_ answer: @escaping @Sendable (Delivery) -> Outcome) {
            self.answer = answer
        }

        static func failing(_ reason: String = "boom") -> Script {
            Script { _ in .retry(after: nil, reason: reason) }
        }

        static var good: Script { Script { _ in .ack } }

        var deliveries: [Delivery] { seen.withLock { $0 } }

        func start(settle: @escaping @Sendable (Settlements) -> Void) { sink.withLock { $0 = settle } }

        func deliver(_ deliveries: [Delivery]) {
            seen.withLock { $0 += deliveries }
            var settlements = Settlements()
            for delivery in deliveries {
                let outcome = answer(delivery)
                if outcome == .ack {
                    settlements.acks.append(delivery.id)
                } else {
                    settlements.others.append(Settlement(delivery.id, outcome, trace: "slack.lua:3"))
                }
            }
            sink.withLock { $0 }?(settlements)
        }

        func stop(_ reason: StopReason, deadline: Duration) async {}
    }

    private func status(_ stored: StoredBroker) async throws -> SubscriberStatus {
        try #require(await stored.broker.status().subscribers.first)
    }

    private func report(_ stored: StoredBroker) async throws -> ProbationReport {
        var reports = stored.broker.probationReports.makeAsyncIterator()
        return try #require(await reports.next())
    }

    private func alerts(_ stored: StoredBroker, _ count: Int) async throws -> [[String: String]] {
        var records: [Record] = []
        while records.count < count {
            let more = try await stored.broker.tail("$alert", from: Offset(records.count), max: 10, wait: .seconds(30))
            try #require(!more.isEmpty)
            records += more
        }
        return try records.map { record in
            let object = try JSONSerialization.jsonObject(with: Data(record.data)) as? [String: Any] ?? [:]
            return object.mapValues { "\($0)" }
        }
    }

    /// A good version that has settled an event, and then a bad one.
    private func started(
        _ routes: String = BadReloadTests.routes(), _ first: Script = .good, then second: Script = .failing(),
        _ action: BadReloadAction = .rollback
    ) async throws -> StoredBroker {
        let stored = StoredBroker()
        stored.adjust = { $0.destinations["slack"] = first }
        try await stored.start(routes)
        try await stored.publish("orders", ["before"])
        try await eventually("the first is delivered") { try await status(stored).acked + status(stored).retried > 0 }
        try await reload(stored, second, action, routes: routes)
        return stored
    }

    /// As if the plugin's file had changed.
    private func reload(
        _ stored: StoredBroker, _ script: Script, _ action: BadReloadAction? = .rollback,
        routes: String = BadReloadTests.routes(), bad: BadReload? = nil
    ) async throws {
        stored.adjust = { generation in
            generation.destinations["slack"] = script
            generation.fingerprints["slack"] = "plugin of \(generation.number)"
            generation.probations["slack"] = action
            generation.badReloads["slack"] = bad
        }
        try await stored.reload(routes)
    }

    @Test func whatFailsAtOnceStopsGoesBackAndNoAttemptIsCharged() async throws {
        let bad = Script.failing()
        let stored = try await started(then: bad)
        try await stored.publish("orders", (1...50).map { "e\($0)" })
        let report = try await report(stored)
        #expect(report.subscriber == "slack" && report.generation == 2)
        var undone = try #require(report.badReload)
        #expect(undone.end == .undone && undone.error == "boom" && undone.trace == "slack.lua:3")
        #expect(undone.failures >= 3)
        #expect(try await status(stored).state == "undoing")
        #expect(bad.deliveries.count <= Limits.probationInFlight, "few are put at risk")
        #expect(try stored.ledger.load("slack").deferred.isEmpty)

        undone.previous = 1
        let good = Script.good
        try await reload(stored, good, nil, bad: undone)
        try await eventually("all are settled") { try await status(stored).acked == 51 }
        #expect(good.deliveries.map(\.attempt) == Array(repeating: 1, count: 50))
        #expect(good.deliveries.map(\.record.offset) == (1...50).map(Offset.init), "in order, as if nothing had been")
        let slack = try await status(stored)
        #expect(slack.state == "live" && slack.dead == 0 && slack.backlog == 0)
        #expect(slack.badReload == undone)
        let alert = try #require(try await alerts(stored, 1).first)
        #expect(alert["subscriber"] == "slack" && alert["end"] == "undone" && alert["previous"] == "1")
        #expect(alert["error"] == "boom" && alert["trace"] == "slack.lua:3")
        // The next change takes the note away.
        try await reload(stored, Script.good)
        #expect(try await status(stored).badReload == nil)
        await stored.stop()
    }

    /// What the old instance has in flight when it is replaced ends late.
    @Test func whatWasInFlightWhenItWentBackIsNotChargedEither() async throws {
        final class Late: Destination {
            let taken = Mutex<[DeliveryID]>([])
            let sink = Mutex<(@Sendable (Settlements) -> Void)?>(nil)
            func start(settle: @escaping @Sendable (Settlements) -> Void) { sink.withLock { $0 = settle } }
            func deliver(_ deliveries: [Delivery]) { taken.withLock { $0 += deliveries.map(\.id) } }
            func stop(_ reason: StopReason, deadline: Duration) async {}
            func fail(_ ids: some Sequence<DeliveryID>) {
                let settle = sink.withLock { $0 }
                settle?(Settlements(others: ids.map { Settlement($0, .retry(after: nil, reason: "boom")) }))
            }
        }
        let stored = try await started()
        let late = Late()
        stored.adjust = { generation in
            generation.destinations["slack"] = late
            generation.fingerprints["slack"] = "late"
            generation.probations["slack"] = .rollback
        }
        try await stored.reload(Self.routes())
        try await stored.publish("orders", (1...8).map { "e\($0)" })
        try await eventually("all are in flight") { late.taken.withLock { $0.count } == 8 }
        late.fail(late.taken.withLock { $0.prefix(3) })
        let undone = try #require(try await report(stored).badReload)
        let good = Script.good
        try await reload(stored, good, nil, bad: undone)
        try await eventually("three are settled") { try await status(stored).acked == 4 }
        late.fail(late.taken.withLock { $0.dropFirst(3) })
        try await eventually("the others, too") { try await status(stored).acked == 9 }
        #expect(good.deliveries.map(\.attempt) == Array(repeating: 1, count: 8))
        await stored.stop()
    }

    @Test func whereItFailedBeforeItIsChargedAndNothingIsUndone() async throws {
        let stored = try await started(then: .failing("still"))
        // Now it is the failing one that is changed.
        let bad = Script.failing("again")
        _ = try await broken(stored)
        try await reload(stored, Script.failing("first"), nil)
        try await stored.publish("orders", (1...5).map { "f\($0)" })
        try await eventually("it fails") { try await status(stored).retried >= 5 }
        try await reload(stored, bad)
        #expect(await stored.broker.probations().isEmpty)
        try await stored.publish("orders", (1...5).map { "e\($0)" })
        try await eventually("it fails, too") { bad.deliveries.count >= 5 }
        try await eventually("attempts are charged") { try stored.ledger.load("slack").deferred.count >= 5 }
        #expect(try await status(stored).state == "live")
        await stored.stop()
    }

    /// Brings a version that has failed to its report.
    private func broken(_ stored: StoredBroker) async throws -> BadReload {
        try await stored.publish("orders", (1...3).map { "b\($0)" })
        return try #require(try await report(stored).badReload)
    }

    @Test func retriesThatFailedBeforeSayNothingOfTheChange() async throws {
        // Half a dozen fail, among many that don't: the old version is in order.
        let picky = Script { $0.record.id.hasPrefix("bad") ? .retry(after: nil, reason: "no") : .ack }
        let stored = try await started(Self.routes(backoff: "1h"), picky, then: picky)
        try await reload(stored, picky, nil, routes: Self.routes(backoff: "1h"))
        try await stored.publish("orders", (1...6).map { "bad\($0)" } + (1...20).map { "e\($0)" })
        try await eventually("they are tried") { try await status(stored).acked == 21 }
        let next = Script { $0.record.id.hasPrefix("bad") ? .retry(after: nil, reason: "no") : .ack }
        try await reload(stored, next, routes: Self.routes(backoff: "1h"))
        #expect(await stored.broker.probations()["slack"] != nil)
        // Jitter makes an hour longer by a fifth at most.
        stored.clock.advance(.seconds(2 * 3_600))
        try await eventually("the second attempts fail, which are the last") {
            try await status(stored).dead == 6
        }
        #expect(await stored.broker.probations()["slack"]?.failures == 0)
        await stored.stop()
    }

    @Test func withPauseItStandsStillOverARestartUntilItIsResumedOrChanged() async throws {
        let stored = try await started(Self.routes("on bad_reload pause"), .good, then: .failing(), .pause)
        try await stored.publish("orders", (1...10).map { "e\($0)" })
        let paused = try #require(try await report(stored).badReload)
        #expect(paused.end == .paused)
        try await eventually("it is paused") { try await status(stored).state == "paused" }
        #expect(try await status(stored).pause?.cause == "bad_reload")
        #expect(try await alerts(stored, 1).first?["end"] == "paused")
        await stored.stop()

        // The same files: it stays paused.
        let good = Script.good
        stored.adjust = { generation in
            generation.destinations["slack"] = good
            generation.badReloads["slack"] = paused
        }
        try await stored.start(Self.routes("on bad_reload pause"))
        #expect(try await status(stored).pause?.cause == "bad_reload")
        #expect(try await status(stored).badReload == paused)
        try await stored.broker.resume("slack")
        try await eventually("it goes on") { try await status(stored).backlog == 0 }
        #expect(good.deliveries.map(\.attempt) == Array(repeating: 1, count: 10))
        await stored.stop()
    }

    @Test func aReloadThatChangesItEndsThePause() async throws {
        let stored = try await started(Self.routes("on bad_reload pause"), .good, then: .failing(), .pause)
        _ = try await broken(stored)
        try await eventually("it is paused") { try await status(stored).state == "paused" }
        let good = Script.good
        try await reload(stored, good, .pause, routes: Self.routes("on bad_reload pause"))
        try await eventually("mended, it goes on") { try await status(stored).backlog == 0 }
        #expect(good.deliveries.map(\.attempt) == [1, 1, 1])
        #expect(try stored.ledger.load("slack").pause == nil)
        await stored.stop()
    }

    @Test func withKeepItIsReportedAndAttemptsAreCharged() async throws {
        let bad = Script.failing()
        let stored = try await started(Self.routes("on bad_reload keep", backoff: "1h"), .good, then: bad, .keep)
        let kept = try await broken(stored)
        #expect(kept.end == .kept)
        #expect(try await alerts(stored, 1).first?["end"] == "kept")
        try await eventually("attempts are charged") {
            try stored.ledger.load("slack").deferred.map(\.attempts) == [1, 1, 1]
        }
        #expect(try await status(stored).state == "live")
        await stored.stop()
    }

    @Test func whatSucceedsIsOffProbationAndLaterFailuresAreCharged() async throws {
        let isBroken = Atomic(false)
        let second = Script { _ in isBroken.load(ordering: .relaxed) ? .retry(after: nil, reason: "late") : .ack }
        let stored = try await started(Self.routes(backoff: "1h"), .good, then: second)
        try await stored.publish("orders", (1...30).map { "e\($0)" })
        #expect(try await report(stored).badReload == nil)
        #expect(await stored.broker.probations().isEmpty)
        isBroken.store(true, ordering: .relaxed)
        try await stored.publish("orders", (1...5).map { "f\($0)" })
        try await eventually("they wait for their second attempt") {
            try stored.ledger.load("slack").deferred.map(\.attempts) == Array(repeating: 1, count: 5)
        }
        await stored.stop()
    }

    /// Without the swap back: what was tried before the crash counts for nothing after it.
    @Test func aCrashInTheMiddleOfAProbationChargesNothing() async throws {
        let stored = try await started(Self.routes(backoff: "1h"))
        try await stored.publish("orders", ["e1", "e2"])
        try await eventually("both have failed") {
            await stored.broker.probations()["slack"]?.failures == 2
        }
        await stored.stop()
        let good = Script.good
        stored.adjust = { $0.destinations["slack"] = good }
        try await stored.start(Self.routes(backoff: "1h"))
        try await eventually("both are settled") { try await status(stored).acked == 2 }
        #expect(good.deliveries.map(\.attempt) == [1, 1])
        await stored.stop()
    }
}
