// SPDX-License-Identifier: Apache-2.0

import Events
import Routes
import Synchronization
import Simulation
import Testing

@testable import Broker

/// P7: everything that may wait has a bound, and beyond it whoever comes is told to come back.
struct BackpressureTests {
    private static func table(pulling: Bool) -> RouteTable {
        var table = RouteTable()
        table.topics = [TopicRoute(name: "in")]
        table.subscribers = [
            SubscriberRoute(
                name: "s", from: [TopicPattern("in")], filter: nil,
                delivery: pulling ? .pull(lease: .seconds(30)) : .run(plugin: "s", settings: [], batch: nil))
        ]
        return table
    }

    @Test func moreThanSoManyWaitingRequestsAreToldToComeBack() {
        let simulation = BrokerSimulation(seed: 1, table: Self.table(pulling: true), failure: 0)
        let core = simulation.core
        let answers = Mutex<[Failure]>([])
        for _ in 0..<Limits.pollersMax {
            _ = core.tail("in", from: nil, max: 1, wait: .seconds(20)) { _ in Issue.record("nothing came") }
        }
        _ = core.tail("in", from: nil, max: 1, wait: .seconds(20)) { result in
            if case .failure(let failure) = result { answers.withLock { $0.append(failure) } }
        }
        _ = core.pull("s", max: 1, wait: .seconds(20)) { result in
            if case .failure(let failure) = result { answers.withLock { $0.append(failure) } }
        }
        #expect(answers.withLock { $0.map(\.code) } == [.overloaded, .overloaded])
        #expect(answers.withLock { $0[0].message.contains("4096 requests are waiting already") })
    }

    @Test func nothingNewStartsWhileTheLedgerIsBehindAndItGoesOnByItself() throws {
        let simulation = BrokerSimulation(seed: 2, table: Self.table(pulling: false), failure: 0)
        #expect(simulation.run(allowFailures: false))
        simulation.engine.with { state in
            state.commits += Array(repeating: .removal([]), count: Limits.ledgerQueueMax)
        }
        simulation.publish("in", key: "k", count: 5, mayWait: false, mayExpire: false)
        let (batch, done) = try #require(simulation.engine.finishAppend())
        simulation.core.route(batch)
        done()
        #expect(simulation.destinations["s"]?.isIdle == true)
        simulation.engine.with { $0.commits = [] }
        simulation.clock.advance(.seconds(1))
        simulation.core.tick()
        #expect(simulation.destinations["s"]?.isIdle == false)
        #expect(simulation.run(allowFailures: false))
        #expect(simulation.breaches.isEmpty, "\(simulation.breaches)")
        #expect(simulation.delivered["s"]?.count == 5)
    }

    @Test func aServerThatIsStoppingRefusesPublishersWithWhatToDo() async throws {
        let stored = StoredBroker()
        try await stored.start("topic orders")
        await stored.stop()
        await #expect(throws: Failure.self) { try await stored.publish("orders", ["a"]) }
        do {
            try await stored.publish("orders", ["a"])
        } catch let failure as Failure {
            #expect(failure.code == .overloaded)
            #expect(failure.message.contains("publish again when it is back"))
        }
    }
}
