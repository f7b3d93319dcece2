// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Ledger
import Routes
import Synchronization

/// Storage for a simulation: what is durable survives ``crash()``, what isn't may not. Everything asynchronous waits in
/// `pending` until the simulation lets it happen.
// @unchecked: a simulation is driven by one thread, which runs the closures it is handed as well.
final class SimulatedEngine: Engine, @unchecked Sendable {
    struct Disk {
        var topics: [String: [RecordBatch]] = [:]
        var ends: [String: Offset] = [:]
        var positions: [String: [String: LedgerPosition]] = [:]
        var deferred: [String: [DeliveryID: Deferred]] = [:]
        var dead: [(id: Int64, subscriber: String, draft: NewDeadLetter, isOpen: Bool)] = []
        var state: [String: [String: StateNumber]] = [:]
        var outbox: [(id: UInt64, publication: Publication)] = []
        var lanes: [Int64: LedgerLane] = [:]
        var nextID: Int64 = 1
        var leases: [String: [UInt64: LeaseRow]] = [:]
        var pauses: [String: PauseRecord] = [:]
        var standstills: [String: [Standstill.Cause: Standstill]] = [:]

        func rows(_ name: String) -> [Deferred] {
            (deferred[name] ?? [:]).values.sorted { ($0.topic, $0.offset) < ($1.topic, $1.offset) }
        }
    }

    struct Pending {
        var append: (batch: RecordBatch, then: @Sendable (Result<ClosedRange<Offset>, Failure>) -> Void)?
        var commit: (change: LedgerChange, then: @Sendable (Result<LedgerCommit, Failure>) -> Void)?
        var removal: [UInt64] = []
    }

    struct State {
        var disk = Disk()
        /// The ledger's changes that are written but not synced: a crash keeps some of the first of them.
        var unsynced: [Disk] = []
        var appends: [Pending] = []
        var commits: [Pending] = []
        var removed: Set<UInt64> = []
        /// The disk has no room: appends are refused, the ledger's changes wait.
        var isFull = false
        /// How often dead letters were read by their ids.
        var letterReads = 0
        /// Reads that will fail before one succeeds.
        var failingReads = 0
    }

    private var contents = State()
    let clock: SimulatedClock

    init(clock: SimulatedClock) {
        self.clock = clock
    }

    func with<Value>(_ body: (inout State) throws -> Value) rethrows -> Value {
        try body(&contents)
    }

    func append(_ batch: RecordBatch, then: @escaping @Sendable (Result<ClosedRange<Offset>, Failure>) -> Void) {
        with { $0.appends.append(Pending(append: (batch, then))) }
    }

    /// Makes the oldest waiting append durable; returns it with its completion.
    func finishAppend() -> (RecordBatch, @Sendable () -> Void)? {
        let next: (batch: RecordBatch, then: @Sendable (Result<ClosedRange<Offset>, Failure>) -> Void)? = with {
            state in
            guard !state.isFull, let pending = state.appends.first?.append else { return nil }
            state.appends.removeFirst()
            let first = state.disk.ends[pending.batch.topic.name] ?? 0
            pending.batch.stamp(first: first, time: clock.now())
            state.disk.topics[pending.batch.topic.name, default: []].append(pending.batch)
            state.disk.ends[pending.batch.topic.name] = first + Offset(pending.batch.count)
            // Unsynced ledger states don't know of it, and the journal is not part of them.
            for index in state.unsynced.indices {
                state.unsynced[index].topics = state.disk.topics
                state.unsynced[index].ends = state.disk.ends
            }
            return pending
        }
        guard let next else { return nil }
        return (next.batch, { next.then(.success(next.batch.first...next.batch.last)) })
    }

    /// Refuses the oldest waiting append, as a full disk does: nothing of it is kept.
    func refuseAppend() -> (@Sendable () -> Void)? {
        guard let pending = contents.appends.first?.append else { return nil }
        contents.appends.removeFirst()
        return { pending.then(.failure(Failure(.storage, "no room"))) }
    }

    func read(_ topic: Topic, from: Offset, maxRecords: Int, maxBytes: Int) throws(Failure) -> RecordBatch? {
        if contents.failingReads > 0 {
            contents.failingReads -= 1
            throw Failure(.storage, "the disk can't be read")
        }
        return with { state in
            for batch in state.disk.topics[topic.name] ?? [] where batch.last >= from {
                let skip = from > batch.first ? Int(from - batch.first) : 0
                return skip == 0 ? batch : batch.selecting(Array(skip..<batch.count))
            }
            return nil
        }
    }

