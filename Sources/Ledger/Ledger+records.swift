// SPDX-License-Identifier: Apache-2.0

package import Events
import Foundation
import GRDB
import Logging
import Synchronization

extension Ledger {
    // MARK: Subscribers

    /// Every subscriber that has anything in the ledger, in order of name. Blocks.
    package func subscribers() throws(Failure) -> [String] {
        try flush()
        return shared.withLock { shared in
            shared.subscribers.keys.filter { !LedgerLane.isName($0) && !shared.renamed.contains($0) }.sorted()
        }
    }

    /// What is known of a subscriber, all changes handed over before included; nothing of one never seen. Of scheduled
    /// deliveries the first `scheduledMax`. Blocks.
    package func load(
        _ subscriber: String, scheduledMax: Int = Limits.scheduledMax
    ) throws(Failure) -> SubscriberLedger {
        try flush()
        let known = shared.withLock { $0.subscribers }
        guard let id = known[subscriber] else { return SubscriberLedger(positions: [], deferred: []) }
        return try read { [self] db in
            var found = SubscriberLedger(
                positions: try positions(db, of: id, subscriber),
                deferred: try Self.deferred(of: id, "attempts > 0 OR due IS NULL OR dead IS NOT NULL", db),
                lanes: try runningLanes(db, of: id, known))
            found.scheduled = try Self.scheduled(of: id, from: nil, limit: scheduledMax, db)
            found.scheduledCount =
                try Int.fetchOne(
                    db, sql: "SELECT count(*) FROM deferred WHERE subscriber = ? AND \(Self.isScheduled)",
                    arguments: [id]) ?? 0
            found.leases = try Row.fetchAll(
                db, sql: "SELECT id, expires, deliveries FROM lease WHERE subscriber = ? ORDER BY id", arguments: [id]
            ).compactMap { row in
                guard let runs = LeaseRow.decode(row.bytes(2)) else {
                    // Without it its deliveries are only leased again.
                    log.warning("A lease in the ledger is damaged", metadata: ["subscriber": "\(subscriber)"])
                    return nil
                }
                return LeaseRow(id: row.offset(0), expires: Timestamp(milliseconds: row[1]), runs: runs)
            }
            found.pause = try Row.fetchOne(
                db, sql: "SELECT since, cause, reason FROM pause WHERE subscriber = ?", arguments: [id]
            ).map { row in
                PauseRecord(
                    since: Timestamp(milliseconds: row[0]), cause: PauseRecord.Cause(rawValue: row[1]) ?? .hand,
                    reason: row[2])
            }
            found.standstills = try Row.fetchAll(
                db, sql: "SELECT cause, since, reason, fingerprint FROM standstill WHERE subscriber = ?",
                arguments: [id]
            ).compactMap { row in
                guard let cause = Standstill.Cause(rawValue: row[0]) else { return nil }
                return Standstill(
                    cause: cause, since: Timestamp(milliseconds: row[1]), reason: row[2], fingerprint: row[3])
            }
            return found
        }
    }

    func positions(_ db: Database, of id: Int64, _ name: String) throws -> [LedgerPosition] {
        try Row.fetchAll(
            db, sql: "SELECT topic, position, settled FROM position WHERE subscriber = ? ORDER BY topic",
            arguments: [id]
        ).map { row in
            let position = row.offset(1)
            let topic: String = row[0]
            guard let settled = SettledRanges.decode(row.bytes(2), above: position) else {
                throw Failure(
                    .storage, "the ledger's position of subscriber \"\(name)\" in topic \"\(topic)\" is damaged")
            }
            return LedgerPosition(topic: topic, position: position, settled: settled)
        }
    }

    static func deferred(of id: Int64, _ condition: String, _ db: Database) throws -> [Deferred] {
        try Row.fetchAll(
            db,
            sql: """
                SELECT \(deferredColumns) FROM deferred WHERE subscriber = ? AND (\(condition)) ORDER BY topic, offset
                """, arguments: [id]
        ).map(deferred)
    }

    /// Of a subscriber's state, as its last migration left it; nil where there was none. Blocks.
    package func stateVersion(of subscriber: String) throws(Failure) -> Int? {
        try flush()
        guard let id = shared.withLock({ $0.subscribers[subscriber] }) else { return nil }
        return try read { db in
            try Int.fetchOne(db, sql: "SELECT state_version FROM subscriber WHERE id = ?", arguments: [id])
        }
    }

    /// The lowest offset that a row of any subscriber needs of a topic, all changes handed over before included; rows of
    /// dead letters have their records with them. Blocks.
    package func lowestDeferred(in topic: String) throws(Failure) -> (subscriber: String, offset: Offset)? {
        try flush()
        return try read { db in
            try Row.fetchOne(
                db,
                sql: """
                    SELECT coalesce(owner.name, subscriber.name), offset FROM deferred
                    JOIN subscriber ON subscriber.id = deferred.subscriber
                    LEFT JOIN lane ON subscriber.name = ? || lane.id
                    LEFT JOIN subscriber owner ON owner.id = lane.subscriber
                    WHERE topic = ? AND dead IS NULL ORDER BY offset LIMIT 1
                    """, arguments: [LedgerLane.namePrefix, topic]
            ).map { ($0[0], $0.offset(1)) }
        }
    }

