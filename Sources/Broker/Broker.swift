// SPDX-License-Identifier: Apache-2.0

import Dispatch
package import Events
import Ledger
package import Logging
import Metrics
import Routes
import Synchronization

/// Accepts events, and sees to it that every subscriber whose filter is true gets them. All its state is in
/// ``BrokerCore`` on a thread of its own; this is the door to it for any task.
package final class Broker: Sendable {
    let engine: any Engine
    let clock: any Clock
    let log: Logger
    let thread: BrokerThread
    private let topics = PublishedTopics()
    let isDraining = Atomic(false)
    /// Bytes of batches that were posted to be routed and have not been; bounds memory when routing can't keep up.
    private let routingBytes = Atomic(0)
    private let started: Timestamp
    /// For work that blocks: reading the journal and the ledger.
    let disk = DispatchQueue(label: "fairlead.disk", attributes: .concurrent)
    private let keeping = Mutex(KeepSettings())
    /// Topics of which `unless unsettled` keeps more than `retain` says, and for whom.
    let held = Mutex<[Topic: String]>([:])
    /// What became of changed subscribers; for one reader, who makes generations.
    package let probationReports: AsyncStream<ProbationReport>
    /// What reloads have replaced and is still ending.
    let retired = RetiredDestinations()
    /// The one end there is, once somebody has asked for it.
    let ending = Mutex(Ending())

    package init(engine: any Engine, clock: any Clock, log: Logger) {
        self.engine = engine
        self.clock = clock
        self.log = log
        started = clock.now()
        let disk = disk
        let door = Door()
        let core = BrokerCore(
            engine: engine, clock: clock, log: log, seed: .random(in: 0 ... .max),
            perform: { work in disk.async { work() } },
            post: { work in door.thread?.post(work) })
        let (reports, reporting) = AsyncStream.makeStream(of: ProbationReport.self)
        probationReports = reports
        core.reportProbation = { reporting.yield($0) }
        thread = BrokerThread(core: core, clock: clock)
        door.open(thread)
    }

    /// Lets the core post to the thread that is made from it.
    private final class Door: Sendable {
        private let box = Mutex<BrokerThread?>(nil)
        var thread: BrokerThread? { box.withLock { $0 } }
        func open(_ thread: BrokerThread) { box.withLock { $0 = thread } }
    }

    /// Begins to work with the first generation: reads the ledger, finishes what a crash interrupted, starts delivering.
    package func start(_ generation: Generation) async throws(Failure) {
        try await blocking { () throws(Failure) in
            try self.engine.declare(generation.table.topics)
            try self.engine.recoverOutbox()
        }
        try await removeEndedImports()
        thread.start()
        try await apply(generation)
        perform { core in core.drainOutbox() }
        retention()
    }

    /// Takes over a generation that is completely built. Returns when it is in force; what it replaced is stopped
    /// in the background, within its own deadlines.
    ///
    /// - Parameter decide: the last chance to refuse, and the place to write down what is about to happen; may block.
    /// - Throws: nothing has changed then.
    package func apply(
        _ generation: Generation, decide: @escaping @Sendable () throws(Failure) -> Void = {}
    ) async throws(Failure) {
        let table = generation.table
        try await blocking { () throws(Failure) in
            try self.engine.declare(table.topics)
            try decide()
        }
        // At most two generations live: what the one before the last left behind ends now.
        await retired.hurry()
        let (newcomers, missing) = await on { core in
            // A newcomer may be one that runs under an old name: what it has settled is read as such.
            core.handOver(renamedIn: table)
            core.flush()
            return (core.newcomers(in: table), core.missingFeeds(in: table))
        }
        let preparation: Preparation
        do throws(Failure) {
            preparation = try await blocking { () throws(Failure) in
                try Preparation.read(from: self.engine, newcomers: newcomers, missing: missing)
            }
        } catch {
            perform { core in core.keepNames() }
            throw error
        }
        let replaced = await on { core -> (generation: Int, stopping: [(any Destination, StopReason)])? in
            core.isDraining ? nil : (core.generation?.number ?? 0, core.apply(generation, preparation))
        }
        guard let replaced else {
            perform { core in core.keepNames() }
            throw Failure(.overloaded, "fairlead is shutting down")
        }
        keeping.withLock { $0 = table.keep }
        topics.replace(
            table.topics.filter { !Topic.named($0.name).isSystem }, eventBytesMax: table.server.eventBytesMax)
        fillDedupeWindows()
        retired.add(replaced.stopping, of: replaced.generation)
        do {
            try await blocking { () throws(Failure) in
                try self.engine.setRunning(Set(table.subscribers.map(\.name)))
            }
        } catch {
            // It is in force all the same, and this is written when the disk works again.
            log.error("Which subscribers run isn't written down yet", metadata: ["error": "\(error)"])
        }
    }

    /// Appended records, in order, from the engine's own thread. Kept in memory for routing as long as that keeps up.
    package func appended(_ batches: [RecordBatch]) {
        let bytes = batches.reduce(0) { $0 + $1.byteCount }
        let waiting = routingBytes.add(bytes, ordering: .relaxed).newValue
        if waiting > Limits.routingBytes {
            routingBytes.subtract(bytes, ordering: .relaxed)
            let ends = batches.map { ($0.topic, $0.last + 1) }
            thread.post { core in for (topic, end) in ends { core.routeMissed(topic, end: end) } }
        } else {
            thread.post { [self] core in
                for batch in batches { core.route(batch) }
                routingBytes.subtract(bytes, ordering: .relaxed)
            }
        }
    }

    /// What publishing to `topic` needs; nil where routes.conf declares no such topic, or it is a system topic.
    package func publishing(to topic: String) -> PublishTarget? {
        topics[topic]?.target
    }

    /// After how long `topic` drops events that somebody has not settled; nil where it doesn't, or there is none.
    package func kept(in topic: String) -> Duration? {
        topics[topic]?.kept
    }

    /// Returns when the records are durable. Throws `.overloaded` (try again) or `.storage`, and `.malformed` where the topic
    /// would drop an event before its time; then nothing was accepted.
    package func publish(_ batch: RecordBatch) async throws(Failure) -> Published {
        try await withCheckedContinuation { continuation in
            publish(batch) { continuation.resume(returning: $0) }
        }.get()
    }

    /// The same without a task of its own; `then` is called from any thread.
    package func publish(_ batch: RecordBatch, then: @escaping @Sendable (Result<Published, Failure>) -> Void) {
        guard !isDraining.load(ordering: .relaxed) else {
            return then(
                .failure(Failure(.overloaded, "fairlead is shutting down; publish again when it is back")))
        }
        guard batch.count > 0 else { return then(.success(Published(accepted: 0, duplicates: 0))) }
        guard let topic = topics[batch.topic.name] else {
            return then(.failure(Failure(.unknownTopic, "no topic \"\(batch.topic)\" in routes.conf")))
        }
        if let refusal = topic.refusal(of: batch, now: clock.now()) { return then(.failure(refusal)) }
        if let dedupe = topic.dedupe {
            // An event whose twin is on its way to the disk waits for what becomes of it.
            Task {
                do throws(Failure) {
                    then(.success(try await publish(batch, once: dedupe, topic)))
                } catch {
                    then(.failure(error))
                }
            }
            return
        }
        engine.append(batch) { result in
            then(
                result.map { range in
                    topic.published.increment(by: batch.count)
                    return Published(
                        accepted: batch.count, first: range.lowerBound, last: range.upperBound, duplicates: 0)
                })
        }
    }

    private func publish(
        _ batch: RecordBatch, once dedupe: PublishedTopic.Dedupe, _ topic: PublishedTopic
    ) async throws(Failure) -> Published {
        let (places, pairs) = await dedupe.admit(batch, now: clock.now())
        let duplicates = batch.count - places.count
        topic.duplicates.increment(by: duplicates)
        guard !places.isEmpty else { return Published(accepted: 0, duplicates: duplicates) }
        do {
            let range = try await append(duplicates == 0 ? batch : batch.selecting(places))
            dedupe.ended(pairs, succeeded: true, now: clock.now())
            let forgotten = dedupe.takeForgotten()
            if forgotten > 0 {
                if topic.forgotten.isFirst {
                    log.warning(
                        "A topic's `dedupe` remembers fewer events than came in its time; older ones would be accepted again",
                        metadata: ["topic": "\(topic.topic)", "remembered": "\(Limits.dedupeEventsMax)"])
                }
                topic.forgotten.add(forgotten)
            }
            topic.published.increment(by: places.count)
            return Published(
                accepted: places.count, first: range.lowerBound, last: range.upperBound, duplicates: duplicates)
        } catch {
            dedupe.ended(pairs, succeeded: false, now: clock.now())
            throw error
        }
    }

    func append(_ batch: RecordBatch) async throws(Failure) -> ClosedRange<Offset> {
        try await withCheckedContinuation { continuation in
            engine.append(batch) { continuation.resume(returning: $0) }
        }.get()
    }

    /// Leases up to `max` deliveries, waiting up to `wait` for the first. A task that is cancelled while it waits leases nothing.
    package func pull(_ subscriber: String, max: Int, wait: Duration) async throws(Failure) -> [Lease] {
        try await cancellable { core, reply in
            core.pull(subscriber, max: max, wait: wait, reply: reply)
        } cancel: { core, id in
            core.cancelPull(subscriber, id)
        }
    }

    /// One result for each request, in order.
    package func settle(_ subscriber: String, _ requests: [LeaseSettlement]) async throws(Failure) -> [LeaseResult] {
        try await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<[LeaseResult], Failure>, Never>) in
            perform { core in core.settleLeases(subscriber, requests) { continuation.resume(returning: $0) } }
        }.get()
    }

    /// Records of a topic from `offset` on, at most `max`; waits up to `wait` where there is none yet.
    /// `offset` nil means the next one to come.
    package func tail(
        _ topic: String, from offset: Offset?, max: Int, wait: Duration
    ) async throws(Failure) -> [Record] {
        try await cancellable { core, reply in
            core.tail(topic, from: offset, max: max, wait: wait, reply: reply)
        } cancel: { core, id in
            core.cancelTail(topic, id)
        }
    }

    /// Asks the broker for something that may take a while to come; `ask` returns a name for the wait, if it has to.
    private func cancellable<Value: Sendable>(
        _ ask: @escaping @Sendable (BrokerCore, @escaping @Sendable (Result<Value, Failure>) -> Void) -> UInt64?,
        cancel: @escaping @Sendable (BrokerCore, UInt64) -> Void
    ) async throws(Failure) -> Value {
        let wait = CancellableWait()
        return try await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Result<Value, Failure>, Never>) in
                perform { core in
                    let id = ask(core) { continuation.resume(returning: $0) }
                    if let id, wait.began(id) { cancel(core, id) }
                }
            }
        } onCancel: {
            if let id = wait.cancel() { perform { core in cancel(core, id) } }
        }.get()
    }

    /// Which of a wait's beginning and its cancellation comes first is up to two threads.
    private final class CancellableWait: Sendable {
        private let state = Mutex<(id: UInt64?, isCancelled: Bool)>((nil, false))

        /// True where it was cancelled before it began.
        func began(_ id: UInt64) -> Bool {
            state.withLock { state in
                state.id = id
                return state.isCancelled
            }
        }

        /// The wait to end, where it has begun.
        func cancel() -> UInt64? {
            state.withLock { state in
                state.isCancelled = true
                return state.id
            }
        }
    }

    /// Where each topic ended when the running generation took over: it routed the events from there on.
    package func swapEnds() async -> [String: Offset] {
        await on { core in core.swapEnds }
    }

    package func status() async -> BrokerStatus {
        let started = started
        var status = await on { core in core.status(started: started) }
        status.ending = retired.generations
        do {
            status.orphans = try await orphans()
        } catch {
            log.error("Orphans can't be read", metadata: ["error": "\(error)"])
        }
        return status
    }

    /// Stops starting deliveries for a subscriber, over reloads and restarts, until ``resume(_:)``. Nothing is lost.
    package func pause(_ subscriber: String, reason: String) async throws(Failure) {
        try await setPaused(subscriber, true, reason: reason)
    }

    package func resume(_ subscriber: String) async throws(Failure) {
        try await setPaused(subscriber, false, reason: "")
    }

    private func setPaused(_ subscriber: String, _ isPaused: Bool, reason: String) async throws(Failure) {
        try await withCheckedContinuation { (continuation: CheckedContinuation<Result<Void, Failure>, Never>) in
            perform { core in
                core.setPaused(subscriber, isPaused, reason: reason) { continuation.resume(returning: $0) }
            }
        }.get()
    }

    /// Every subscriber that anything is known of, in order of name, whether or not it is in routes.conf.
    package func knownSubscribers() async throws(Failure) -> [String] {
        try await blocking { () throws(Failure) in try self.engine.subscribers() }
    }

    /// Runs `body` on the broker's thread.
    func on<Value: Sendable>(_ body: @escaping @Sendable (BrokerCore) -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            thread.post { core in continuation.resume(returning: body(core)) }
        }
    }

    func perform(_ body: @escaping @Sendable (BrokerCore) -> Void) {
        thread.post(body)
    }

    /// Runs work that may wait for the disk on a thread that may.
    package func blocking<Value: Sendable>(
        _ body: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        try await withCheckedContinuation { (continuation: CheckedContinuation<Result<Value, Failure>, Never>) in
            disk.async { continuation.resume(returning: Result { () throws(Failure) in try body() }) }
        }.get()
    }

    /// Returns when all that the broker's thread has handed to the ledger before is on disk, as far as it must be: whoever
    /// was told that something is done finds it done after a crash.
    func written() async throws(Failure) {
        try await blocking { () throws(Failure) in try self.engine.flush() }
    }

    /// Starts to read back what windows that are new must know. Until a window knows it, publishers to its topic wait;
    /// nobody else does.
    private func fillDedupeWindows() {
        for topic in topics.all {
            guard let dedupe = topic.dedupe, dedupe.beginFilling() else { continue }
            disk.async { [self] in fill(dedupe, of: topic) }
        }
    }

    private func fill(_ dedupe: PublishedTopic.Dedupe, of topic: PublishedTopic) {
        do {
            let bounds = engine.bounds(of: topic.topic)
            // More than a window holds needn't be read.
            let newest = bounds.end - min(bounds.end, Offset(Limits.dedupeEventsMax))
            var at = max(newest, try engine.offset(at: clock.now() - dedupe.length, in: topic.topic))
            while at < bounds.end,
                let batch = try engine.read(
                    topic.topic, from: at, maxRecords: Limits.catchUpEvents, maxBytes: Limits.catchUpBytes)
            {
                dedupe.remember(batch)
                at = batch.last + 1
            }
            dedupe.filled()
        } catch {
            log.error(
                "What `dedupe` must know can't be read; publishers wait, trying again",
                metadata: ["topic": "\(topic.topic)", "error": "\(error)"])
            disk.asyncAfter(deadline: .now() + Limits.readRetryDelay.seconds) { [weak self] in
                guard let self else { return }
                guard !isDraining.load(ordering: .relaxed) else { return dedupe.filled() }
                fill(dedupe, of: topic)
            }
        }
    }

    /// What happened long ago, by `keep`.
    private func forgetOld() {
        let keep = keeping.withLock { $0 }
        do {
            let expired = try engine.expire(attempts: keep.attempts, dead: keep.dead)
            if !expired.isEmpty { thread.post { core in core.deadLettersExpired(expired) } }
        } catch {
            log.error("What is kept of old deliveries can't be removed, trying again", metadata: ["error": "\(error)"])
        }
    }

    private func retention() {
        disk.asyncAfter(deadline: .now() + Limits.retentionInterval.seconds) { [weak self] in
            guard let self, !isDraining.load(ordering: .relaxed) else { return }
            Task {
                await self.clearOld()
                await self.applyRetention()
                self.retention()
            }
        }
    }

    /// Removes what was kept for a time that is over, but for records.
    func clearOld() async {
        let isOrphanGone = await withCheckedContinuation { continuation in
            disk.async { [self] in
                forgetOld()
                continuation.resume(returning: purgeOrphans(since: clock.now() - Limits.orphanKept))
            }
        }
        guard isOrphanGone else { return }
        do {
            try await removeEndedImports()
        } catch {
            log.error(
                "The events of a forgotten subscriber's imports are not removed; the next start does it",
                metadata: ["error": "\(error)"])
        }
    }
}
