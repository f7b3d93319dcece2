// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events
import Ledger
import Logging
import Routes
import Synchronization

@testable import Broker

/// A broker that runs without threads: every piece of waiting work is a step, taken in an order that the seed decides.
/// The machine may stop between any two steps and start again from what is durable.
final class BrokerSimulation {
    let clock = SimulatedClock()
    let engine: SimulatedEngine
    private(set) var table: RouteTable
    private var generation = 0
    let failure: Double
    private(set) var core: BrokerCore
    private var queue = WorkQueue()
    private(set) var destinations: [String: SimulatedDestination] = [:]
    var random: SeededGenerator
    /// Offsets whose publisher was told that they are durable.
    let accepted = Mutex<[String: [Offset]]>([:])
    /// Every delivery that a destination was given, in order, by subscriber.
    private(set) var delivered: [String: [Delivered]] = [:]
    private(set) var crashes = 0

    struct Delivered {
        var id: DeliveryID
        var key: String?
        var outcome: Outcome
        var isReplay: Bool
        /// The run of history that had it in flight.
        var lane: LedgerLane?
    }

    final class WorkQueue: Sendable {
        let posted = Mutex<[@Sendable (BrokerCore) -> Void]>([])
        let performing = Mutex<[@Sendable () -> Void]>([])
    }

    init(seed: UInt64, table: RouteTable, failure: Double) {
        random = SeededGenerator(seed: seed)
        self.table = table
        self.failure = failure
        engine = SimulatedEngine(clock: clock)
        core = Self.makeCore(engine, clock, queue, seed)
        start()
    }

    private static func makeCore(
        _ engine: SimulatedEngine, _ clock: SimulatedClock, _ queue: WorkQueue, _ seed: UInt64
    ) -> BrokerCore {
        var log = Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() }
        log.logLevel = .critical
        return BrokerCore(
            engine: engine, clock: clock, log: log, seed: seed,
            perform: { work in queue.performing.withLock { $0.append(work) } },
            post: { work in queue.posted.withLock { $0.append(work) } })
    }

    private func start() {
        // Storage never refuses here, so none of these throws.
        try! engine.recoverOutbox()
        destinations = [:]
        apply()
        core.drainOutbox()
    }

    private func apply() {
        for route in table.subscribers where destinations[route.name] == nil {
            if case .pull = route.delivery { continue }
            destinations[route.name] = SimulatedDestination(isOrdered: route.ordered)
        }
        generation += 1
        let generation = Generation(number: generation, table: table, destinations: destinations, fingerprints: [:])
        let preparation = try! Preparation.read(
            from: engine, newcomers: core.newcomers(in: table), missing: core.missingFeeds(in: table))
        _ = core.apply(generation, preparation)
    }

    /// A reload that adds a subscriber.
    func add(_ route: SubscriberRoute) {
        table.subscribers.append(route)
        apply()
    }

    /// Somebody asks for a part of what there is of `in` now.
    func replay(_ name: String) {
        let end = core.end(of: .named("in")).offset
        guard end > 0 else { return }
        let from = random.next() % end
        let span = LedgerLane.Span(topic: "in", from: from, until: from + 1 + random.next() % (end - from))
        _ = core.replay(name, .init(kind: .replay, spans: [span]))
    }

    func cancelReplay(_ name: String) {
        if case .success(let runs) = core.runningLanes(of: name),
            let run = runs.first(where: { $0.lane.details.kind == .replay })
        {
            _ = core.cancelLane(name, run.lane.id)
        }
    }

    func publish(_ topic: String, key: String, count: Int) {
        var builder = RecordBatchBuilder(topic: .named(topic), key: SubjectKey(), capacity: 256)
        for _ in 0..<count {
            builder.append(
                Event(
                    id: "e\(random.next())", source: "/test", type: "t",
                    attributes: [.init("subject", .string(key))]))
        }
        engine.append(builder.finish()) { [self = Unchecked(self)] result in
            if case .success(let range) = result {
                self.value.accepted.withLock { $0[topic, default: []] += Array(range) }
            }
        }
    }

    /// The simulation is driven by one thread; the closures it hands out run on that thread.
    struct Unchecked<Value>: @unchecked Sendable {
        var value: Value
        init(_ value: Value) { self.value = value }
    }

    /// Takes one step of whatever waits; false where nothing does.
    @discardableResult
    func step(allowFailures: Bool) -> Bool {
        var choices: [() -> Void] = []
        if let work = queue.posted.withLock({ $0.isEmpty ? nil : $0[0] }) {
            choices.append {
                self.queue.posted.withLock { _ = $0.removeFirst() }
                work(self.core)
            }
        }
        let waiting = queue.performing.withLock { $0.count }
        if waiting > 0 {
            let index = Int(random.next() % UInt64(waiting))
            choices.append { self.queue.performing.withLock { $0.remove(at: index) }() }
        }
        if engine.with({ !$0.appends.isEmpty }) {
            choices.append {
                guard let (batch, done) = self.engine.finishAppend() else { return }
                let shown = Unchecked(batch)
                self.queue.posted.withLock { $0.append { core in core.route(shown.value) } }
                done()
            }
        }
        if engine.with({ !$0.commits.isEmpty }) { choices.append { self.engine.finishCommit()?() } }
        for (name, destination) in destinations.sorted(by: { $0.key < $1.key }) where !destination.isIdle {
            choices.append { self.answer(name, destination, allowFailures) }
        }
        if choices.isEmpty { return false }
        choices[Int(random.next() % UInt64(choices.count))]()
        return true
    }

    private func answer(_ name: String, _ destination: SimulatedDestination, _ allowFailures: Bool) {
        let isOrderedLane = random.next() % 2 == 0
        guard let delivery = destination.take(isOrderedLane ? 0 : random.next()) else { return }
        let roll = Double(random.next() % 1_000) / 1_000
        let outcome: Outcome
        if allowFailures && roll < failure {
            outcome =
                roll < failure / 10 ? .dead(reason: "poison") : .retry(after: nil, reason: "not now")
        } else {
            outcome = .ack
        }
        let lane = core.subscribers[name]?.history.first { $0.state.inFlight[delivery.id] != nil }?.row
        delivered[name, default: []].append(
            Delivered(
                id: delivery.id, key: delivery.record.key, outcome: outcome, isReplay: delivery.replay, lane: lane))
        var effects: Effects?
        if outcome == .ack, name == "counter" {
            effects = Effects(
                state: [.add(key: "count", delta: .integer(1))],
                publications: [
                    Publication(
                        topic: "echo",
                        event: Event(
                            id: "\(delivery.id.offset)\(delivery.replay ? "-\(random.next())" : "")",
                            source: "/counter", type: "echo",
                            attributes: [.init("subject", .string(delivery.record.key ?? ""))]))
                ])
        }
        destination.settle(Settlement(delivery.id, outcome, effects: effects))
    }

    /// Lets everything that waits happen, moving the clock on to the next moment at which something is due.
    func run(allowFailures: Bool, limit: Int = 200_000) -> Bool {
        for _ in 0..<limit {
            if step(allowFailures: allowFailures) { continue }
            guard isUnfinished, let wake = core.wake else { return !isUnfinished }
            clock.advance(to: wake)
            core.tick()
        }
        return false
    }

    private var isUnfinished: Bool {
        let status = core.movable
        return status > 0 || engine.with { !$0.disk.outbox.isEmpty }
    }

    func crash() {
        crashes += 1
        engine.crash(losing: Int(random.next() % 4))
        queue = WorkQueue()
        core = Self.makeCore(engine, clock, queue, random.next())
        start()
    }
}

