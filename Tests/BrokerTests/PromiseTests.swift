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
        table.subscribers = [
            subscriber("plain", from: "in", attempts: attempts),
            subscriber("ordered", from: "in", attempts: attempts, ordered: true),
            subscriber("counter", from: "in", attempts: attempts), subscriber("listener", from: "echo"),
            pushed(subscriber("pushed", from: "in", attempts: attempts)),
        ]
        if extra { table.subscribers.append(subscriber("extra", from: "in", attempts: attempts)) }
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

    static func subscriber(_ name: String, from: String, attempts: Int = 4, ordered: Bool = false) -> SubscriberRoute {
        var route = SubscriberRoute(
            name: name, from: [TopicPattern(from)], filter: nil,
            delivery: .run(plugin: name, settings: [], batch: nil))
        route.ordered = ordered
        route.start = .earliest
        route.retry.attempts = attempts
        return route
    }

    static let replayed = ["plain", "ordered", "counter", "pushed", "pulled"]

    @Test func promisesHoldThroughFailuresAndCrashes() throws {
        for seed in Self.seeds {
            let simulation = BrokerSimulation(seed: seed, table: Self.table, failure: 0.3)
            let latecomer = simulation.random.next() % 40
            for turn in 0..<40 {
                if turn == latecomer { simulation.add(Self.subscriber("late", from: "in")) }
                if simulation.random.next() % 8 == 0 {
                    simulation.replay(Self.replayed[Int(simulation.random.next() % UInt64(Self.replayed.count))])
                }
                if simulation.random.next() % 25 == 0 { simulation.cancelReplay("counter") }
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
                if simulation.random.next() % 10 == 0 {
                    simulation.replay(Self.replayed[Int(simulation.random.next() % UInt64(Self.replayed.count))])
                }
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

        let names = simulation.table.subscribers.map(\.name)
        for name in ["plain", "counter", "pushed", "pulled", "late"] where names.contains(name) {
            // What a replay delivered doesn't stand for what is live.
            let acked =
                name == "pulled"
                ? Set(simulation.client.acked.withLock { $0.map(\.offset) })
                : Set(
                    (simulation.delivered[name] ?? []).filter { $0.outcome == .ack && !$0.isReplay }.map(\.id.offset))
            let dead = Set(
                disk.dead.filter { letter in
                    letter.subscriber == name
                        && letter.draft.lane.map { disk.lanes[$0]?.details.kind == .start } ?? true
                }.map(\.draft.offset))
            let missing = (0..<end).filter { !acked.contains($0) && !dead.contains($0) }
            #expect(missing.isEmpty, "seed \(seed), P2: \(name) never got \(missing)")
        }

        let dead = disk.dead.filter { $0.subscriber == "counter" }.count
        let replayed = disk.lanes.values.filter { $0.subscriber == "counter" && $0.details.kind == .replay }
            .reduce(0) { $0 + $1.done }
        let count = disk.state["counter"]?["count"]
        let expected = Int(end) + replayed - dead
        #expect(
            count == .integer(Int64(expected)) || (end == 0 && count == nil),
            "seed \(seed), P3: \(String(describing: count)) counted of \(end) events, \(dead) dead")
        let echoes = (disk.topics["echo"] ?? []).flatMap { batch in (0..<batch.count).map { batch[$0].id } }
        #expect(echoes.count == Set(echoes).count, "seed \(seed), P3: an event was published twice")
        #expect(echoes.count == expected, "seed \(seed), P3: publications are committed with the ack")

        checkOrder(simulation, seed)
        checkReplays(simulation, seed)
        for (name, destination) in simulation.destinations {
            #expect(
                destination.collisions.isEmpty, "seed \(seed), \(name): two lanes had one delivery or key in flight")
        }
    }

    /// P2 and P4 of replays: each record of their span is delivered or dead, once in each that ended; and a key's in order.
    private func checkReplays(_ simulation: BrokerSimulation, _ seed: UInt64) {
        let disk = simulation.engine.with { $0.disk }
        let names = simulation.table.subscribers.map(\.name)
        for lane in disk.lanes.values where lane.state != .cancelled && names.contains(lane.subscriber) {
            let span = lane.details.spans[0]
            let dead = disk.dead.filter { $0.draft.lane == lane.id }
            if lane.subscriber != "ordered" || dead.isEmpty {
                #expect(lane.state == .finished, "seed \(seed): run \(lane.id) of \(lane.subscriber) never ended")
                #expect(
                    lane.done == Int(span.until - span.from), "seed \(seed): run \(lane.id) counts what it delivered")
            }
            // Who pulls isn't in `delivered`.
            if lane.subscriber == "pulled" { continue }
            let mine = (simulation.delivered[lane.subscriber] ?? []).filter {
                $0.lane?.id == lane.id && $0.lane?.begun == lane.begun && $0.lane?.details == lane.details
            }
            #expect(
                mine.allSatisfy { $0.isReplay == (lane.details.kind == .replay) }, "seed \(seed): replays are marked")
            let acked = Set(mine.filter { $0.outcome == .ack }.map(\.id.offset))
            let missing = (span.from..<span.until).filter { offset in
                !acked.contains(offset) && !dead.contains { $0.draft.offset == offset }
            }
            #expect(
                missing.isEmpty || lane.state == .running,
                "seed \(seed), P2: run \(lane.id) of \(lane.subscriber) never brought \(missing)")
            guard lane.subscriber == "ordered" else { continue }
            var done: [String: Offset] = [:]
            for entry in mine where entry.outcome == .ack {
                guard let key = entry.key else { continue }
                if let last = done[key], entry.id.offset <= last { continue }
                let before = simulation.offsets(ofKey: key).filter {
                    $0 >= span.from && $0 < entry.id.offset && $0 > (done[key] ?? 0)
                }
                let isFirst = done[key] == nil
                #expect(
                    isFirst
                        ? simulation.offsets(ofKey: key).first { $0 >= span.from } == entry.id.offset : before.isEmpty,
                    "seed \(seed), P4: in run \(lane.id) key \(key) went from \(done[key] ?? 0) to \(entry.id.offset)")
                done[key] = entry.id.offset
            }
        }
    }

    /// P4: an event of a key is first acknowledged only after all before it are, and nothing follows a dead letter.
    private func checkOrder(_ simulation: BrokerSimulation, _ seed: UInt64) {
        var done: [String: Offset] = [:]
        for entry in simulation.delivered["ordered"] ?? [] where !entry.isReplay {
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
