// SPDX-License-Identifier: Apache-2.0

import Events
import Routes
import Simulation
import Testing

@testable import Broker

/// What a subscriber does that no configuration has any more: nothing.
struct RemovedSubscriberTests {
    /// It went on when its retry was due, and wrote down what became of it in the place of whoever had its name then.
    @Test func aRetryThatIsDueAfterItsSubscriberWasRemovedIsNotMade() throws {
        let simulation = BrokerSimulation(
            seed: 1, table: SimulatedTables.table(attempts: 4, extra: true, bad: ["extra": .keep]), failure: 0)
        for _ in 0..<8 { simulation.publish("in", key: "k1", count: 1) }
        while simulation.step(allowFailures: false) {}
        let extra = try #require(simulation.core.subscribers["extra"])
        try #require(extra.state.deferred.values.contains { $0.due != nil }, "it waits for a retry")
        simulation.reload(SimulatedTables.table(attempts: 4, extra: false))
        while simulation.step(allowFailures: false) {}
        simulation.clock.advance(.seconds(3_600))
        simulation.core.tick()
        #expect(extra.state.inFlight.isEmpty)
        #expect(simulation.breaches.isEmpty, "\(simulation.breaches)")
    }

    /// A bug once: what it would have done later held it until then, with its plugin and that one's thread.
    @Test func nothingHoldsIt() throws {
        let simulation = BrokerSimulation(
            seed: 1, table: SimulatedTables.table(attempts: 4, extra: true, bad: ["extra": .keep]), failure: 0)
        for _ in 0..<8 { simulation.publish("in", key: "k1", count: 1) }
        while simulation.step(allowFailures: false) {}
        weak let extra = simulation.core.subscribers["extra"]
        let wakesLater = extra?.wake.map { $0 > simulation.clock.now() }
        try #require(wakesLater == true, "it waits for a retry")
        simulation.reload(SimulatedTables.table(attempts: 4, extra: false))
        while simulation.step(allowFailures: false) {}
        #expect(extra == nil)
    }
}
