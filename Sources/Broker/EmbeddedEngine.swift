// SPDX-License-Identifier: Apache-2.0

package import Events
package import Journal
package import Ledger
package import Logging
package import Routes
import Synchronization

/// The engine in the box: the journal for records, the ledger for everything that is settled.
package final class EmbeddedEngine: Engine {
    private let journal: Journal
    /// Where imported events wait; the journal itself where there is no other.
    private let imported: Journal
    private let ledger: Ledger
    private let log: Logger
    /// Outbox rows whose removal was asked for and isn't committed.
    private let removing = Mutex<Set<UInt64>>([])

    package init(journal: Journal, imported: Journal? = nil, ledger: Ledger, log: Logger) {
        self.journal = journal
        self.imported = imported ?? journal
        self.ledger = ledger
        self.log = log
    }

    private func journal(of topic: Topic) -> Journal { topic.isImport ? imported : journal }

    package func append(
        _ batch: RecordBatch, then: @escaping @Sendable (Result<ClosedRange<Offset>, Failure>) -> Void
    ) {
        journal(of: batch.topic).append(batch, then: then)
    }

    package func read(
        _ topic: Topic, from: Offset, maxRecords: Int, maxBytes: Int
    ) throws(Failure) -> RecordBatch? {
        try journal(of: topic).read(topic, from: from, maxRecords: maxRecords, maxBytes: maxBytes)
    }

    package func record(_ id: DeliveryID, deadLetter: Int64?) throws(Failure) -> Record? {
        if let deadLetter {
            guard let kept = try ledger.deadLetter(deadLetter) else { return nil }
            return kept.batch?[0]
        }
        guard let batch = try journal(of: id.topic).read(id.topic, from: id.offset, maxRecords: 1, maxBytes: 1),
            batch.count > 0, batch.first == id.offset
        else { return nil }
        return batch[0]
    }

    package func bounds(of topic: Topic) -> TopicBounds {
        guard let bounds = journal(of: topic).bounds(topic) else { return TopicBounds(first: 0, end: 0, bytes: 0) }
        return TopicBounds(first: bounds.first, end: bounds.end, bytes: bounds.bytes)
    }

    package func offset(at time: Timestamp, in topic: Topic) throws(Failure) -> Offset {
        try journal.offset(at: time, in: topic)
    }

    package func declare(_ topics: [TopicRoute]) throws(Failure) {
        for route in topics {
            let topic = Topic.named(route.name)
            try journal.create(topic)
            try journal.setRetention(topic, age: route.retainAge, bytes: route.retainBytes)
            try journal.setSyncInterval(topic, route.syncInterval)
        }
    }

    package func expired() -> [ExpiredRecords] {
        journal.expired().map { ExpiredRecords(topic: $0.topic, segments: $0.segments) }
    }

    package func drop(_ topic: Topic, before end: Offset) {
        journal.drop(topic, before: end)
    }

    package func flush() throws(Failure) {
        try ledger.flush()
    }

    package func createImport(_ topic: Topic, first: Offset) async throws(Failure) {
        try await imported.create(topic, first: first)
    }

    package func imports() -> [Topic] { imported.topics().filter(\.isImport) }

    package func removeImport(_ topic: Topic) async throws(Failure) { try await imported.remove(topic) }

    package func lanes(of subscriber: String?, limit: Int) throws(Failure) -> [LedgerLane] {
        try ledger.lanes(of: subscriber, limit: limit)
    }

    package func lastLane() throws(Failure) -> Int64 { try ledger.lastLane() }

    package func commit(
        _ change: LedgerChange, then: @escaping @Sendable (Result<LedgerCommit, Failure>) -> Void
    ) {
        guard !change.publications.isEmpty else { return ledger.commit(change, then: then) }
        var change = change
        for name in Set(change.publications.map(\.topic)) {
            change.topicEnds[name] = journal.bounds(Topic.named(name))?.end
        }
        ledger.commit(change, then: then)
    }

    package var state: any StateReader { ledger }

    package var unwritten: Int { ledger.pressure.changes }

    package var isFailing: Bool { ledger.isFailing }

    package func subscribers() throws(Failure) -> [String] {
        try ledger.subscribers()
    }

    package func load(_ subscriber: String, scheduledMax: Int) throws(Failure) -> SubscriberLedger {
        try ledger.load(subscriber, scheduledMax: scheduledMax)
    }

    package func scheduled(
        of subscriber: String, from place: SchedulePlace, limit: Int
    ) throws(Failure) -> [Deferred] {
        try ledger.scheduled(of: subscriber, from: place, limit: limit)
    }

    package func setRunning(_ subscribers: Set<String>) throws(Failure) {
        try ledger.setRunning(subscribers)
    }

    package func adopt(_ subscribers: Set<String>, renaming renames: [SubscriberRename]) throws(Failure) {
        try ledger.adopt(subscribers, renaming: renames)
    }

    package func orphans() throws(Failure) -> [Orphan] {
        try ledger.orphans()
    }

    package func purgeOrphan(_ subscriber: String, since moment: Timestamp) throws(Failure) -> Bool {
        try ledger.purgeOrphan(subscriber, since: moment)
    }

    package func lowestDeferred(in topic: Topic) throws(Failure) -> (subscriber: String, offset: Offset)? {
        try ledger.lowestDeferred(in: topic.name)
    }

    package func outbox(limit: Int) throws(Failure) -> [OutboxEvent] {
        let leaving = removing.withLock { $0 }
        return try ledger.outbox(limit: limit + leaving.count).filter { !leaving.contains($0.id) }.prefix(limit)
            .map { row throws(Failure) in
                guard let record = row.batch?[0] else {
                    throw Failure(.storage, "row \(row.id) of the ledger's outbox is damaged; run `fairlead verify`")
                }
                return OutboxEvent(id: row.id, topic: row.topic, event: record.event, byteCount: row.record.count)
            }
    }

    package func removeOutbox(_ ids: [UInt64]) {
        removing.withLock { $0.formUnion(ids) }
        ledger.removeOutbox(ids) { [self] failure in
            if let failure {
                log.error("Outbox rows not removed", metadata: ["error": "\(failure)"])
            } else {
                removing.withLock { $0.subtract(ids) }
            }
        }
    }

    package func recoverOutbox() throws(Failure) {
        let report = try OutboxRecovery(journal, ledger).search()
        guard report.rows > 0 else { return }
        log.notice(
            "Events of plugins were on their way when the process ended",
            metadata: [
                "events": "\(report.rows)", "in their topics": "\(report.found.count)",
                "records read": "\(report.recordsRead)",
            ])
        if !report.found.isEmpty { removeOutbox(report.found) }
    }

    package func openDeadLetters(of subscriber: String) throws(Failure) -> OpenDeadLetters {
        try ledger.openDeadLetters(of: subscriber)
    }

    package func deadLetters(
        _ filter: DeadLetterFilter, before: Int64?, limit: Int
    ) throws(Failure) -> [DeadLetter] {
        try ledger.deadLetters(filter, before: before, limit: limit).compactMap { DeadLetter($0) }
    }

    package func deadLetterIDs(_ filter: DeadLetterFilter, limit: Int) throws(Failure) -> [Int64] {
        try ledger.deadLetterIDs(filter, limit: limit)
    }

    package func deadLetterGroups(
        _ filter: DeadLetterFilter, limit: Int
    ) throws(Failure) -> [DeadLetterSummary] {
        try ledger.deadLetterGroups(filter, limit: limit)
    }

    package func deadLetter(_ id: Int64) throws(Failure) -> DeadLetter? {
        try ledger.deadLetter(id).flatMap { DeadLetter($0) }
    }

    package func deadLetters(_ ids: [Int64]) throws(Failure) -> [DeadLetter] {
        try ledger.deadLetters(ids).compactMap { DeadLetter($0) }
    }

    package func deadLetter(of subscriber: String, _ id: DeliveryID) throws(Failure) -> DeadLetter? {
        try ledger.deadLetter(of: subscriber, topic: id.topic.name, offset: id.offset).flatMap { DeadLetter($0) }
    }

    package func mend(_ id: Int64, record: [UInt8]) throws(Failure) -> Bool {
        try ledger.mend(id, record: record)
    }

    package func attempts(of subscriber: String, _ id: DeliveryID) throws(Failure) -> [Attempt] {
        try ledger.attempts(of: subscriber, topic: id.topic.name, offset: id.offset)
    }

    package func failures(of subscriber: String, limit: Int) throws(Failure) -> [Attempt] {
        try ledger.failures(of: subscriber, limit: limit)
    }

    package func expire(attempts: Duration, dead: Duration?) throws(Failure) -> [String: Int] {
        let now = ledger.now
        try ledger.purgeAttempts(before: now - attempts)
        try ledger.expireLanes(before: now - Limits.lanesKept, keeping: Limits.lanesShown)
        guard let dead else { return [:] }
        return try ledger.expireDeadLetters(before: now - dead)
    }

    package func close() {
        journal.close()
        if imported !== journal { imported.close() }
        ledger.close()
    }
}

extension OutboxRow {
    fileprivate var batch: RecordBatch? { RecordBatch.single(record, topic: topic) }
}

extension KeptDeadLetter {
    /// What is delivered when it is sent again.
    fileprivate var batch: RecordBatch? { RecordBatch.single(mended ?? letter.record, topic: letter.topic) }
}

extension DeadLetter {
    fileprivate init?(_ kept: KeptDeadLetter) {
        guard let record = RecordBatch.single(kept.letter.record, topic: kept.letter.topic)?[0] else { return nil }
        self.init(
            id: kept.id, subscriber: kept.subscriber, topic: kept.letter.topic, offset: kept.letter.offset,
            key: record.key, reason: kept.letter.reason, trace: kept.letter.trace, attempts: kept.letter.attempts,
            time: kept.letter.time, event: record.event)
        generation = kept.letter.generation
        group = kept.group
        previous = kept.letter.previous
        lane = kept.letter.lane
        mended = kept.mended == nil ? nil : kept.batch?[0].event
        mendedTime = kept.mendedTime
        redriven = kept.redriven
        resolved = kept.resolved
        end = kept.resolution
    }
}