    func record(_ id: DeliveryID, deadLetter: Int64?) throws(Failure) -> Record? {
        guard let batch = try read(id.topic, from: id.offset, maxRecords: 1, maxBytes: 1) else { return nil }
        return batch[0].offset == id.offset ? batch[0] : nil
    }

    func bounds(of topic: Topic) -> TopicBounds {
        TopicBounds(first: 0, end: with { $0.disk.ends[topic.name] ?? 0 }, bytes: 0)
    }

    func offset(at time: Timestamp, in topic: Topic) throws(Failure) -> Offset { 0 }
    func declare(_ topics: [TopicRoute]) throws(Failure) {}
    func expired() -> [ExpiredRecords] { [] }
    func drop(_ topic: Topic, before end: Offset) {}
    func flush() throws(Failure) {}

    func commit(_ change: LedgerChange, then: @escaping @Sendable (Result<LedgerCommit, Failure>) -> Void) {
        with { $0.commits.append(Pending(commit: (change, then))) }
    }

    /// Writes the oldest waiting change; a durable one also syncs all before it.
    func finishCommit() -> (@Sendable () -> Void)? {
        guard !contents.isFull, let pending = contents.commits.first else { return nil }
        contents.commits.removeFirst()
        let before = contents.disk
        guard let (change, then) = pending.commit else {
            contents.disk.outbox.removeAll { pending.removal.contains($0.id) }
            contents.removed.subtract(pending.removal)
            contents.unsynced.append(before)
            return nil
        }
        let commit = Self.apply(change, to: &contents.disk)
        if change.needsSync || !change.publications.isEmpty || !change.dead.isEmpty {
            contents.unsynced = []
        } else {
            contents.unsynced.append(before)
        }
        return { then(.success(commit)) }
    }

    private static func apply(_ change: LedgerChange, to disk: inout Disk) -> LedgerCommit {
        let name = change.subscriber
        for position in change.positions { disk.positions[name, default: [:]][position.topic] = position }
        for row in change.deferred {
            switch row {
            case .put(let row):
                disk.deferred[name, default: [:]][DeliveryID(topic: .named(row.topic), offset: row.offset)] = row
            case .remove(let topic, let offset):
                disk.deferred[name]?[DeliveryID(topic: .named(topic), offset: offset)] = nil
            }
        }
        for lease in change.leases {
            switch lease {
            case .put(let row): disk.leases[name, default: [:]][row.id] = row
            case .remove(let id): disk.leases[name]?[id] = nil
            }
        }
        switch change.pause {
        case .pause(let record): disk.pauses[name] = record
        case .resume: disk.pauses[name] = nil
        case nil: break
        }
        for standstill in change.standstills {
            switch standstill {
            case .begin(let standstill): disk.standstills[name, default: [:]][standstill.cause] = standstill
            case .end(let cause): disk.standstills[name]?[cause] = nil
            }
        }
        for lane in change.lanes {
            let laneName = "$\(lane.id)"
            if let row = lane.row { disk.lanes[lane.id] = row }
            disk.lanes[lane.id]?.done = lane.done
            for position in lane.positions { disk.positions[laneName, default: [:]][position.topic] = position }
            for row in lane.deferred {
                switch row {
                case .put(let row):
                    disk.deferred[laneName, default: [:]][DeliveryID(topic: .named(row.topic), offset: row.offset)] =
                        row
                case .remove(let topic, let offset):
                    disk.deferred[laneName]?[DeliveryID(topic: .named(topic), offset: offset)] = nil
                }
            }
        }
        for letter in change.resolved { disk.dead.removeAll { $0.id == letter.id } }
        for index in disk.dead.indices where change.redriven.contains(disk.dead[index].id) {
            disk.dead[index].isOpen = false
        }
        var commit = LedgerCommit()
        for draft in change.dead {
            disk.dead.append((disk.nextID, name, draft, true))
            commit.deadLetters.append(disk.nextID)
            disk.nextID += 1
        }
        for write in change.state {
            switch write {
            case .put(let key, let value, _): disk.state[name, default: [:]][key] = StateNumber(json: value)
            case .add(let key, let delta):
                disk.state[name, default: [:]][key] = (disk.state[name]?[key] ?? .integer(0)) + delta
            case .delete(let key): disk.state[name]?[key] = nil
            }
        }
        for publication in change.publications {
            disk.outbox.append((UInt64(disk.nextID), publication))
            commit.outbox.append(UInt64(disk.nextID))
            disk.nextID += 1
        }
        return commit
    }