/// Keeps deliveries until the simulation answers one.
final class SimulatedDestination: Destination {
    private struct State {
        var deliveries: [Delivery] = []
        /// Deliveries that came while the same one was under way, or one of their key where order counts.
        var collisions: [DeliveryID] = []
        var underway: [DeliveryID: String?] = [:]
        var settle: (@Sendable (Settlements) -> Void)?
    }

    private let state = Mutex(State())
    private let isOrdered: Bool

    init(isOrdered: Bool) {
        self.isOrdered = isOrdered
    }

    var collisions: [DeliveryID] { state.withLock { $0.collisions } }

    func start(settle: @escaping @Sendable (Settlements) -> Void) { state.withLock { $0.settle = settle } }
    func deliver(_ deliveries: [Delivery]) {
        state.withLock { state in
            state.deliveries += deliveries
            for delivery in deliveries {
                let key = delivery.record.key
                if state.underway[delivery.id] != nil || (isOrdered && state.underway.values.contains(key)) {
                    state.collisions.append(delivery.id)
                }
                state.underway[delivery.id] = .some(key)
            }
        }
    }
    func stop(_ reason: StopReason, deadline: Duration) async {}

    var isIdle: Bool { state.withLock { $0.deliveries.isEmpty } }

    func take(_ roll: UInt64) -> Delivery? {
        state.withLock { state in
            guard !state.deliveries.isEmpty else { return nil }
            let delivery = state.deliveries.remove(at: Int(roll % UInt64(state.deliveries.count)))
            state.underway[delivery.id] = nil
            return delivery
        }
    }

    func settle(_ settlement: Settlement) {
        let sink = state.withLock { $0.settle }
        if settlement.outcome == .ack, settlement.effects == nil {
            sink?(Settlements(acks: [settlement.delivery]))
        } else {
            sink?(Settlements(others: [settlement]))
        }
    }
}

/// The key is the event's subject.
struct SubjectKey: KeyExtractor {
    func withKey(of record: UnsafeRawPointer, _ body: (UnsafeRawBufferPointer) -> Void) {
        var name = "subject"
        name.withUTF8 { name in
            let span = fl_record_attribute(record, name.baseAddress, name.count)
            if let bytes = span.bytes { body(UnsafeRawBufferPointer(start: bytes, count: span.length)) }
        }
    }
}
