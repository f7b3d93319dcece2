// SPDX-License-Identifier: Apache-2.0

package import Events
import Foundation
import GRDB
import Synchronization

extension Ledger {
    // MARK: Subscribers

    /// Every subscriber that has anything in the ledger, in order of name. Blocks.
    package func subscribers() throws(Failure) -> [String] {
        try flush()
        return shared.withLock { $0.subscribers.keys.sorted() }
    }

    /// What is known of a subscriber, all changes handed over before included; nothing of one never seen. Blocks.
    package func load(_ subscriber: String) throws(Failure) -> SubscriberLedger {
        try flush()
        guard let id = shared.withLock({ $0.subscribers[subscriber] }) else {
            return SubscriberLedger(positions: [], deferred: [])
        }
        return try read { db in
            let positions = try Row.fetchAll(
                db, sql: "SELECT topic, position, settled FROM position WHERE subscriber = ? ORDER BY topic",
                arguments: [id]
            ).map { row in
                let position = row.offset(1)
                let topic: String = row[0]
                guard let settled = SettledRanges.decode(row.bytes(2), above: position) else {
                    throw Failure(
                        .storage,
                        "the ledger's position of subscriber \"\(subscriber)\" in topic \"\(topic)\" is damaged")
                }
                return LedgerPosition(topic: topic, position: position, settled: settled)
            }
            let deferred = try Row.fetchAll(
                db,
                sql: """
                    SELECT topic, offset, attempts, due, key, reason, trace, replay, dead FROM deferred
                    WHERE subscriber = ? ORDER BY topic, offset
                    """, arguments: [id]
            ).map { row in
                Deferred(
                    topic: row[0], offset: row.offset(1), attempts: row[2], due: row.time(3),
                    key: (row[4] as Data?).map { String(decoding: $0, as: UTF8.self) }, reason: row[5],
                    trace: row[6], replay: row[7], deadLetter: row[8])
            }
            return SubscriberLedger(positions: positions, deferred: deferred)
        }
    }

    /// Of a subscriber's state, as its last migration left it; nil where there was none. Blocks.
    package func stateVersion(of subscriber: String) throws(Failure) -> Int? {
        try flush()
        guard let id = shared.withLock({ $0.subscribers[subscriber] }) else { return nil }
        return try read { db in
            try Int.fetchOne(db, sql: "SELECT state_version FROM subscriber WHERE id = ?", arguments: [id])
        }
    }

    /// Gives all that is known of `old` to `new`; false where nothing is, perhaps as it was renamed before. Blocks.
    @discardableResult
    package func renameSubscriber(_ old: String, to new: String) throws(Failure) -> Bool {
        try perform(isDurable: true, isAlone: true) { [self] db in
            let known = shared.withLock { $0.subscribers }
            guard let id = known[old] else { return false }
            guard known[new] == nil else {
                throw Failure(.conflict, "the ledger has a subscriber \"\(new)\" already: forget it first")
            }
            try db.execute(sql: "UPDATE subscriber SET name = ? WHERE id = ?", arguments: [new, id])
            return true
        } afterwards: { [self] in
            shared.withLock { shared in
                if let id = shared.subscribers.removeValue(forKey: old) { shared.subscribers[new] = id }
            }
        }
    }

