// SPDX-License-Identifier: Apache-2.0

package import Events
import Logging
import Synchronization

extension Journal {
    /// Hands a batch over and returns when it is durable; the batch is stamped then.
    ///
    /// - Throws: `.overloaded` where too much waits or the disk is full: try again later. `.storage` where the topic takes
    ///   no more until ``reopen(_:)``. Nothing of the batch will be read in either case.
    package func append(_ batch: RecordBatch) async throws(Failure) -> ClosedRange<Offset> {
        let result = await withCheckedContinuation { continuation in
            append(batch) { continuation.resume(returning: $0) }
        }
        return try result.get()
    }

    /// Hands a batch over; `then` is called once, on the writing thread or, for a refusal, on the caller's.
    package func append(
        _ batch: RecordBatch, then: @escaping @Sendable (Result<ClosedRange<Offset>, Failure>) -> Void
    ) {
        if let refusal = refusal(of: batch) { return then(.failure(refusal)) }
        let refusal: Failure? = queue.notify { queue in
            guard queue.isOpen else { return Failure(.storage, "the journal is closed") }
            // A batch that alone is beyond the bound is taken when nothing else waits.
            let isFull =
                queue.events + batch.count > Limits.journalWaitingEventsMax
                || queue.bytes + batch.byteCount > Limits.journalWaitingBytesMax
            guard !isFull || queue.waiting.isEmpty else {
                return Failure(
                    .overloaded,
                    "\(queue.events) events (\(queue.bytes) bytes) wait to be written; the limits are \(Limits.journalWaitingEventsMax) and \(Limits.journalWaitingBytesMax): publish again shortly"
                )
            }
            queue.waiting.append(Pending(batch: batch, then: then))
            queue.events += batch.count
            queue.bytes += batch.byteCount
            return nil
        }
        if let refusal { then(.failure(refusal)) }
    }

    private func refusal(of batch: RecordBatch) -> Failure? {
        guard batch.count > 0 else { return Failure(.malformed, "the batch for topic \"\(batch.topic)\" is empty") }
        guard batch.byteCount > Limits.recordBytesMax else { return nil }
        for index in 0..<batch.count where batch[index].byteCount > Limits.recordBytesMax {
            return Failure(
                .tooLarge,
                "the event is \(batch[index].byteCount) bytes as stored; the limit is \(Limits.recordBytesMax)",
                index: index)
        }
        return nil
    }

    /// Batches and bytes that wait for the writer.
    package var waiting: (events: Int, bytes: Int) {
        queue.withLock { ($0.events, $0.bytes) }
    }

    /// Syncs a topic's records at this interval, not at each commit: a power cut may then lose what was acknowledged
    /// within it. Nil goes back to each commit.
    package func setSyncInterval(_ topic: Topic, _ interval: Duration?) throws(Failure) {
        try log(topic).syncInterval.withLock { $0 = interval }
    }

    /// Takes up writing a topic again after its disk has failed. What is known to be on disk stays.
    package func reopen(_ topic: Topic) async throws(Failure) {
        let log = try log(topic)
        let result: Result<Void, Failure> = await withCheckedContinuation { continuation in
            onWriter { [self] in
                do {
                    if let lost = try log.reopen(now: clock.now(), log: self.log) { note(lost) }
                    continuation.resume(returning: .success(()))
                } catch {
                    continuation.resume(
                        returning: .failure(Failure(.storage, "topic \"\(topic)\" can't be reopened: \(error)")))
                }
            }
        }
        try result.get()
    }

    /// Why a topic takes no appends; nil where it does.
    package func failure(of topic: Topic) async throws(Failure) -> Failure? {
        let log = try log(topic)
        return await withCheckedContinuation { continuation in
            onWriter {
                continuation.resume(returning: log.writer.failure.map { Self.refusal(topic, after: $0) })
            }
        }
    }

    /// Runs `job` on the writing thread between two commits; at once where nothing is open.
    func onWriter(_ job: @escaping @Sendable () -> Void) {
        let isQueued = queue.notify { queue in
            if queue.isOpen, writing == .thread {
                queue.jobs.append(job)
                return true
            }
            return false
        }
        if !isQueued { job() }
    }

    // MARK: The writing thread

    func run() {
        while true {
            let due = nextSync()
            let isDone = queue.wait(timeout: due) { queue -> Bool? in
                if !queue.waiting.isEmpty || !queue.jobs.isEmpty { return false }
                return queue.isOpen ? nil : true
            }
            if isDone == true { return }
            step()
        }
    }

