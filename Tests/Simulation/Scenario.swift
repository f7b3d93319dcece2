// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Ledger
import Routes

/// What a seed plays through.
package enum Scenario: String, CaseIterable, Sendable {
    /// Crashes at any point, a subscriber that comes late, replays, an import, a client that pulls.
    case crashes
    /// The same with a disk that fills up, reads that fail, and reloads that change, add, remove and break subscribers.
    case reloads

    package struct Report: Sendable {
        package var steps = 0
        package var accepted = 0
        package var expired = 0
        package var faults = Faults()
        /// What went against a promise; empty where all was well.
        package var breaches: [String] = []

        package init() {}
    }

    /// Plays one history. The same seed plays the same one again, in a process with deterministic hashing.
    package func play(_ seed: UInt64) -> Report {
        Self.nameTopics
        let simulation = BrokerSimulation(
            seed: seed, table: SimulatedTables.table, failure: 0.3, bounds: Self.bounds(seed))
        switch self {
        case .crashes: crashes(simulation)
        case .reloads: reloads(simulation)
        }
        var report = Report()
        if simulation.breaches.isEmpty {
            simulation.setFull(false)
            simulation.failReads(0)
            var isFinished = simulation.run(allowFailures: false)
            if isFinished, self == .reloads, simulation.breaches.isEmpty {
                simulation.checkNothingIsBeingUndone()
                simulation.mend()
                isFinished = simulation.run(allowFailures: false)
            }
            if isFinished {
                simulation.checkEnd()
            } else {
                report.breaches.append("P2: not everything is settled in the end; \(simulation.leftover)")
            }
        }
        report.breaches += simulation.breaches
        (report.steps, report.faults) = (simulation.steps, simulation.faults)
        (report.accepted, report.expired) = (simulation.model.accepted, simulation.model.expired)
        return report
    }

    /// Topics have numbers, in the order in which a process comes to know them, and sets of topics have an order by these.
    private static let nameTopics: Void = {
        for name in ["in", "echo", "$dead", "$alert"] { _ = Topic.named(name) }
        for number in 1...Int64(200) { _ = Topic.imported(number, for: "in") }
    }()

    /// So little memory in one of two seeds that the bounds are reached all the time.
    private static func bounds(_ seed: UInt64) -> MemoryBounds {
        var bounds = BrokerSimulation.bounds
        guard seed % 2 == 0 else { return bounds }
        bounds.windowEvents = 6
        bounds.windowBytes = 1_500
        bounds.historyWindowEvents = 4
        bounds.historyWindowBytes = 1_000
        bounds.recordBytes = 400
        bounds.ledgerQueueMax = 12
        bounds.pollersMax = 2
        return bounds
    }

    private static let turns = 40

    private func crashes(_ simulation: BrokerSimulation) {
        let latecomer = simulation.random.next() % UInt64(Self.turns)
        for turn in 0..<Self.turns where simulation.breaches.isEmpty {
            if turn == latecomer { simulation.add(SimulatedTables.subscriber("late", from: "in")) }
            if simulation.chance(8) { simulation.replay(simulation.pick(SimulatedTables.replayed)) }
            if simulation.chance(25) { simulation.cancelReplay("counter") }
            if simulation.chance(12) {
                simulation.beginImport(
                    to: simulation.pick(SimulatedTables.importing), events: Int(simulation.random.next() % 12) + 1)
            }
            publish(simulation)
            for _ in 0..<(simulation.random.next() % 60) where simulation.breaches.isEmpty {
                simulation.step(allowFailures: true)
                if simulation.chance(6) { simulation.useClient(allowFailures: true) }
            }
            if simulation.chance(12) { simulation.crash() }
            passTime(simulation)
        }
    }

    private func reloads(_ simulation: BrokerSimulation) {
        for _ in 0..<Self.turns where simulation.breaches.isEmpty {
            publish(simulation)
            if simulation.chance(10) { simulation.replay(simulation.pick(SimulatedTables.replayed)) }
            if simulation.chance(16) {
                simulation.beginImport(
                    to: simulation.pick(SimulatedTables.importing), events: Int(simulation.random.next() % 12) + 1)
            }
            for _ in 0..<(simulation.random.next() % 60) where simulation.breaches.isEmpty {
                simulation.step(allowFailures: true)
                if simulation.chance(12) { simulation.useClient(allowFailures: true) }
            }
            switch simulation.random.next() % 16 {
            case 0: simulation.crash()
            case 1: simulation.setFull(true)
            case 2: simulation.failReads(Int(simulation.random.next() % 4))
            case 3, 4, 5, 6:
                if simulation.chance(3) { simulation.failReads(1) }
                simulation.reload(
                    SimulatedTables.table(
                        attempts: Int(simulation.random.next() % 3) + 3, extra: simulation.random.next() % 2 == 0,
                        bad: bad(simulation)))
            default: simulation.setFull(false)
            }
            passTime(simulation)
        }
    }

    /// In one of three reloads one or two subscribers are broken.
    private func bad(_ simulation: BrokerSimulation) -> [String: BadReloadAction] {
        guard simulation.chance(3) else { return [:] }
        var bad: [String: BadReloadAction] = [:]
        for _ in 0...(simulation.random.next() % 2) {
            let action: BadReloadAction = simulation.chance(4) ? .pause : simulation.chance(5) ? .keep : .rollback
            bad[simulation.pick(SimulatedTables.changing)] = action
        }
        return bad
    }

    private func publish(_ simulation: BrokerSimulation) {
        simulation.publish(
            "in", key: "k\(simulation.random.next() % 5)", count: Int(simulation.random.next() % 4) + 1)
    }

    private func passTime(_ simulation: BrokerSimulation) {
        if simulation.chance(3) {
            simulation.clock.advance(.milliseconds(Int64(simulation.random.next() % 3_000)))
            simulation.core.tick()
        }
        if simulation.chance(40) { simulation.setClockBack(.seconds(Int64(simulation.random.next() % 600) + 1)) }
    }
}

extension BrokerSimulation {
    /// One of `count` cases.
    func chance(_ count: UInt64) -> Bool { random.next() % count == 0 }

    func pick(_ names: [String]) -> String { names[Int(random.next() % UInt64(names.count))] }
}
