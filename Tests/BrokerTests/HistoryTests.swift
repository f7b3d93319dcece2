// SPDX-License-Identifier: Apache-2.0

import Events
import Ledger
import Routes
import Simulation
import Testing

@testable import Broker

struct HistoryTests {
    private func simulation(_ seed: UInt64) -> BrokerSimulation {
        BrokerSimulation(seed: seed, table: SimulatedTables.table, failure: 0)
    }

    private func publish(_ count: Int, to simulation: BrokerSimulation) {
        for _ in 0..<count {
            simulation.publish("in", key: "k\(simulation.random.next() % 5)", count: 1, mayExpire: false)
        }
    }

    /// Whatever is next: a step, or else the time at which something is due.
    private func goOn(_ simulation: BrokerSimulation) throws {
        if simulation.step(allowFailures: false) { return }
        simulation.clock.advance(to: try #require(simulation.core.wake))
        simulation.core.tick()
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func aNewSubscriberGetsThePastBesideWhatIsLiveWithoutGapOrDouble(seed: UInt64) throws {
        let simulation = simulation(seed)
        publish(200, to: simulation)
        #expect(simulation.run(allowFailures: false))
        simulation.add(SimulatedTables.subscriber("late", from: "in"))
        for _ in 0..<40 {
            publish(1, to: simulation)
            for _ in 0..<(simulation.random.next() % 20) { simulation.step(allowFailures: false) }
        }
        #expect(simulation.run(allowFailures: false))
        let late = simulation.delivered["late"] ?? []
        #expect(late.map(\.id.offset).sorted() == Array(0..<240), "seed \(seed)")
        #expect(late.allSatisfy { !$0.isReplay }, "what it never saw is no replay")
        let lane = try #require(simulation.engine.with { $0.disk.lanes.values.first })
        #expect(lane.details == .init(kind: .start, spans: [.init(topic: "in", from: 0, until: 200)]))
        #expect(lane.state == .finished)
    }

    @Test func whatIsLiveOvertakesHistory() throws {
        let simulation = simulation(1)
        publish(400, to: simulation)
        #expect(simulation.run(allowFailures: false))
        simulation.add(SimulatedTables.subscriber("late", from: "in"))
        simulation.publish("in", key: "k0", count: 1, mayWait: false, mayExpire: false)
        #expect(simulation.run(allowFailures: false))
        let late = simulation.delivered["late"] ?? []
        let place = try #require(late.firstIndex { $0.id.offset == 400 })
        #expect(place < 300, "the live event was number \(place + 1)")
    }

    @Test func whereOrderCountsThePastComesFirst() throws {
        let simulation = simulation(2)
        publish(60, to: simulation)
        #expect(simulation.run(allowFailures: false))
        simulation.add(SimulatedTables.subscriber("late", from: "in", ordered: true))
        publish(60, to: simulation)
        #expect(simulation.run(allowFailures: false))
        #expect(simulation.engine.with { $0.disk.lanes.isEmpty })
        for key in 0..<5 {
            let offsets = (simulation.delivered["late"] ?? []).filter { $0.key == "k\(key)" }.map(\.id.offset)
            #expect(offsets == offsets.sorted() && !offsets.isEmpty)
        }
    }

    @Test func aCancelledReplayStartsNothingMoreAndKeepsNothing() throws {
        let simulation = simulation(3)
        publish(300, to: simulation)
        #expect(simulation.run(allowFailures: false))
        let details = LedgerLane.Details(kind: .replay, spans: [.init(topic: "in", from: 0, until: 300)])
        let begun = try simulation.core.replay("counter", details).get()
        while (simulation.delivered["counter"] ?? []).count(where: \.isReplay) < 20 { try goOn(simulation) }
        let cancelled = try #require(try simulation.core.cancelLane("counter", begun.lane.id).get())
        #expect(cancelled.lane.state == .cancelled)
        #expect(simulation.run(allowFailures: false))
        let replayed = (simulation.delivered["counter"] ?? []).count { $0.isReplay }
        #expect(replayed < 300)
        let disk = simulation.engine.with { $0.disk }
        #expect(disk.state["counter"]?["count"] == .integer(Int64(300 + replayed)), "what was in flight still counted")
        #expect(disk.lanes[begun.lane.id]?.state == .cancelled)
        #expect(try simulation.core.cancelLane("counter", begun.lane.id).get() == nil)
        simulation.crash()
        #expect(simulation.run(allowFailures: false))
        #expect(try simulation.core.runningLanes(of: "counter").get().isEmpty)
    }

    @Test func aReplayKeepsToItsFilterAndItsRate() throws {
        let simulation = simulation(4)
        publish(100, to: simulation)
        #expect(simulation.run(allowFailures: false))
        var details = LedgerLane.Details(kind: .replay, spans: [.init(topic: "in", from: 0, until: 100)])
        details.filter = "subject = 'k1'"
        details.rate = Rate(count: 5, per: .seconds(1))
        let expected = simulation.offsets(ofKey: "k1")
        let begun = simulation.clock.now()
        _ = try simulation.core.replay("plain", details).get()
        #expect(simulation.run(allowFailures: false))
        let replayed = (simulation.delivered["plain"] ?? []).filter(\.isReplay).map(\.id.offset)
        #expect(replayed.sorted() == expected)
        // A second's worth may go at once.
        let least = Duration.milliseconds(Int64(max(0, expected.count - 5)) * 200)
        #expect(simulation.clock.now() - begun >= least)
    }

    @Test func aSubscriberThatRefusesReplaysIsSaidToAndSoIsOneWithTooMany() throws {
        var table = SimulatedTables.table
        table.subscribers[0].refusesReplay = true
        let simulation = BrokerSimulation(seed: 5, table: table, failure: 0)
        publish(10, to: simulation)
        #expect(simulation.run(allowFailures: false))
        let details = LedgerLane.Details(kind: .replay, spans: [.init(topic: "in", from: 0, until: 10)])
        func refusal(_ name: String) -> String? {
            if case .failure(let failure) = simulation.core.replay(name, details) { failure.message } else { nil }
        }
        #expect(refusal("plain")?.contains("has a `replay deny` line in routes.conf") == true)
        for _ in 0..<Limits.lanesMax { #expect(refusal("counter") == nil) }
        #expect(refusal("counter")?.contains("has 8 runs of history under way") == true)
        #expect(refusal("nobody") == "no subscriber \"nobody\" in routes.conf")
    }

    @Test func historyAloneFindsOutThatAnEndpointIsBack() throws {
        let simulation = simulation(6)
        publish(60, to: simulation)
        #expect(simulation.run(allowFailures: false))
        let pushed = try #require(simulation.core.subscribers["pushed"])
        let details = LedgerLane.Details(kind: .replay, spans: [.init(topic: "in", from: 0, until: 60)])
        let begun = try simulation.core.replay("pushed", details).get()
        for id in 0... {
            if pushed.state.breaker.isOpen || pushed.history.isEmpty { break }
            try goOn(simulation)
            // Whatever is in flight is answered by an endpoint that doesn't want any.
            if let lane = pushed.history.first, let delivery = lane.state.inFlight.keys.first, id > 40 {
                var settlement = Settlement(delivery, .retry(after: nil, reason: "503"))
                settlement.endpoint = .refusing
                simulation.core.settle(pushed, Settlements(others: [settlement]))
            }
        }
        #expect(pushed.state.breaker.isOpen, "what happens to history counts for the endpoint")
        #expect(pushed.state.inFlight.isEmpty)
        #expect(simulation.run(allowFailures: false))
        #expect(!pushed.state.breaker.isOpen)
        #expect(simulation.engine.with { $0.disk.lanes[begun.lane.id]?.state } == .finished)
    }

    @Test func theShareOfHistoryFollowsTheTimeItTakes() {
        var share = HistoryShare()
        #expect(share.inFlightMax == Limits.historyInFlightStart)
        for _ in 0..<100 { share.observe(.zero, least: 1) }
        #expect(share.inFlightMax == Limits.historyInFlightMax)
        share.observe(Limits.historyTurnMin, least: 1)
        #expect(share.inFlightMax == Limits.historyInFlightMax)
        for _ in 0..<20 { share.observe(.seconds(1), least: 3) }
        #expect(share.inFlightMax == 3)
    }

    @Test func historyGoesInTurnsWhileEventsArePublishedAndAtFullSpeedOtherwise() throws {
        func time(quiet: Bool) throws -> Duration {
            let simulation = simulation(7)
            publish(300, to: simulation)
            #expect(simulation.run(allowFailures: false))
            if quiet { simulation.clock.advance(Limits.liveKept) }
            let details = LedgerLane.Details(kind: .replay, spans: [.init(topic: "in", from: 0, until: 300)])
            let lane = try simulation.core.replay("plain", details).get()
            let begun = simulation.clock.now()
            var most = 0
            while simulation.core.subscribers["plain"]?.history.isEmpty == false {
                let running = simulation.core.subscribers["plain"]?.history.first?.state.inFlight.count ?? 0
                most = max(most, running)
                try goOn(simulation)
            }
            let time = simulation.clock.now() - begun
            // What it settled last is not written yet.
            #expect(simulation.run(allowFailures: false))
            #expect(simulation.engine.with { $0.disk.lanes[lane.lane.id]?.done } == 300)
            if !quiet { #expect(most <= Limits.yieldInFlightMax) }
            return time
        }
        let besideLive = try time(quiet: false)
        #expect(besideLive >= Limits.yieldInterval * (300 / Limits.yieldInFlightMax), "took \(besideLive)")
        #expect(try time(quiet: true) < besideLive)
    }

    @Test func aTurnOfHistoryIsAsLongAsALiveEventMayWait() {
        var turns = HistoryTurns()
        let now = Timestamp(milliseconds: 1_000)
        #expect(turns.mayBegin(now) && turns.inFlightMax == Limits.yieldInFlightStart)
        for _ in 0..<100 {
            turns.begin(now, 0)
            turns.end(10_000, least: 1)
        }
        #expect(turns.inFlightMax == Limits.yieldInFlightMax)
        #expect(!turns.mayBegin(now) && turns.mayBegin(now + Limits.yieldInterval))
        // A second start before all is settled is the same turn.
        turns.begin(now, 0)
        turns.begin(now, 900_000)
        turns.end(1_000_000, least: 1)
        #expect(turns.inFlightMax == Limits.yieldInFlightMax / 2)
        for _ in 0..<20 {
            turns.begin(now, 0)
            turns.end(1_000_000, least: 3)
        }
        #expect(turns.inFlightMax == 3)
        turns.end(5_000_000, least: 3)
        #expect(turns.inFlightMax == 3, "nothing was under way")
    }
}