    /// Removes all that is known of a subscriber, its dead letters and state included.
    package func forget(_ subscriber: String) throws(Failure) {
        try perform(isDurable: true, isAlone: true) { [self] db in
            guard let id = shared.withLock({ $0.subscribers[subscriber] }) else {
                throw Failure(.unknownSubscriber, "the ledger knows no subscriber \"\(subscriber)\"")
            }
            for table in ["position", "deferred", "dead", "state", "state_usage"] {
                try db.execute(sql: "DELETE FROM \(table) WHERE subscriber = ?", arguments: [id])
            }
            try db.execute(sql: "DELETE FROM subscriber WHERE id = ?", arguments: [id])
        } afterwards: { [self] in
            shared.withLock { $0.subscribers[subscriber] = nil }
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

    // MARK: Dead letters

    /// Newest first; `before` continues a listing. Those sent again are left out unless asked for. Blocks.
    package func deadLetters(
        subscriber: String? = nil, before: Int64? = nil, limit: Int, includingRedriven: Bool = false
    ) throws(Failure) -> [KeptDeadLetter] {
        var id: Int64?
        if let subscriber {
            id = shared.withLock { $0.subscribers[subscriber] }
            if id == nil { return [] }
        }
        return try read { [id] db in
            try Self.letters(
                db,
                where: """
                    dead.id < ? AND (? IS NULL OR dead.subscriber = ?) AND (? OR dead.redriven IS NULL)
                    ORDER BY dead.id DESC LIMIT ?
                    """,
                arguments: [before ?? .max, id, id, includingRedriven, limit])
        }
    }

    /// Whether or not it has been sent again. Blocks.
    package func deadLetter(_ id: Int64) throws(Failure) -> KeptDeadLetter? {
        try read { db in try Self.letters(db, where: "dead.id = ?", arguments: [id]).first }
    }

    /// How many there are of each subscriber that has any, those sent again left out. Blocks.
    package func deadLetterCounts() throws(Failure) -> [String: Int] {
        try read { db in
            let rows = try Row.fetchAll(
                db.cachedStatement(
                    sql: """
                        SELECT subscriber.name, count(*) FROM dead INDEXED BY dead_subscriber
                        JOIN subscriber ON subscriber.id = dead.subscriber
                        WHERE dead.redriven IS NULL GROUP BY dead.subscriber
                        """))
            return Dictionary(uniqueKeysWithValues: rows.map { ($0[0], $0[1]) })
        }
    }

    /// How many dead letters of a subscriber weren't sent again, and the keys of their events, each once. Blocks.
    package func openDeadLetters(of subscriber: String) throws(Failure) -> (count: Int, keys: [String]) {
        try flush()
        guard let id = shared.withLock({ $0.subscribers[subscriber] }) else { return (0, []) }
        return try read { db in
            let count = try Int.fetchOne(
                db, sql: "SELECT count(*) FROM dead WHERE subscriber = ? AND redriven IS NULL", arguments: [id])
            let keys = try Data.fetchAll(
                db,
                sql: """
                    SELECT DISTINCT key FROM dead
                    WHERE subscriber = ? AND redriven IS NULL AND key IS NOT NULL ORDER BY key
                    """, arguments: [id])
            return (count ?? 0, keys.map { String(decoding: $0, as: UTF8.self) })
        }
    }

    /// Dead letters that are being sent again; returns those that existed and were not so before. Blocks.
    package func markRedriven(_ ids: [Int64]) throws(Failure) -> [Int64] {
        let now = clock.now()
        return try perform(isDurable: true) { db in
            try ids.filter { id in
                try db.execute(
                    sql: "UPDATE dead SET redriven = ? WHERE id = ? AND redriven IS NULL",
                    arguments: [now.milliseconds, id])
                return db.changesCount > 0
            }
        }
    }

    /// Removes a dead letter; false where there is none. Blocks.
    package func discard(_ id: Int64) throws(Failure) -> Bool {
        try perform(isDurable: true) { db in
            try db.execute(sql: "DELETE FROM dead WHERE id = ?", arguments: [id])
            return db.changesCount > 0
        }
    }

    private static func letters(
        _ db: Database, where condition: String, arguments: StatementArguments
    ) throws -> [KeptDeadLetter] {
        let statement = try db.cachedStatement(
            sql: """
                SELECT dead.id, subscriber.name, topic, offset, reason, trace, attempts, time, record, redriven
                FROM dead JOIN subscriber ON subscriber.id = dead.subscriber WHERE \(condition)
                """)
        return try Row.fetchAll(statement, arguments: arguments).map { row in
            KeptDeadLetter(
                id: row[0], subscriber: row[1],
                letter: NewDeadLetter(
                    topic: row[2], offset: row.offset(3), reason: row[4], trace: row[5], attempts: row[6],
                    time: row.time(7) ?? .distantPast, record: row.bytes(8)),
                redriven: row.time(9))
        }
    }

    // MARK: Generations

    package func recordGeneration(_ generation: LedgerGeneration) throws(Failure) {
        try perform(isDurable: true) { db in
            try db.execute(
                sql: """
                    INSERT OR REPLACE INTO generation (number, hash, time, "trigger", verdict, files)
                    VALUES (?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    generation.number, generation.hash, generation.time.milliseconds, generation.trigger,
                    generation.verdict, generation.files.map { Data($0) },
                ])
        }
    }

    /// Newest first. Blocks.
    package func generations(limit: Int) throws(Failure) -> [LedgerGeneration] {
        try read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT number, hash, time, "trigger", verdict, files FROM generation
                    ORDER BY number DESC LIMIT ?
                    """, arguments: [limit]
            ).map { row in
                LedgerGeneration(
                    number: row[0], hash: row[1], time: row.time(2) ?? .distantPast, trigger: row[3],
                    verdict: row[4], files: (row[5] as Data?).map { Array($0) })
            }
        }
    }
}

extension Row {
    func offset(_ index: Int) -> Offset {
        Offset(bitPattern: self[index] as Int64)
    }
}
