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
    private(set) var generation = 1
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
    private(set) var reloads = 0
    private(set) var refusals = 0
    /// Destinations that a reload has replaced and that hold deliveries still.
    private var replaced: [SimulatedDestination] = []
    /// Offsets that were delivered before the time that their publisher set.
    private(set) var early: [Offset] = []
    let client = SimulatedClient()

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
        replaced = []
        for route in table.subscribers {
            if case .pull = route.delivery { continue }
            destinations[route.name] = SimulatedDestination(isOrdered: route.ordered)
        }
        engine.with { $0.failingReads = 0 }
        apply()
        core.drainOutbox()
    }

    /// A reload that adds a subscriber.
    func add(_ route: SubscriberRoute) {
        table.subscribers.append(route)
        generation += 1
        destinations[route.name] = SimulatedDestination(isOrdered: route.ordered)
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

    private func apply() {
        let next = Generation(number: generation, table: table, destinations: destinations, fingerprints: [:])
        // Not while reads fail, so this doesn't throw.
        let preparation = try! Preparation.read(
            from: engine, newcomers: core.newcomers(in: table), missing: core.missingFeeds(in: table))
        for (old, _) in core.apply(next, preparation) {
            if let old = old as? SimulatedDestination { replaced.append(old) }
        }
    }

    /// Puts another table in force. Destinations of subscribers that didn't change stay, those of others are replaced: what
    /// they hold they give back, now or later.
    func reload(_ next: RouteTable) {
        guard engine.with({ !$0.isFull && $0.failingReads == 0 && $0.commits.isEmpty }) else { return }
        reloads += 1
        generation += 1
        let before = Dictionary(table.subscribers.map { ($0.name, $0.fingerprint) }) { first, _ in first }
        table = next
        var kept: [String: SimulatedDestination] = [:]
        for route in next.subscribers {
            kept[route.name] =
                before[route.name] == route.fingerprint
                ? destinations[route.name] : SimulatedDestination(isOrdered: route.ordered)
        }
        destinations = kept
        apply()
    }

    /// The disk becomes full, or has room again.
    func setFull(_ isFull: Bool) { engine.with { $0.isFull = isFull } }
    func failReads(_ count: Int) { engine.with { $0.failingReads = count } }

    func publish(_ topic: String, key: String, count: Int) {
        var builder = RecordBatchBuilder(topic: .named(topic), key: SubjectKey(), capacity: 256)
        for _ in 0..<count {
            var attributes: [Event.Attribute] = [.init("subject", .string(key))]
            if random.next() % 8 == 0 {
                attributes.append(.init("deliverafter", .string("\(random.next() % 4_000)ms")))
            }
            builder.append(Event(id: "e\(random.next())", source: "/test", type: "t", attributes: attributes))
        }
        engine.append(builder.finish()) { [self = Unchecked(self)] result in
            switch result {
            case .success(let range): self.value.accepted.withLock { $0[topic, default: []] += Array(range) }
            case .failure: self.value.refusals += 1
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
        if engine.with({ !$0.appends.isEmpty && $0.isFull }) { choices.append { self.engine.refuseAppend()?() } }
        if let old = replaced.first {
            choices.append {
                old.giveBack()
                self.replaced.removeFirst()
            }
        }
        if engine.with({ !$0.appends.isEmpty && !$0.isFull }) {
            choices.append {
                guard let (batch, done) = self.engine.finishAppend() else { return }
                let shown = Unchecked(batch)
                self.queue.posted.withLock { $0.append { core in core.route(shown.value) } }
                done()
            }
        }
        if engine.with({ !$0.commits.isEmpty && !$0.isFull }) { choices.append { self.engine.finishCommit()?() } }
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
        if let due = delivery.record.deliverAt, due > clock.now() { early.append(delivery.id.offset) }
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
        var settlement = Settlement(delivery.id, outcome, effects: effects)
        if name == "pushed" { settlement.endpoint = endpointSign(outcome) }
        destination.settle(settlement)
    }

    private func endpointSign(_ outcome: Outcome) -> EndpointSign? {
        guard case .retry = outcome else { return .up }
        let signs: [EndpointSign?] = [
            .failing, .failing, .unreachable, .refusing, .up, .busy(.seconds(Int(random.next() % 5))), nil,
        ]
        return signs[Int(random.next() % UInt64(signs.count))]
    }

    /// A client of the pull subscriber does one thing: it pulls, or it settles one of its leases.
    func useClient(allowFailures: Bool) {
        let now = clock.now()
        let held = client.held.withLock { $0 }
        guard let mine = held.isEmpty || random.next() % 2 == 0 ? nil : held[Int(random.next() % UInt64(held.count))]
        else {
            pull(max: Int(random.next() % 3) + 1)
            return
        }
        let roll = random.next() % 10
        let action: LeaseSettlement.Action =
            switch allowFailures ? roll : 9 {
            case 0: .dead(reason: "poison")
            case 1, 2: .retry(after: nil, reason: "not now")
            case 3: .extend
            default: .ack
            }
        let isExtension = if case .extend = action { true } else { false }
        if !isExtension { client.held.withLock { $0.removeAll { $0.lease == mine.lease } } }
        let isAck = if case .ack = action { true } else { false }
        core.settleLeases("pulled", [LeaseSettlement(lease: mine.lease, action: action)]) { [client, engine] result in
            guard case .success(let results) = result else { return }
            if results != [.done] {
                // A lease may only be gone that has run out, or whose row a power cut took.
                client.held.withLock { $0.removeAll { $0.lease == mine.lease } }
                if mine.expires > now, !mine.isVoid {
                    client.broken.withLock { $0.append("\(mine) answered \(results)") }
                }
            } else if isExtension {
                client.held.withLock { held in
                    for index in held.indices where held[index].lease == mine.lease {
                        held[index].expires = now + .seconds(2)
                        if engine.isFailing { held[index].isVoid = true }
                    }
                }
            } else if isAck, !mine.isReplay {
                client.acked.withLock { $0.append(mine.id) }
            }
        }
    }

    private func pull(max: Int) {
        let (client, clock, engine) = (client, clock, engine)
        _ = core.pull("pulled", max: max, wait: .zero) { result in
            guard case .success(let leases) = result else { return }
            client.granted.withLock { $0 += leases.count }
            client.held.withLock { held in
                for lease in leases {
                    let id = lease.delivery.id
                    if let other = held.first(where: { $0.id == id && $0.expires > clock.now() && !$0.isVoid }) {
                        client.broken.withLock { $0.append("\(id.offset) is leased twice: \(other)") }
                    }
                    held.append(
                        .init(
                            lease: lease.id, id: id, expires: lease.expires, isReplay: lease.delivery.replay,
                            isVoid: engine.isFailing))
                }
            }
        }
    }

    /// Pulls and acknowledges all that there is now; false where there was nothing.
    private func finishClient() -> Bool {
        guard core.subscribers["pulled"] != nil else { return false }
        if client.held.withLock({ !$0.isEmpty }) {
            useClient(allowFailures: false)
            return true
        }
        let before = client.granted.withLock { $0 }
        pull(max: 10)
        while step(allowFailures: false) {}
        return client.granted.withLock { $0 } > before
    }

    /// Lets everything that waits happen, moving the clock on to the next moment at which something is due.
    func run(allowFailures: Bool, limit: Int = 200_000) -> Bool {
        for _ in 0..<limit {
            if step(allowFailures: allowFailures) { continue }
            if finishClient() { continue }
            guard isUnfinished, let wake = core.wake else { return !isUnfinished }
            clock.advance(to: wake)
            core.tick()
        }
        return false
    }

    /// What is left, for the message of a run that doesn't end.
    var leftover: String {
        "movable \(core.movable), wake \(String(describing: core.wake)), outbox \(engine.with { $0.disk.outbox.count }), "
            + core.subscribers.values.map { subscriber in
                let state = subscriber.state
                return
                    "\(subscriber.name): held \(state.held), ready \(state.ready.count), retries \(state.retries.count), in flight \(state.inFlight.count), deferred \(state.deferred), "
                    + "feeds \(state.feeds.values.map { ($0.next, $0.end.offset) }), reading \(subscriber.isReading)"
            }.joined(separator: "; ")
    }

    private var isUnfinished: Bool {
        let status = core.movable
        return status > 0 || engine.with { !$0.disk.outbox.isEmpty }
    }

    func crash() {
        crashes += 1
        let isPowerCut = engine.crash(losing: Int(random.next() % 4))
        client.held.withLock { held in
            // What a run of history had leased is only leased again.
            for index in held.indices where isPowerCut || held[index].isReplay { held[index].isVoid = true }
        }
        queue = WorkQueue()
        core = Self.makeCore(engine, clock, queue, random.next())
        start()
    }
}

/// Leases that a pulling client believes it has, over the broker's crashes.
final class SimulatedClient: Sendable {
    struct Held {
        var lease: String
        var id: DeliveryID
        var expires: Timestamp
        var isReplay: Bool
        /// What the ledger lost of it, it may not know.
        var isVoid = false
    }

    let held = Mutex<[Held]>([])
    let granted = Mutex(0)
    let acked = Mutex<[DeliveryID]>([])
    /// What went against the promise.
    let broken = Mutex<[String]>([])
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

    /// Ends as `stop` does: what has not ended is given back.
    func giveBack() {
        let (left, sink) = state.withLock { state in
            defer { state.deliveries = [] }
            return (state.deliveries, state.settle)
        }
        guard !left.isEmpty else { return }
        sink?(Settlements(others: left.map { Settlement($0.id, .returned) }))
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