    /// One group commit. Only for a journal whose ``Writing`` is manual, and for its own thread.
    ///
    /// - Returns: whether more waits.
    @discardableResult
    package func step() -> Bool {
        let (group, jobs, more) = queue.withLock { queue in
            var bytes = 0
            var count = 0
            while count < queue.waiting.count, count == 0 || bytes < Limits.commitBytesMax {
                bytes += queue.waiting[count].batch.byteCount
                count += 1
            }
            let group = Array(queue.waiting.prefix(count))
            queue.waiting.removeFirst(count)
            queue.bytes -= bytes
            queue.events -= group.reduce(0) { $0 + $1.batch.count }
            let jobs = queue.jobs
            queue.jobs = []
            return (group, jobs, !queue.waiting.isEmpty)
        }
        for job in jobs { job() }
        if !group.isEmpty { commit(group) }
        syncDue()
        return more
    }

    /// What of one group went to one topic.
    private struct Share {
        var log: TopicLog
        var pending: [Pending]
        var written = 0
        /// Of those written, how many are durable, as their segment is full and was synced.
        var synced = 0
        var failure: Failure?
    }

    private func commit(_ group: [Pending]) {
        let now = clock.now()
        var shares: [Share] = []
        var places: [Topic: Int] = [:]
        for pending in group {
            if let place = places[pending.batch.topic] {
                shares[place].pending.append(pending)
            } else if let log = logs.withLock({ $0[pending.batch.topic] }) {
                places[pending.batch.topic] = shares.count
                shares.append(Share(log: log, pending: [pending]))
            } else {
                let topic = pending.batch.topic
                pending.then(.failure(Failure(.unknownTopic, "topic \"\(topic)\" has no journal: create it first")))
            }
        }
        for index in shares.indices { write(&shares[index], now: now) }
        for index in shares.indices { sync(&shares[index], now: now) }
        let durable = shares.flatMap { share in share.pending.prefix(share.written) }
        if !durable.isEmpty { router.withLock { $0 }.route(durable.map(\.batch)) }
        for share in shares {
            for pending in share.pending.prefix(share.written) {
                pending.then(.success(pending.batch.first...pending.batch.last))
            }
            for pending in share.pending.dropFirst(share.written) {
                pending.then(.failure(share.failure ?? Failure(.storage, "topic \"\(share.log.topic)\" failed")))
            }
        }
    }

    private func write(_ share: inout Share, now: Timestamp) {
        let log = share.log
        if let failure = log.writer.failure {
            share.failure = Self.refusal(log.topic, after: failure)
            return
        }
        do {
            while share.written < share.pending.count {
                let batches = share.pending[share.written...].lazy.map(\.batch)
                if !log.fits(batches[share.written].byteCount, now: now) {
                    // Syncs: what was written so far is durable.
                    try log.roll(now: now, log: self.log)
                    share.synced = share.written
                }
                var run: [RecordBatch] = []
                var bytes = 0
                for batch in batches {
                    if !run.isEmpty, !log.fits(bytes + batch.byteCount, now: now) { break }
                    run.append(batch)
                    bytes += batch.byteCount
                }
                try log.write(run, now: now)
                share.written += run.count
            }
        } catch {
            share.failure = Self.refusal(log.topic, after: error)
            self.log.error(
                "Append failed", metadata: ["topic": "\(log.topic)", "error": "\(error)"])
        }
    }

    private func sync(_ share: inout Share, now: Timestamp) {
        let log = share.log
        guard share.written > 0 || log.writer.failure == nil else { return }
        do {
            if log.writer.failure != nil {
                // A write failed for good after others went well; nothing more is trusted.
                share.written = share.synced
                return
            }
            if log.mustSync(now: now) { try log.sync() }
            log.publish()
            log.checkpointIndex(log: self.log)
        } catch {
            share.written = share.synced
            share.failure = Self.refusal(log.topic, after: error)
            self.log.error(
                "Sync failed; the topic takes no events until it is reopened",
                metadata: ["topic": "\(log.topic)", "error": "\(error)"])
        }
    }

    static func refusal(_ topic: Topic, after error: StorageError) -> Failure {
        if error.isFull {
            return Failure(
                .overloaded,
                "the disk is full, topic \"\(topic)\" can't be written (\(error)): free space, then publish again")
        }
        return Failure(
            .storage,
            "topic \"\(topic)\" takes no events since its disk failed (\(error)): check the disk, then restart fairlead"
        )
    }

    // MARK: Sync intervals

    private func syncDue() {
        let now = clock.now()
        for log in logs.withLock({ Array($0.values) }) where log.writer.unsyncedSince != nil {
            guard log.writer.failure == nil, log.mustSync(now: now) else { continue }
            do {
                try log.sync()
                log.checkpointIndex(log: self.log)
            } catch {
                self.log.error(
                    "Sync failed; the topic takes no events until it is reopened",
                    metadata: ["topic": "\(log.topic)", "error": "\(error)"])
            }
        }
    }

    private func nextSync() -> Duration? {
        let now = clock.now()
        return logs.withLock { logs in
            logs.values.compactMap { log -> Duration? in
                guard log.writer.failure == nil, let since = log.writer.unsyncedSince,
                    let interval = log.syncInterval.withLock({ $0 })
                else { return nil }
                return max(.zero, interval - (now - since))
            }.min()
        }
    }
}
