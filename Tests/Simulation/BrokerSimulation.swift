// SPDX-License-Identifier: Apache-2.0

package import Broker
import CFairlead
package import Events
import Ledger
import Logging
package import Routes
import Synchronization

/// A broker that runs without threads: every piece of waiting work is a step, taken in an order that the seed decides.
/// The machine may stop between any two steps and start again from what is durable. After each step ``PromiseModel`` is
/// asked whether all is as it was promised.
package final class BrokerSimulation {
    package let clock = SimulatedClock()
    package let engine: SimulatedEngine
    package internal(set) var table: RouteTable
    package private(set) var generation = 1
    package private(set) var core: BrokerCore
    package internal(set) var destinations: [String: SimulatedDestination] = [:]
    package var random: SeededGenerator
    /// Every delivery that a destination was given, in order of the answers, by subscriber.
    package private(set) var delivered: [String: [Delivered]] = [:]
    package private(set) var steps = 0
    let failure: Double
    let bounds: MemoryBounds
    let model = PromiseModel()
    let client = SimulatedClient()
    var importer: SimulatedImporter?
    var changes = SimulatedChanges()
    /// Destinations that a reload has replaced and that hold deliveries still.
    var replaced: [SimulatedDestination] = []
    private var queue = WorkQueue()
    private var counts = Faults()

    package struct Delivered {
        package var id: DeliveryID
        package var key: String?
        package var outcome: Outcome
        package var isReplay: Bool
    }

    private final class WorkQueue: Sendable {
        let posted = Mutex<[@Sendable (BrokerCore) -> Void]>([])
        let performing = Mutex<[@Sendable () -> Void]>([])
        let reports = Mutex<[ProbationReport]>([])
        /// What is done on the broker's thread right before what is posted next.
        let prelude = Mutex<(@Sendable () -> Void)?>(nil)

        func post(_ work: @escaping @Sendable (BrokerCore) -> Void) {
            let prelude = prelude.withLock { prelude in
                defer { prelude = nil }
                return prelude
            }
            posted.withLock { posted in
                guard let prelude else { return posted.append(work) }
                posted.append { core in
                    prelude()
                    work(core)
                }
            }
        }
    }

    /// The simulation is driven by one thread; the closures it hands out run on that thread.
    struct Unchecked<Value>: @unchecked Sendable {
        var value: Value
        init(_ value: Value) { self.value = value }
    }

    package init(
        seed: UInt64, table: RouteTable, failure: Double, bounds: MemoryBounds = BrokerSimulation.bounds
    ) {
        random = SeededGenerator(seed: seed)
        self.table = table
        self.failure = failure
        self.bounds = bounds
        engine = SimulatedEngine(clock: clock)
        core = Self.makeCore(engine, clock, queue, model, seed, bounds)
        let (model, engine, clock) = (model, engine, clock)
        engine.onAppend = { model.appended($0, echoed: engine.ledger.echoed) }
        engine.onCommit = { model.committed($0, engine.ledger, latest: clock.latest) }
        engine.onBreach = { model.breach($0) }
        model.onRefund = { [unowned self] in count(\.refunded) }
        start()
    }

    /// Memory as it is in a server, but for the schedule, which is read in parts.
    package static var bounds: MemoryBounds {
        var bounds = MemoryBounds()
        bounds.scheduledMax = 8
        return bounds
    }

    private static func makeCore(
        _ engine: SimulatedEngine, _ clock: SimulatedClock, _ queue: WorkQueue, _ model: PromiseModel, _ seed: UInt64,
        _ bounds: MemoryBounds
    ) -> BrokerCore {
        var log = Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() }
        log.logLevel = .critical
        let core = BrokerCore(
            engine: engine, clock: clock, log: log, seed: seed, bounds: bounds,
            perform: { work in queue.performing.withLock { $0.append(work) } },
            post: { work in queue.post(work) })
        let told = Unchecked(model)
        core.reportProbation = { report in
            told.value.probationEnded(report)
            queue.reports.withLock { $0.append(report) }
        }
        return core
    }

    package var breaches: [String] { model.breaches }

    package var faults: Faults {
        var faults = engine.with { $0.faults }
        faults += counts
        return faults
    }

    func count(_ fault: WritableKeyPath<Faults, Int>) { counts[keyPath: fault] += 1 }

    /// Runs `work` on the broker's thread, as what another thread posts.
    func post(_ work: @escaping @Sendable (BrokerCore) -> Void) { queue.post(work) }

    private func start() {
        engine.with { $0.failingReads = 0 }
        try! engine.recoverOutbox()
        engine.removeEndedImports()
        destinations = [:]
        replaced = []
        for route in table.subscribers where !route.isPulled { destinations[route.name] = makeDestination(route) }
        // Reads don't fail here, so this doesn't throw.
        try! apply(changes.resume(in: table, generation: generation))
        model.probationsRestarted(generation, core.subscribers.compactMapValues(\.probation), bad: table.bad)
        core.drainOutbox()
    }

    func makeDestination(_ route: SubscriberRoute) -> SimulatedDestination {
        let me = Unchecked(self)
        let name = route.name
        return SimulatedDestination(isOrdered: route.ordered, isBad: route.isBad) { destination, deliveries in
            if me.value.core.subscribers[name]?.destination !== destination {
                me.value.model.breach("P5: \(name) was removed or changed, and what it was is still given deliveries")
            }
            for delivery in deliveries { me.value.began(delivery, of: name) }
        }
    }

    private func began(_ delivery: Delivery, of name: String) {
        model.began(
            delivery, of: name, in: lane(of: delivery.id, name), now: clock.now(), latest: clock.latest,
            unwritten: engine.unwritten, bounds: bounds)
    }

    func lane(of id: DeliveryID, _ name: String) -> LedgerLane? {
        core.subscribers[name]?.history.first { $0.state.inFlight[id] != nil }?.row
    }

    /// Puts the table in force, with those on probation that are named.
    ///
    /// - Throws: where reads fail.
    func apply(_ probations: [String: BadReloadAction] = [:]) throws(Failure) {
        for route in table.subscribers {
            let filter = route.filter
            model.configure(route.name, isOrdered: route.ordered, ttl: route.ttl) { fact in
                filter == nil || fact.key != SimulatedTables.refusedKey
            }
        }
        let preparation = try Preparation.read(
            from: engine, newcomers: core.newcomers(in: table), missing: core.missingFeeds(in: table), bounds: bounds)
        var next = Generation(number: generation, table: table, destinations: destinations, fingerprints: [:])
        next.probations = probations
        next.badReloads = changes.badReloads
        for (old, _) in core.apply(next, preparation) {
            if let old = old as? SimulatedDestination { replaced.append(old) }
        }
    }

    /// The next generation's number.
    func countGeneration() { generation += 1 }

    // MARK: What happens from outside

    /// The disk becomes full, or has room again.
    package func setFull(_ isFull: Bool) { engine.with { $0.isFull = isFull } }
    package func failReads(_ count: Int) { engine.with { $0.failingReads = count } }

    package func setClockBack(_ duration: Duration) {
        count(\.clockSetBack)
        clock.advance(.zero - duration)
        core.tick()
    }

    /// Some events are delivered later where they `mayWait`, and some not at all after a while where they `mayExpire`.
    package func publish(_ topic: String, key: String, count: Int, mayWait: Bool = true, mayExpire: Bool = true) {
        var builder = RecordBatchBuilder(topic: .named(topic), key: SubjectKey(), capacity: 256)
        var ids: [String] = []
        for _ in 0..<count {
            var attributes: [Event.Attribute] = [.init("subject", .string(key))]
            switch random.next() % 16 {
            case 0 where mayWait, 1 where mayWait:
                attributes.append(.init("deliverafter", .string("\(random.next() % 4_000)ms")))
            case 2 where mayExpire:
                attributes.append(.init("expirytime", .string("\(random.next() % 4_000 + 1)ms")))
            case 3 where mayExpire:
                let wait = random.next() % 4_000
                attributes.append(.init("deliverafter", .string("\(wait)ms")))
                attributes.append(.init("expirytime", .string("\(wait + random.next() % 2_000 + 1)ms")))
            default: break
            }
            ids.append("e\(random.next())")
            builder.append(Event(id: ids[ids.count - 1], source: "/test", type: "t", attributes: attributes))
        }
        let (model, published) = (Unchecked(model), ids)
        engine.append(builder.finish()) { result in
            if case .success(let range) = result { model.value.accepted(range, published, in: topic) }
        }
    }

    /// The machine stops and starts again.
    package func crash() {
        let isPowerCut = engine.crash(losing: Int(random.next() % 4), keeping: Int(random.next() % 3))
        count(isPowerCut ? \.powerCuts : \.kills)
        client.held.withLock { held in
            // What a run of history had leased is only leased again.
            for index in held.indices where isPowerCut || held[index].isReplay { held[index].isVoid = true }
        }
        importer?.crashed()
        model.crashed(engine.ledger, latest: clock.latest)
        queue = WorkQueue()
        core = Self.makeCore(engine, clock, queue, model, random.next(), bounds)
        start()
    }

    // MARK: Steps

    private enum Choice {
        case posted
        case performing
        case refusal
        case giveBack
        case append
        case commit
        case importing
        case report
        case answer(String, SimulatedDestination)
    }

    /// Takes one step of whatever waits; false where nothing does.
    @discardableResult
    package func step(allowFailures: Bool) -> Bool {
        var choices: [Choice] = []
        if queue.posted.withLock({ !$0.isEmpty }) { choices.append(.posted) }
        let waiting = queue.performing.withLock { $0.count }
        if waiting > 0 { choices.append(.performing) }
        let isFull = engine.with { $0.isFull }
        if engine.hasAppends { choices.append(isFull ? .refusal : .append) }
        if !replaced.isEmpty { choices.append(.giveBack) }
        if engine.hasCommits, !isFull { choices.append(.commit) }
        if importer?.mayGoOn(written: engine.written) == true { choices.append(.importing) }
        if queue.reports.withLock({ !$0.isEmpty }) { choices.append(.report) }
        for route in table.subscribers {
            if let destination = destinations[route.name], !destination.isIdle {
                choices.append(.answer(route.name, destination))
            }
        }
        if choices.isEmpty { return false }
        steps += 1
        switch choices[Int(random.next() % UInt64(choices.count))] {
        case .posted: queue.posted.withLock { $0.removeFirst() }(core)
        case .performing:
            let index = Int(random.next() % UInt64(waiting))
            queue.performing.withLock { $0.remove(at: index) }()
        case .refusal: engine.refuseAppend()?()
        case .giveBack: replaced.removeFirst().giveBack()
        case .append: finishAppend()
        case .commit: engine.finishCommit()?()
        case .importing: advanceImport()
        case .report: conclude(queue.reports.withLock { $0.removeFirst() })
        case .answer(let name, let destination): answer(name, destination, allowFailures)
        }
        model.checkMemory(core)
        return true
    }

    private func finishAppend() {
        guard let (batch, done) = engine.finishAppend() else { return }
        if random.next() % 16 == 0, !batch.topic.isImport {
            count(\.missedBatches)
            let (topic, end) = (batch.topic, batch.last + 1)
            post { core in core.routeMissed(topic, end: end) }
        } else {
            let shown = Unchecked(batch)
            post { core in core.route(shown.value) }
        }
        done()
    }

    private func answer(_ name: String, _ destination: SimulatedDestination, _ allowFailures: Bool) {
        let isOrderedLane = random.next() % 2 == 0
        guard let delivery = destination.take(isOrderedLane ? 0 : random.next()) else { return }
        let roll = Double(random.next() % 1_000) / 1_000
        let outcome: Outcome
        var trace: String?
        if destination.isBad {
            // What it asks for is refused for good, or it asks to be tried again.
            let isRefused = roll < 0.2
            trace = isRefused ? "bad.lua:1" : nil
            outcome = isRefused ? .dead(reason: "refused") : .retry(after: nil, reason: "bad")
        } else if allowFailures && roll < failure {
            let isPoison = roll < failure / 10
            count(isPoison ? \.poison : \.failedAttempts)
            outcome = isPoison ? .dead(reason: "poison") : .retry(after: nil, reason: "not now")
        } else {
            outcome = .ack
        }
        let lane = lane(of: delivery.id, name)
        delivered[name, default: []].append(
            Delivered(id: delivery.id, key: delivery.record.key, outcome: outcome, isReplay: delivery.replay))
        if outcome == .ack { model.acked(delivery.id, by: name, in: lane) }
        if !destination.collisions.isEmpty {
            model.breach("\(name): two lanes had \(destination.collisions) or their key in flight")
        }
        var effects: Effects?
        if outcome == .ack, name == "counter" {
            effects = Effects(
                state: [.add(key: "count", delta: .integer(1))],
                publications: [
                    Publication(
                        topic: "echo",
                        event: Event(
                            id: "\(delivery.id.topic)/\(delivery.id.offset)/\(lane.map { "\($0.id)" } ?? "live")",
                            source: "/counter", type: "echo",
                            attributes: [.init("subject", .string(delivery.record.key ?? ""))]))
                ])
        }
        var settlement = Settlement(delivery.id, outcome, effects: effects, trace: trace)
        if name == "pushed" { settlement.endpoint = endpointSign(outcome, isBad: destination.isBad) }
        if outcome != .ack {
            let (told, sign) = (Unchecked(model), settlement.sign)
            queue.prelude.withLock { prelude in
                prelude = { told.value.failed(delivery, of: name, in: lane, sign) }
            }
        }
        destination.settle(settlement)
    }

    private func endpointSign(_ outcome: Outcome, isBad: Bool) -> EndpointSign? {
        if isBad { return random.next() % 12 == 0 ? .gone : .failing }
        guard case .retry = outcome else { return .up }
        let signs: [EndpointSign?] = [
            .failing, .failing, .unreachable, .refusing, .up, .busy(.seconds(Int(random.next() % 5))), nil,
        ]
        return signs[Int(random.next() % UInt64(signs.count))]
    }

    /// Lets everything that waits happen, moving the clock on to the next moment at which something is due.
    package func run(allowFailures: Bool, limit: Int = 200_000) -> Bool {
        for _ in 0..<limit {
            if step(allowFailures: allowFailures) {
                if !breaches.isEmpty { return true }
                continue
            }
            if finishClient() { continue }
            guard isUnfinished, let wake = core.wake else { return !isUnfinished }
            clock.advance(to: wake)
            core.tick()
        }
        return false
    }

    /// Whether something moves by itself: not what a failed change has paused.
    private var isUnfinished: Bool {
        core.subscribers.values.contains { subscriber in
            !subscriber.state.settings.paused && subscriber.movable > 0
        } || queue.reports.withLock { !$0.isEmpty } || importer != nil
            || engine.with { !$0.disk.outbox.isEmpty }
    }

    /// What is left, for the message of a run that doesn't end.
    package var leftover: String {
        "movable \(core.movable), wake \(String(describing: core.wake)), outbox \(engine.with { $0.disk.outbox.count }), "
            + "import \(String(describing: importer)), "
            + core.subscribers.values.map { subscriber in
                let state = subscriber.state
                return
                    "\(subscriber.name): held \(state.held), reading \(state.reading), startable \(state.startable), "
                    + "in flight \(state.inFlight.count), deferred \(state.deferred), feeds "
                    + "\(state.feeds.values.map { ($0.next, $0.end.offset) }), history \(subscriber.history.map(\.row))"
            }.joined(separator: "; ")
    }

    package func offsets(ofKey key: String) -> [Offset] {
        guard let facts = model.facts["in"] else { return [] }
        return facts.list.indices.filter { facts.list[$0].key == key }.map { facts.first + Offset($0) }
    }
}

extension SubscriberRoute {
    var isPulled: Bool { if case .pull = delivery { true } else { false } }
}

/// The key is the event's subject.
package struct SubjectKey: KeyExtractor {
    package init() {}

    package func withKey(of record: UnsafeRawPointer, _ body: (UnsafeRawBufferPointer) -> Void) {
        var name = "subject"
        name.withUTF8 { name in
            let span = fl_record_attribute(record, name.baseAddress, name.count)
            if let bytes = span.bytes { body(UnsafeRawBufferPointer(start: bytes, count: span.length)) }
        }
    }
}