    /// Scheduled deliveries from a place in their order on, the first due first, all changes handed over before
    /// included. Blocks.
    package func scheduled(
        of subscriber: String, from place: SchedulePlace, limit: Int
    ) throws(Failure) -> [Deferred] {
        try flush()
        guard let id = shared.withLock({ $0.subscribers[subscriber] }) else { return [] }
        return try read { db in try Self.scheduled(of: id, from: place, limit: limit, db) }
    }

    /// As the partial index has it.
    private static let isScheduled = "attempts = 0 AND due IS NOT NULL AND dead IS NULL"
    private static let deferredColumns = "topic, offset, attempts, due, key, reason, trace, replay, dead"

    private static func scheduled(
        of subscriber: Int64, from place: SchedulePlace?, limit: Int, _ db: Database
    ) throws -> [Deferred] {
        try Row.fetchAll(
            db,
            sql: """
                SELECT \(deferredColumns) FROM deferred
                WHERE subscriber = ? AND \(isScheduled) AND (due, topic, offset) >= (?, ?, ?)
                ORDER BY due, topic, offset LIMIT ?
                """,
            arguments: [
                subscriber, place?.due.milliseconds ?? .min, place?.topic ?? "",
                Int64(bitPattern: place?.offset ?? 0), limit,
            ]
        ).map(deferred)
    }

    private static func deferred(_ row: Row) -> Deferred {
        Deferred(
            topic: row[0], offset: row.offset(1), attempts: row[2], due: row.time(3),
            key: (row[4] as Data?).map { String(decoding: $0, as: UTF8.self) }, reason: row[5], trace: row[6],
            replay: row[7], deadLetter: row[8])
    }

    /// Removes all that is known of a subscriber, its dead letters and state included.
    package func forget(_ subscriber: String) throws(Failure) {
        let gone = Mutex<[String]>([])
        try perform(isDurable: true, isAlone: true) { [self] db in
            guard let id = shared.withLock({ $0.subscribers[subscriber] }) else {
                throw Failure(.unknownSubscriber, "the ledger knows no subscriber \"\(subscriber)\"")
            }
            let names = try Self.remove(id, db) + [subscriber]
            gone.withLock { $0 = names }
        } afterwards: { [self] in
            forgetNames(gone.withLock { $0 })
        }
    }

    // MARK: Outbox

    /// The oldest events of the outbox whose change is committed. Blocks.
    package func outbox(limit: Int) throws(Failure) -> [OutboxRow] {
        try read { db in
            try Row.fetchAll(
                db.cachedStatement(sql: "SELECT id, topic, record FROM outbox ORDER BY id LIMIT ?"),
                arguments: [limit]
            ).map { OutboxRow(id: $0.offset(0), topic: $0[1], record: $0.bytes(2)) }
        }
    }

    /// All rows by topic, without their events; in order. Blocks.
    package func outboxMarks() throws(Failure) -> [String: [OutboxMark]] {
        try read { db in
            var marks: [String: [OutboxMark]] = [:]
            let rows = try Row.fetchCursor(db, sql: "SELECT id, topic, topic_end FROM outbox ORDER BY id")
            while let row = try rows.next() {
                marks[row[1], default: []].append(OutboxMark(id: row.offset(0), topicEnd: row.offset(2)))
            }
            return marks
        }
    }

    /// The topic ends before what its rows say, as a power cut took its last records: what comes from now on comes at
    /// `end` or later. On disk when it returns. Blocks.
    package func lowerOutboxEnds(of topic: String, to end: Offset) throws(Failure) {
        try perform(isDurable: true) { db in
            try db.execute(
                sql: "UPDATE outbox SET topic_end = ?1 WHERE topic = ?2 AND topic_end > ?1",
                arguments: [Int64(bitPattern: end), topic])
        }
    }

    /// Events that are in their topics now. Not synced: after a power cut the rows may be back, and the journal's
    /// records tell that they are done.
    package func removeOutbox(_ ids: [UInt64], then: @escaping @Sendable (Failure?) -> Void = { _ in }) {
        let job = Job(
            isDurable: false, isAlone: false,
            body: { db in
                let statement = try db.cachedStatement(sql: "DELETE FROM outbox WHERE id = ?")
                for id in ids { try statement.execute(arguments: [Int64(bitPattern: id)]) }
            }, then: then)
        if !enqueue(job) { then(Failure(.storage, "the ledger is closed")) }
    }
}

extension Row {
    func offset(_ index: Int) -> Offset {
        Offset(bitPattern: self[index] as Int64)
    }
}
