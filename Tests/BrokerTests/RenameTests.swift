// SPDX-License-Identifier: Apache-2.0

import Events
import Ledger
import Routes
import Simulation
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
