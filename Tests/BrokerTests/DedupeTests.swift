// SPDX-License-Identifier: Apache-2.0

import Events
import Simulation
import Testing

@testable import Broker

/// `dedupe 10m`: the same source and id within ten minutes is accepted once, also across a restart.
@Suite(.timeLimit(.minutes(2))) struct DedupeTests {
    private func batch(_ ids: [String]) -> RecordBatch {
        var builder = RecordBatchBuilder(topic: .named("orders"), key: nil, capacity: 256)
        for id in ids { builder.append(Event(id: id, source: "/test", type: "t")) }
        return builder.finish()
    }

    private func accepted(_ window: inout DedupeWindow, _ ids: [String], at now: Timestamp) -> [Int] {
        guard case .append(let places, let pairs) = window.admit(batch(ids), now: now) else { return [] }
        window.succeeded(pairs, now: now)
        return places
    }

    @Test func aFullWindowForgetsTheOldestAndCountsThem() {
        var window = DedupeWindow(length: .seconds(600), eventsMax: 3)
        let now = Timestamp(milliseconds: 1_000)
        #expect(accepted(&window, ["a", "b", "c"], at: now) == [0, 1, 2])
        #expect(window.takeForgotten() == 0)
        #expect(accepted(&window, ["d"], at: now + .seconds(1)) == [0])
        #expect(window.takeForgotten() == 1)
        #expect(accepted(&window, ["b", "c", "d"], at: now + .seconds(2)) == [])
        // What it forgot is new to it.
        #expect(accepted(&window, ["a"], at: now + .seconds(3)) == [0])
        #expect(window.takeForgotten() == 1)
    }

    @Test func whatIsPastItsTimeIsForgottenUncounted() {
        var window = DedupeWindow(length: .seconds(600), eventsMax: 3)
        let now = Timestamp(milliseconds: 1_000)
        #expect(accepted(&window, ["a", "b", "c"], at: now) == [0, 1, 2])
        #expect(accepted(&window, ["a", "b", "c"], at: now + .seconds(601)) == [0, 1, 2])
        #expect(window.takeForgotten() == 0)
    }

    @Test func anEventThatComesAgainAfterARestartIsADuplicateUntilItsTimeIsOver() async throws {
        let routes = "topic orders { dedupe 10m }"
        let stored = StoredBroker()
        try await stored.start(routes)
        try await stored.publish("orders", ["early"])
        stored.clock.advance(.seconds(300))
        let ids = (0..<50).map { "e\($0)" }
        #expect(try await stored.publish("orders", ids, dataBytes: 400).allSatisfy { $0.accepted == 1 })
        await stored.stop()
        stored.clock.advance(.seconds(400))
        try await stored.start(routes)
        #expect(try await stored.publish("orders", ids).allSatisfy { $0.accepted == 0 && $0.duplicates == 1 })
        #expect(try await stored.publish("orders", ["early"]).map(\.accepted) == [1])
        stored.clock.advance(.seconds(201))
        #expect(try await stored.publish("orders", ["e0"]).map(\.accepted) == [1])
        await stored.stop()
    }

    @Test func aReloadThatAsksForItKnowsWhatCameBefore() async throws {
        let stored = StoredBroker()
        try await stored.start("topic orders")
        try await stored.publish("orders", ["a", "b"])
        try await stored.reload("topic orders { dedupe 10m }")
        #expect(try await stored.publish("orders", ["a", "c", "b"]).map(\.accepted) == [0, 1, 0])
        // Another length is another window, and knows as much.
        try await stored.reload("topic orders { dedupe 1h }")
        #expect(try await stored.publish("orders", ["a", "c", "b"]).map(\.accepted) == [0, 0, 0])
        await stored.stop()
    }
}
