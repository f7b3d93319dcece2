// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Foundation
import Ledger
import Routes
import Synchronization
import Testing

/// The promises P1 to P4, by simulation: thousands of seeded histories with failing destinations and machines that stop
/// at any point. A failing seed replays exactly: `SWIFT_DETERMINISTIC_HASHING=1 SEED=n swift test --filter PromiseTests`.
struct PromiseTests {
    static let seeds: [UInt64] =
        ProcessInfo.processInfo.environment["SEED"].flatMap(UInt64.init).map { [$0] }
        ?? Array(1...UInt64(ProcessInfo.processInfo.environment["SEEDS"] ?? "400")!)

    static var table: RouteTable { table(attempts: 4, extra: false) }

    /// One of the configurations that reloads go between. `extra` takes from the start of the topic whenever it comes back.
    static func table(attempts: Int, extra: Bool) -> RouteTable {
        var table = RouteTable()
        table.topics = [TopicRoute(name: "in"), TopicRoute(name: "echo"), TopicRoute(name: "$dead")]
        func subscriber(_ name: String, from: String, ordered: Bool = false) -> SubscriberRoute {
            var route = SubscriberRoute(
                name: name, from: [TopicPattern(from)], filter: nil,
                delivery: .run(plugin: name, settings: [], batch: nil))
            route.ordered = ordered
            route.start = .earliest
            route.retry.attempts = name == "listener" ? 4 : attempts
            return route
        }
        table.subscribers = [
            subscriber("plain", from: "in"), subscriber("ordered", from: "in", ordered: true),
            subscriber("counter", from: "in"), subscriber("listener", from: "echo"),
            pushed(subscriber("pushed", from: "in")),
        ]
        if extra { table.subscribers.append(subscriber("extra", from: "in")) }
        var pulled = subscriber("pulled", from: "in")
        pulled.delivery = .pull(lease: .seconds(2))
        pulled.retry.attempts = nil
        table.subscribers.append(pulled)
        return table
    }

    /// One with an endpoint, whose breaker opens and closes all the time.
    private static func pushed(_ route: SubscriberRoute) -> SubscriberRoute {
        var route = route
        var push = PushRoute(url: "http://endpoint")
        push.breaker!.failures = 3
        push.breaker!.last = .seconds(10)
        route.delivery = .push(push)
        route.concurrency = 3
        return route
    }

