// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Events
import Ledger
import Routes
import Simulation
import Synchronization
import Testing

@testable import Broker

/// `was`: a subscriber gets another name and goes on where it was.
@Suite(.timeLimit(.minutes(2))) struct RenameTests {
    private static let old = "topic orders { retain 400d }\nsubscriber before { from orders; pull { lease 30s } }"
    private static let new =
        "topic orders { retain 400d }\nsubscriber after { from orders; pull { lease 30s }; was before }"

    @Test func aRenamedSubscriberGoesOnAndTheNextStartFindsItByItsNewName() async throws {
        let stored = StoredBroker()
        try await stored.start(Self.old)
        try await stored.publish("orders", ["a", "b"])
        #expect(try await stored.take("before", 1) == ["a"])
        try await stored.reload(Self.new)
        #expect(try await stored.take("after", 1) == ["b"])
        #expect(try await stored.broker.orphans().isEmpty, "nothing is left under the old name")
        #expect(try await stored.broker.knownSubscribers() == ["after"])
        try await stored.publish("orders", ["c"])
        await stored.stop()
        // Its `was` is still there.
        try await stored.start(Self.new)
        #expect(try await stored.take("after", 1) == ["c"])
        await stored.stop()
    }

    @Test func anOldNameThatIsInUseAgainIsNotTakenFromItsOwner() async throws {
        let stored = StoredBroker()
        try await stored.start(Self.old)
        try await stored.publish("orders", ["a"])
        try await stored.reload(Self.new)
        #expect(try await stored.take("after", 1) == ["a"])
        let without = Self.new.replacing("; was before", with: "")
        try await stored.reload(without + "\nsubscriber before { from orders; pull }")
        try await stored.reload(Self.new)
        try await stored.publish("orders", ["b"])
        await stored.stop()
        try await stored.start(Self.new)
        #expect(try await stored.take("after", 1) == ["b"])
        #expect(try await stored.broker.orphans().map(\.name) == ["before"])
        await stored.stop()
    }

    /// Acknowledges at once, and counts.
    private final class Counter: Destination {
        private let sink = Mutex<(@Sendable (Settlements) -> Void)?>(nil)
        private let line = DispatchQueue(label: "counter")

        func start(settle: @escaping @Sendable (Settlements) -> Void) { sink.withLock { $0 = settle } }

        func deliver(_ deliveries: [Delivery]) {
            guard let settle = sink.withLock({ $0 }) else { return }
            line.async {
                let effects = Effects(state: [.add(key: "count", delta: .integer(1))])
                for delivery in deliveries {
                    settle(Settlements(others: [Settlement(delivery.id, .ack, effects: effects)]))
                }
            }
        }

        func stop(_ reason: StopReason, deadline: Duration) async {}
    }

    /// What was settled between the reading of its rows and the swap was delivered to its next name, too, and counted twice.
    @Test func whatIsSettledWhileASubscriberIsRenamedCountsOnce() async throws {
        let stored = StoredBroker()
        func routes(_ name: String, was old: String? = nil) -> String {
            "topic orders { retain 400d }\nsubscriber \(name) { from orders; run counter"
                + (old.map { "; was \($0)" } ?? "") + " }"
        }
        stored.adjust = { next in
            for route in next.table.subscribers { next.destinations[route.name] = Counter() }
        }
        try await stored.start(routes("c0"))
        let count = 1_500
        let broker: Broker = stored.broker
        let publishing = Task {
            for number in 0..<count {
                var builder = RecordBatchBuilder(topic: .named("orders"), key: nil, capacity: 256)
                builder.append(Event(id: "e\(number)", source: "/test", type: "t"))
                _ = try await broker.publish(builder.finish())
            }
        }
        let renames = 25
        for number in 1...renames { try await stored.reload(routes("c\(number)", was: "c\(number - 1)")) }
        try await publishing.value
        let last = "c\(renames)"
        try await eventually("all are settled") {
            try await #require(stored.broker.status().subscribers.first).backlog == 0
        }
        #expect(try stored.ledger.value(subscriber: last, key: "count") == Array("\(count)".utf8))
        await stored.stop()
    }

    @Test func aRenameThatIsNotMadeLosesNothingOfWhatEndedMeanwhile() throws {
        let simulation = BrokerSimulation(seed: 1, table: SimulatedTables.table, failure: 0)
        #expect(simulation.run(allowFailures: false))
        simulation.publish("in", key: "k1", count: 5, mayWait: false, mayExpire: false)
        let (batch, done) = try #require(simulation.engine.finishAppend())
        simulation.core.route(batch)
        done()
        let plain = try #require(simulation.core.subscribers["plain"])
        let underWay = plain.state.inFlight.count
        try #require(underWay > 0)
        var table = SimulatedTables.table
        let place = try #require(table.subscribers.firstIndex { $0.name == "plain" })
        table.subscribers[place].name = "renamed"
        table.subscribers[place].was = "plain"
        simulation.core.handOver(renamedIn: table)
        simulation.core.settle(plain, Settlements(acks: Array(plain.state.inFlight.keys)))
        #expect(plain.state.inFlight.count == underWay, "nothing has changed")
        simulation.core.keepNames()
        #expect(plain.state.inFlight.isEmpty)
    }

    @Test func aReadThatFailsLeavesNamesAsTheyWere() throws {
        let simulation = BrokerSimulation(seed: 1, table: SimulatedTables.table, failure: 0)
        simulation.publish("in", key: "k1", count: 3)
        #expect(simulation.run(allowFailures: false))
        try simulation.engine.flush()
        let before = try simulation.engine.subscribers()
        try #require(before.contains("plain"))
        var routes = ["renamed", "second"].map { SimulatedTables.subscriber($0, from: "in") }
        routes[0].was = "plain"
        for failing in 1...2 {
            // Each newcomer's rows are one read; the last one fails.
            var reads = 0
            simulation.engine.with {
                $0.onRead = {
                    reads += 1; return reads == failing
                }
            }
            #expect(throws: Failure.self) {
                try Preparation.read(from: simulation.engine, newcomers: routes, missing: [])
            }
            #expect(try simulation.engine.subscribers() == before)
        }
        simulation.engine.with { $0.onRead = nil }
        let read = try Preparation.read(from: simulation.engine, newcomers: routes, missing: [])
        #expect(read.ledgers["renamed"]?.positions.isEmpty == false)
        #expect(try simulation.engine.subscribers() == before.map { $0 == "plain" ? "renamed" : $0 }.sorted())
    }
}