    /// The simulation's destinations have no scripts that would read.
    struct NoState: StateReader {
        func value(subscriber: String, key: String) throws -> [UInt8]? { nil }
        func usage(subscriber: String) throws -> StateUsage { StateUsage() }
        func values(
            subscriber: String, prefix: String, after: String?, limit: Int
        ) throws -> [(key: String, value: [UInt8])] { [] }
    }

    var state: any StateReader { NoState() }

    var unwritten: Int { with { $0.commits.count } }

    func subscribers() throws(Failure) -> [String] { with { $0.disk.positions.keys.sorted() } }

    func load(_ subscriber: String, scheduledMax: Int) throws(Failure) -> SubscriberLedger {
        with { state in
            let rows = (state.disk.deferred[subscriber] ?? [:]).values
            var ledger = SubscriberLedger(
                positions: Array((state.disk.positions[subscriber] ?? [:]).values),
                deferred: rows.filter { !$0.isScheduled }.sorted { ($0.topic, $0.offset) < ($1.topic, $1.offset) },
                lanes: state.disk.lanes.values.filter { $0.subscriber == subscriber && $0.state == .running }
                    .sorted { $0.id < $1.id }.map { lane in
                        LaneLedger(
                            lane: lane, positions: Array((state.disk.positions["$\(lane.id)"] ?? [:]).values),
                            deferred: state.disk.rows("$\(lane.id)"))
                    })
            let scheduled = rows.filter(\.isScheduled).sorted { $0.place < $1.place }
            ledger.scheduled = Array(scheduled.prefix(scheduledMax == .max ? .max : Self.scheduledMax))
            ledger.scheduledCount = scheduled.count
            ledger.leases = (state.disk.leases[subscriber] ?? [:]).values.sorted { $0.id < $1.id }
            ledger.pause = state.disk.pauses[subscriber]
            ledger.standstills = (state.disk.standstills[subscriber] ?? [:]).values.map { $0 }
            return ledger
        }
    }

    /// So few that simulations read the schedule in parts, and more than what is leased of it: a lease on a delivery that
    /// isn't in memory after a restart is lost.
    static let scheduledMax = 8

    func scheduled(of subscriber: String, from place: SchedulePlace, limit: Int) throws(Failure) -> [Deferred] {
        // What was handed over before counts, as the ledger flushes first.
        with { state in
            var disk = state.disk
            for pending in state.commits {
                if let change = pending.commit?.change { _ = Self.apply(change, to: &disk) }
            }
            return (disk.deferred[subscriber] ?? [:]).values
                .filter { $0.isScheduled && $0.place >= (place.due, place.topic, place.offset) }
                .sorted { $0.place < $1.place }.prefix(limit).map { $0 }
        }
    }

    func setRunning(_ subscribers: Set<String>) throws(Failure) {}
    func adopt(_ subscribers: [String]) throws(Failure) {}
    func orphans() throws(Failure) -> [Orphan] { [] }
    func purgeOrphan(_ subscriber: String, since moment: Timestamp) throws(Failure) -> Bool { false }

    func createImport(_ topic: Topic, first: Offset) async throws(Failure) {}
    func imports() -> [Topic] { [] }
    func removeImport(_ topic: Topic) async throws(Failure) {}
    func lanes(of subscriber: String?, limit: Int) throws(Failure) -> [LedgerLane] {
        with { $0.disk.lanes.values.sorted { $0.id > $1.id } }
    }
    func lastLane() throws(Failure) -> Int64 { with { $0.disk.lanes.keys.max() ?? 0 } }

    func rename(_ old: String, to new: String) throws(Failure) {}

    func outbox(limit: Int) throws(Failure) -> [OutboxEvent] {
        with { state in
            state.disk.outbox.filter { !state.removed.contains($0.id) }.prefix(limit)
                .map {
                    OutboxEvent(id: $0.id, topic: $0.publication.topic, event: $0.publication.event, byteCount: 100)
                }
        }
    }

