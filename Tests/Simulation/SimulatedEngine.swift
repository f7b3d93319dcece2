// SPDX-License-Identifier: Apache-2.0

package import Broker
package import Events
package import Ledger
package import Routes

/// Storage for a simulation: what is durable survives ``crash(losing:keeping:)``, what isn't may not. Everything asynchronous
/// waits until the simulation lets it happen.
// @unchecked: a simulation is driven by one thread, which runs the closures it is handed as well.
package final class SimulatedEngine: Engine, @unchecked Sendable {
    /// The records of a topic, in the order of their offsets.
    package struct TopicRecords {
        package var first: Offset = 0
        package var end: Offset = 0
        package var batches: [RecordBatch] = []
        var time = Timestamp.distantPast

        mutating func append(_ batch: RecordBatch, now: Timestamp) {
            // As the journal does where the clock was set back.
            time = max(time, now)
            batch.stamp(first: end, time: time)
            batches.append(batch)
            end += Offset(batch.count)
        }

        /// What there is from `offset` on, up to the end of a batch.
        func read(from offset: Offset) -> RecordBatch? {
            var (low, high) = (0, batches.count)
            while low < high {
                let middle = (low + high) / 2
                if batches[middle].last < offset { low = middle + 1 } else { high = middle }
            }
            guard low < batches.count else { return nil }
            let batch = batches[low]
            return offset > batch.first
                ? batch.selecting(Array(Int(offset - batch.first)..<batch.count)) : batch
        }
    }

    struct Append {
        var batch: RecordBatch
        var then: @Sendable (Result<ClosedRange<Offset>, Failure>) -> Void
    }

    package enum Commit {
        case change(LedgerChange, then: @Sendable (Result<LedgerCommit, Failure>) -> Void)
        case removal([UInt64])
    }

    package struct State {
        package var records: [String: TopicRecords] = [:]
        package var disk = SimulatedLedger()
        /// The ledger as it was before each change that is written but not synced: a crash may go back to any of them.
        var unsynced: [SimulatedLedger] = []
        var appends: [Append] = []
        package var commits: [Commit] = []
        var removed: Set<UInt64> = []
        /// The disk has no room: appends are refused, the ledger's changes wait.
        package var isFull = false
        /// How often dead letters were read by their ids.
        package var letterReads = 0
        /// Reads that will fail before one succeeds.
        package var failingReads = 0
        /// Says of each read whether it fails.
        package var onRead: (() -> Bool)?
        var faults = Faults()
    }

    private var contents = State()
    let clock: SimulatedClock
    /// Changes handed over, and those of them that are written.
    private(set) var handed = 0
    private(set) var written = 0
    /// Called with each change when it is written.
    var onCommit: (LedgerChange) -> Void = { _ in }
    var onAppend: (RecordBatch) -> Void = { _ in }
    /// Called with what is wrong.
    var onBreach: (String) -> Void = { _ in }

    init(clock: SimulatedClock) {
        self.clock = clock
    }

    package func with<Value>(_ body: (inout State) throws -> Value) rethrows -> Value {
        try body(&contents)
    }

    var ledger: SimulatedLedger { contents.disk }
    package var hasAppends: Bool { !contents.appends.isEmpty }
    package var hasCommits: Bool { !contents.commits.isEmpty }
    func end(of topic: String) -> Offset { contents.records[topic]?.end ?? 0 }

    // MARK: Records

    package func append(
        _ batch: RecordBatch, then: @escaping @Sendable (Result<ClosedRange<Offset>, Failure>) -> Void
    ) {
        contents.appends.append(Append(batch: batch, then: then))
    }

    /// Makes the oldest waiting append durable; returns it with its completion.
    package func finishAppend() -> (RecordBatch, @Sendable () -> Void)? {
        guard !contents.isFull, !contents.appends.isEmpty else { return nil }
        let next = contents.appends.removeFirst()
        write(next.batch)
        return (next.batch, { next.then(.success(next.batch.first...next.batch.last)) })
    }

    private func write(_ batch: RecordBatch) {
        contents.records[batch.topic.name, default: TopicRecords()].append(batch, now: clock.now())
        onAppend(batch)
    }

    /// Refuses the oldest waiting append, as a full disk does: nothing of it is kept.
    func refuseAppend() -> (@Sendable () -> Void)? {
        guard !contents.appends.isEmpty else { return nil }
        let next = contents.appends.removeFirst()
        contents.faults.refusedAppends += 1
        return { next.then(.failure(Failure(.storage, "no room"))) }
    }

    package func read(_ topic: Topic, from: Offset, maxRecords: Int, maxBytes: Int) throws(Failure) -> RecordBatch? {
        try failRead()
        return contents.records[topic.name]?.read(from: from)
    }

    private func failRead() throws(Failure) {
        if contents.onRead?() == true { throw Failure(.storage, "the disk can't be read") }
        guard contents.failingReads > 0 else { return }
        contents.failingReads -= 1
        contents.faults.failedReads += 1
        throw Failure(.storage, "the disk can't be read")
    }

    package func record(_ id: DeliveryID, deadLetter: Int64?) throws(Failure) -> Record? {
        guard let batch = try read(id.topic, from: id.offset, maxRecords: 1, maxBytes: 1) else { return nil }
        return batch[0].offset == id.offset ? batch[0] : nil
    }

    package func bounds(of topic: Topic) -> TopicBounds {
        let records = contents.records[topic.name]
        return TopicBounds(first: records?.first ?? 0, end: records?.end ?? 0, bytes: 0)
    }

    package func offset(at time: Timestamp, in topic: Topic) throws(Failure) -> Offset { 0 }
    package func declare(_ topics: [TopicRoute]) throws(Failure) {}
    package func expired() -> [ExpiredRecords] { [] }
    package func drop(_ topic: Topic, before end: Offset) {}

    package func flush() throws(Failure) {
        guard hasCommits else { return }
        if contents.isFull { throw Failure(.storage, "no room for the ledger") }
        while hasCommits { finishCommit()?() }
    }

    func makeImport(_ topic: Topic, first: Offset) {
        guard contents.records[topic.name] == nil else { return }
        contents.records[topic.name] = TopicRecords(first: first, end: first)
    }

    /// Removes the events of imports that no running lane has.
    func removeEndedImports() {
        let running = Set(
            contents.disk.lanes.values.filter { $0.state == .running }.flatMap { $0.details.spans.map(\.topic) })
        for topic in imports() where !running.contains(topic.name) { contents.records[topic.name] = nil }
    }

    package func createImport(_ topic: Topic, first: Offset) async throws(Failure) { makeImport(topic, first: first) }
    package func imports() -> [Topic] { contents.records.keys.sorted().map(Topic.named).filter(\.isImport) }
    /// Asked for on another thread, at no moment that a seed could repeat: they go at the next start instead.
    package func removeImport(_ topic: Topic) async throws(Failure) {}

    // MARK: The ledger

    package func commit(
        _ change: LedgerChange, then: @escaping @Sendable (Result<LedgerCommit, Failure>) -> Void
    ) {
        handed += 1
        contents.commits.append(.change(change, then: then))
    }

    /// Writes the oldest waiting change; a durable one also syncs all before it.
    package func finishCommit() -> (@Sendable () -> Void)? {
        guard !contents.isFull, !contents.commits.isEmpty else { return nil }
        let next = contents.commits.removeFirst()
        let before = contents.disk
        switch next {
        case .removal(let ids):
            contents.disk.outbox.removeAll { ids.contains($0.id) }
            contents.removed.subtract(ids)
            contents.unsynced.append(before)
            return nil
        case .change(let change, let then):
            written += 1
            let commit = contents.disk.apply(change) { id in onBreach("P3: event \(id) is published twice") }
            if change.isDurable { contents.unsynced = [] } else { contents.unsynced.append(before) }
            onCommit(change)
            return { then(.success(commit)) }
        }
    }

    /// The simulation's destinations have no scripts that would read.
    struct NoState: StateReader {
        func value(subscriber: String, key: String) throws -> [UInt8]? { nil }
        func usage(subscriber: String) throws -> StateUsage { StateUsage() }
        func values(
            subscriber: String, prefix: String, after: String?, limit: Int
        ) throws -> [(key: String, value: [UInt8])] { [] }
    }

    package var state: any StateReader { NoState() }

    package var unwritten: Int { with { $0.commits.count } }

    package func subscribers() throws(Failure) -> [String] { with { $0.disk.positions.keys.sorted() } }

    package func load(_ subscriber: String, scheduledMax: Int) throws(Failure) -> SubscriberLedger {
        try failRead()
        try flush()
        return with { state in
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
            ledger.scheduled = Array(scheduled.prefix(scheduledMax))
            ledger.scheduledCount = scheduled.count
            ledger.leases = (state.disk.leases[subscriber] ?? [:]).values.sorted { $0.id < $1.id }
            ledger.pause = state.disk.pauses[subscriber]
            ledger.standstills = (state.disk.standstills[subscriber] ?? [:]).values.map { $0 }
            return ledger
        }
    }

    package func scheduled(of subscriber: String, from place: SchedulePlace, limit: Int) throws(Failure) -> [Deferred] {
        // What was handed over before counts, as the ledger flushes first.
        try failRead()
        return with { state in
            var disk = state.disk
            for pending in state.commits {
                if case .change(let change, _) = pending { _ = disk.apply(change) }
            }
            return (disk.deferred[subscriber] ?? [:]).values
                .filter { $0.isScheduled && $0.place >= (place.due, place.topic, place.offset) }
                .sorted { $0.place < $1.place }.prefix(limit).map { $0 }
        }
    }

    package func setRunning(_ subscribers: Set<String>) throws(Failure) {}
    package func adopt(_ subscribers: Set<String>, renaming renames: [SubscriberRename]) throws(Failure) {
        for rename in renames { with { $0.disk.rename(rename.old, to: rename.new) } }
    }
    package func orphans() throws(Failure) -> [Orphan] { [] }
    package func purgeOrphan(_ subscriber: String, since moment: Timestamp) throws(Failure) -> Bool { false }

    package func lanes(of subscriber: String?, limit: Int) throws(Failure) -> [LedgerLane] {
        with { $0.disk.lanes.values.sorted { $0.id > $1.id } }
    }
    package func lastLane() throws(Failure) -> Int64 { with { $0.disk.lanes.keys.max() ?? 0 } }

    package func outbox(limit: Int) throws(Failure) -> [OutboxEvent] {
        with { state in
            state.disk.outbox.filter { !state.removed.contains($0.id) }.prefix(limit)
                .map {
                    OutboxEvent(id: $0.id, topic: $0.publication.topic, event: $0.publication.event, byteCount: 100)
                }
        }
    }

    package func removeOutbox(_ ids: [UInt64]) {
        with { state in
            state.removed.formUnion(ids)
            state.commits.append(.removal(ids))
        }
    }

    package func recoverOutbox() throws(Failure) {
        with { state in
            let there = Set(
                state.records.values.flatMap(\.batches).flatMap { batch in
                    (0..<batch.count).compactMap { batch[$0].outbox }
                })
            state.disk.outbox.removeAll { there.contains($0.id) }
        }
    }

    package func lowestDeferred(in topic: Topic) throws(Failure) -> (subscriber: String, offset: Offset)? {
        with { state in
            state.disk.deferred.flatMap { name, rows in rows.keys.filter { $0.topic == topic }.map { (name, $0.offset) }
            }
            .min { $0.1 < $1.1 }
        }
    }

    package var isFailing: Bool { with { $0.isFull } }

    package func openDeadLetters(of subscriber: String) throws(Failure) -> OpenDeadLetters {
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
        // The letter has its record with it: no read that could fail.
        contents.records[draft.topic]?.read(from: draft.offset)?[0].key
    }

    package func deadLetters(
        _ filter: DeadLetterFilter, before: Int64?, limit: Int
    ) throws(Failure) -> [DeadLetter] { [] }
    package func deadLetterIDs(_ filter: DeadLetterFilter, limit: Int) throws(Failure) -> [Int64] {
        with { $0.disk.dead.filter(\.isOpen).map(\.id) }
    }
    package func deadLetterGroups(_ filter: DeadLetterFilter, limit: Int) throws(Failure) -> [DeadLetterSummary] { [] }
    package func deadLetter(of subscriber: String, _ id: DeliveryID) throws(Failure) -> DeadLetter? { nil }
    package func mend(_ id: Int64, record: [UInt8]) throws(Failure) -> Bool { false }
    package func attempts(of subscriber: String, _ id: DeliveryID) throws(Failure) -> [Attempt] { [] }
    package func failures(of subscriber: String, limit: Int) throws(Failure) -> [Attempt] { [] }
    package func expire(attempts: Duration, dead: Duration?) throws(Failure) -> [String: Int] { [:] }
    package func deadLetter(_ id: Int64) throws(Failure) -> DeadLetter? {
        with { state in
            guard let dead = state.disk.dead.first(where: { $0.id == id }), dead.isOpen else { return nil }
            return DeadLetter(
                id: id, subscriber: dead.subscriber, topic: dead.draft.topic, offset: dead.draft.offset,
                key: key(of: dead.draft), reason: dead.draft.reason, attempts: dead.draft.attempts,
                time: dead.draft.time, event: Event(id: "\(id)", source: "/sim", type: "t"))
        }
    }
    package func deadLetters(_ ids: [Int64]) throws(Failure) -> [DeadLetter] {
        with { $0.letterReads += 1 }
        var found: [DeadLetter] = []
        for id in ids.sorted() { if let letter = try deadLetter(id) { found.append(letter) } }
        return found
    }
    package func close() {}

    /// The machine stops: of the appends that were waiting the first `kept` are there, unanswered, of the ledger's unsynced
    /// changes the last `lost` are gone.
    ///
    /// - Returns: whether anything that was written is gone.
    func crash(losing lost: Int, keeping kept: Int) -> Bool {
        if !contents.isFull {
            for append in contents.appends.prefix(kept) {
                write(append.batch)
                contents.faults.unansweredAppends += 1
            }
        }
        contents.appends = []
        contents.commits = []
        written = handed
        contents.removed = []
        contents.failingReads = 0
        let left = max(0, contents.unsynced.count - lost)
        let isPowerCut = left < contents.unsynced.count
        if isPowerCut { contents.disk = contents.unsynced[left] }
        contents.unsynced = []
        return isPowerCut
    }
}