    @Test func promisesHoldThroughFailuresAndCrashes() throws {
        for seed in Self.seeds {
            let simulation = BrokerSimulation(seed: seed, table: Self.table, failure: 0.3)
            for _ in 0..<40 {
                simulation.publish(
                    "in", key: "k\(simulation.random.next() % 5)", count: Int(simulation.random.next() % 4) + 1)
                for _ in 0..<(simulation.random.next() % 60) {
                    simulation.step(allowFailures: true)
                    if simulation.random.next() % 6 == 0 { simulation.useClient(allowFailures: true) }
                }
                if simulation.random.next() % 12 == 0 { simulation.crash() }
                if simulation.random.next() % 3 == 0 {
                    simulation.clock.advance(.milliseconds(Int64(simulation.random.next() % 3_000)))
                    simulation.core.tick()
                }
            }
            #expect(
                simulation.run(allowFailures: false),
                "seed \(seed): everything is settled in the end; \(simulation.leftover)")
            check(simulation, seed)
        }
    }

    /// As above, with a disk that fills up and whose reads fail, and with reloads that change, add and remove subscribers
    /// while their deliveries are under way (P5).
    @Test func promisesHoldThroughReloadsAndADiskThatFails() throws {
        for seed in Self.seeds {
            let simulation = BrokerSimulation(seed: seed, table: Self.table, failure: 0.3)
            for _ in 0..<40 {
                simulation.publish(
                    "in", key: "k\(simulation.random.next() % 5)", count: Int(simulation.random.next() % 4) + 1)
                for _ in 0..<(simulation.random.next() % 60) { simulation.step(allowFailures: true) }
                switch simulation.random.next() % 16 {
                case 0: simulation.crash()
                case 1: simulation.setFull(true)
                case 2: simulation.failReads(Int(simulation.random.next() % 4))
                case 3, 4, 5, 6:
                    let listener = ObjectIdentifier(simulation.destinations["listener"]!)
                    simulation.reload(
                        Self.table(
                            attempts: Int(simulation.random.next() % 3) + 3, extra: simulation.random.next() % 2 == 0))
                    #expect(
                        ObjectIdentifier(simulation.destinations["listener"]!) == listener,
                        "seed \(seed), P5: what didn't change is untouched")
                default: simulation.setFull(false)
                }
                if simulation.random.next() % 3 == 0 {
                    simulation.clock.advance(.milliseconds(Int64(simulation.random.next() % 3_000)))
                    simulation.core.tick()
                }
            }
            simulation.setFull(false)
            simulation.failReads(0)
            #expect(
                simulation.run(allowFailures: false),
                "seed \(seed): everything is settled in the end; \(simulation.leftover)")
            check(simulation, seed)
        }
    }

    private func check(_ simulation: BrokerSimulation, _ seed: UInt64) {
        let accepted = simulation.accepted.withLock { Set($0["in"] ?? []) }
        let disk = simulation.engine.with { $0.disk }
        let end = disk.ends["in"] ?? 0
        #expect(accepted.allSatisfy { $0 < end }, "seed \(seed), P1: what was accepted is in the journal")

        let broken = simulation.client.broken.withLock { $0 }
        #expect(broken.isEmpty, "seed \(seed): leases hold through crashes: \(broken)")
        #expect(simulation.early.isEmpty, "seed \(seed): delivered before its time: \(simulation.early)")

        for name in ["plain", "counter", "pushed", "pulled"] {
            let acked =
                name == "pulled"
                ? Set(simulation.client.acked.withLock { $0.map(\.offset) })
                : Set((simulation.delivered[name] ?? []).filter { $0.outcome == .ack }.map(\.id.offset))
            let dead = Set(disk.dead.filter { $0.subscriber == name }.map(\.draft.offset))
            let missing = (0..<end).filter { !acked.contains($0) && !dead.contains($0) }
            #expect(missing.isEmpty, "seed \(seed), P2: \(name) never got \(missing)")
        }

        let dead = disk.dead.filter { $0.subscriber == "counter" }.count
        let count = disk.state["counter"]?["count"]
        #expect(
            count == .integer(Int64(end) - Int64(dead)) || (end == 0 && count == nil),
            "seed \(seed), P3: \(String(describing: count)) counted of \(end) events, \(dead) dead")
        let echoes = (disk.topics["echo"] ?? []).flatMap { batch in (0..<batch.count).map { batch[$0].id } }
        #expect(echoes.count == Set(echoes).count, "seed \(seed), P3: an event was published twice")
        #expect(echoes.count == Int(end) - dead, "seed \(seed), P3: publications are committed with the ack")

        checkOrder(simulation, seed)
    }

    /// P4: an event of a key is first acknowledged only after all before it are, and nothing follows a dead letter.
    private func checkOrder(_ simulation: BrokerSimulation, _ seed: UInt64) {
        var done: [String: Offset] = [:]
        for entry in simulation.delivered["ordered"] ?? [] {
            guard let key = entry.key, entry.outcome == .ack else { continue }
            // After a crash, what was acknowledged but not written comes again: a repetition, not an inversion.
            if let last = done[key], entry.id.offset <= last { continue }
            let between = simulation.offsets(ofKey: key).filter { $0 < entry.id.offset && $0 > (done[key] ?? 0) }
            let isFirst = done[key] == nil
            #expect(
                isFirst
                    ? simulation.offsets(ofKey: key).first == entry.id.offset : between.isEmpty,
                "seed \(seed), P4: key \(key) went from \(String(describing: done[key])) to \(entry.id.offset)")
            done[key] = entry.id.offset
        }
    }
}

extension BrokerSimulation {
    func offsets(ofKey key: String) -> [Offset] {
        engine.with { state in
            (state.disk.topics["in"] ?? []).flatMap { batch in
                (0..<batch.count).filter { batch[$0].key == key }.map { batch[$0].offset }
            }
        }
    }
}