    func removeOutbox(_ ids: [UInt64]) {
        with { state in
            state.removed.formUnion(ids)
            state.commits.append(Pending(removal: ids))
        }
    }

    func recoverOutbox() throws(Failure) {
        with { state in
            let there = Set(
                state.disk.topics.values.joined().flatMap { batch in
                    (0..<batch.count).compactMap { batch[$0].outbox }
                })
            state.disk.outbox.removeAll { there.contains($0.id) }
        }
    }

    func lowestDeferred(in topic: Topic) throws(Failure) -> (subscriber: String, offset: Offset)? {
        with { state in
            state.disk.deferred.flatMap { name, rows in rows.keys.filter { $0.topic == topic }.map { (name, $0.offset) }
            }
            .min { $0.1 < $1.1 }
        }
    }

    var isFailing: Bool { with { $0.isFull } }

    func openDeadLetters(of subscriber: String) throws(Failure) -> OpenDeadLetters {
        let open = with { state in state.disk.dead.filter { $0.subscriber == subscriber && $0.isOpen } }
        var found = OpenDeadLetters(count: open.count)
        for letter in open {
            guard let key = key(of: letter.draft) else { continue }
            if let lane = letter.draft.lane {
                found.laneKeys[lane, default: []].append(key)
            } else {
                found.keys.append(key)
            }
        }
        return found
    }

    private func key(of draft: NewDeadLetter) -> String? {
        (try? record(DeliveryID(topic: .named(draft.topic), offset: draft.offset), deadLetter: nil))?.key
    }

    func deadLetters(_ filter: DeadLetterFilter, before: Int64?, limit: Int) throws(Failure) -> [DeadLetter] { [] }
    func deadLetterIDs(_ filter: DeadLetterFilter, limit: Int) throws(Failure) -> [Int64] {
        with { $0.disk.dead.filter(\.isOpen).map(\.id) }
    }
    func deadLetterGroups(_ filter: DeadLetterFilter, limit: Int) throws(Failure) -> [DeadLetterSummary] { [] }
    func deadLetter(of subscriber: String, _ id: DeliveryID) throws(Failure) -> DeadLetter? { nil }
    func mend(_ id: Int64, record: [UInt8]) throws(Failure) -> Bool { false }
    func attempts(of subscriber: String, _ id: DeliveryID) throws(Failure) -> [Attempt] { [] }
    func expire(attempts: Duration, dead: Duration?) throws(Failure) -> [String: Int] { [:] }
    func deadLetter(_ id: Int64) throws(Failure) -> DeadLetter? {
        with { state in
            guard let dead = state.disk.dead.first(where: { $0.id == id }), dead.isOpen else { return nil }
            return DeadLetter(
                id: id, subscriber: dead.subscriber, topic: dead.draft.topic, offset: dead.draft.offset,
                key: key(of: dead.draft), reason: dead.draft.reason, attempts: dead.draft.attempts,
                time: dead.draft.time, event: Event(id: "\(id)", source: "/sim", type: "t"))
        }
    }
    func deadLetters(_ ids: [Int64]) throws(Failure) -> [DeadLetter] {
        with { $0.letterReads += 1 }
        var found: [DeadLetter] = []
        for id in ids.sorted() { if let letter = try deadLetter(id) { found.append(letter) } }
        return found
    }
    func close() {}

    /// The machine stops: appends that were waiting are gone, of the ledger's unsynced changes the last `lost` are.
    ///
    /// - Returns: whether anything that was written is gone.
    func crash(losing lost: Int) -> Bool {
        with { state in
            state.appends = []
            state.commits = []
            state.removed = []
            let kept = max(0, state.unsynced.count - lost)
            let isPowerCut = kept < state.unsynced.count
            if isPowerCut { state.disk = state.unsynced[kept] }
            state.unsynced = []
            return isPowerCut
        }
    }
}

extension Deferred {
    fileprivate var isScheduled: Bool { attempts == 0 && due != nil && deadLetter == nil }
    fileprivate var place: (Timestamp, String, Offset) { (due ?? .distantPast, topic, offset) }
}

final class SimulatedClock: Clock {
    private let time = Mutex(Timestamp(milliseconds: 1_700_000_000_000))

    func now() -> Timestamp { time.withLock { $0 } }
    func advance(_ duration: Duration) { time.withLock { $0 = $0 + duration } }
    func advance(to moment: Timestamp) { time.withLock { $0 = max($0, moment) } }
}
