// SPDX-License-Identifier: Apache-2.0

package import Events
import Foundation
import GRDB
import Synchronization

extension Ledger {
    /// Newest first; `before` continues a listing. Blocks.
    package func deadLetters(
        _ filter: DeadLetterFilter = DeadLetterFilter(), before: Int64? = nil, limit: Int
    ) throws(Failure) -> [KeptDeadLetter] {
        guard let condition = condition(filter) else { return [] }
        return try read { db in
            try Self.letters(
                db, where: "\(condition.sql) AND dead.id < ? ORDER BY dead.id DESC LIMIT ?",
                arguments: condition.arguments + [before ?? .max, limit])
        }
    }

    /// The ids of all that fit, the oldest first. Blocks.
    package func deadLetterIDs(_ filter: DeadLetterFilter, limit: Int) throws(Failure) -> [Int64] {
        guard let condition = condition(filter) else { return [] }
        return try read { db in
            try Int64.fetchAll(
                db, sql: "SELECT dead.id FROM dead WHERE \(condition.sql) ORDER BY dead.id LIMIT ?",
                arguments: condition.arguments + [limit])
        }
    }

    /// Open dead letters by what they have in common, the largest group first. Blocks.
    package func deadLetterGroups(_ filter: DeadLetterFilter, limit: Int) throws(Failure) -> [DeadLetterSummary] {
        guard let condition = condition(filter) else { return [] }
        return try read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT subscriber.name, grouped, max(place), count(*), min(time), max(time), max(dead.id)
                    FROM dead JOIN subscriber ON subscriber.id = dead.subscriber WHERE \(condition.sql)
                    GROUP BY dead.subscriber, grouped ORDER BY count(*) DESC, max(dead.id) DESC LIMIT ?
                    """, arguments: condition.arguments + [limit]
            ).map { row in
                let sample: Int64 = row[6]
                let reason = try String.fetchOne(
                    db.cachedStatement(sql: "SELECT reason FROM dead WHERE id = ?"), arguments: [sample])
                return DeadLetterSummary(
                    subscriber: row[0], group: DeadLetterGroup(id: row[1], place: row[2]), count: row[3],
                    first: row.time(4) ?? .distantPast, last: row.time(5) ?? .distantPast, sample: sample,
                    reason: reason ?? "")
            }
        }
    }

    /// Whatever became of it. Blocks.
    package func deadLetter(_ id: Int64) throws(Failure) -> KeptDeadLetter? {
        try read { db in try Self.letters(db, where: "dead.id = ?", arguments: [id]).first }
    }

    /// The newest dead letter of one delivery. Blocks.
    package func deadLetter(
        of subscriber: String, topic: String, offset: Offset
    ) throws(Failure) -> KeptDeadLetter? {
        try flush()
        guard let id = shared.withLock({ $0.subscribers[subscriber] }) else { return nil }
        return try read { db in
            try Self.letters(
                db, where: "dead.subscriber = ? AND topic = ? AND offset = ? ORDER BY dead.id DESC LIMIT 1",
                arguments: [id, topic, Int64(bitPattern: offset)]
            ).first
        }
    }

    /// How many open ones there are of each subscriber that has any. Blocks.
    package func deadLetterCounts() throws(Failure) -> [String: Int] {
        try read { db in
            let rows = try Row.fetchAll(
                db.cachedStatement(
                    sql: """
                        SELECT subscriber.name, count(*) FROM dead INDEXED BY dead_open
                        JOIN subscriber ON subscriber.id = dead.subscriber
                        WHERE dead.redriven IS NULL AND dead.resolved IS NULL GROUP BY dead.subscriber
                        """))
            return Dictionary(uniqueKeysWithValues: rows.map { ($0[0], $0[1]) })
        }
    }

    /// How many open dead letters a subscriber has, and the keys of their events, each once for its lane. Blocks.
    package func openDeadLetters(of subscriber: String) throws(Failure) -> OpenDeadLetters {
        try flush()
        guard let id = shared.withLock({ $0.subscribers[subscriber] }) else { return OpenDeadLetters() }
        return try read { db in
            let open = "subscriber = ? AND redriven IS NULL AND resolved IS NULL"
            let count = try Int.fetchOne(db, sql: "SELECT count(*) FROM dead WHERE \(open)", arguments: [id])
            var found = OpenDeadLetters(count: count ?? 0)
            let rows = try Row.fetchAll(
                db, sql: "SELECT DISTINCT lane, key FROM dead WHERE \(open) AND key IS NOT NULL ORDER BY key",
                arguments: [id])
            for row in rows {
                let key = String(decoding: row.bytes(1), as: UTF8.self)
                if let lane = row[0] as Int64? {
                    found.laneKeys[lane, default: []].append(key)
                } else {
                    found.keys.append(key)
                }
            }
            return found
        }
    }

    /// Keeps `record` beside the original: it is what is delivered when the dead letter is sent again. False where
    /// there is no such dead letter, or it isn't open. Blocks.
    package func mend(_ id: Int64, record: [UInt8]) throws(Failure) -> Bool {
        let now = clock.now()
        return try perform(isDurable: true) { db in
            try db.execute(
                sql: """
                    UPDATE dead SET mended = ?, mended_time = ?
                    WHERE id = ? AND redriven IS NULL AND resolved IS NULL
                    """, arguments: [Data(record), now.milliseconds, id])
            return db.changesCount > 0
        }
    }

    private struct Condition {
        var sql: String
        var arguments: StatementArguments
    }

    /// Nil where nothing can fit, as the ledger knows no such subscriber.
    private func condition(_ filter: DeadLetterFilter) -> Condition? {
        var sql =
            switch filter.state {
            case .open: ["dead.redriven IS NULL AND dead.resolved IS NULL"]
            case .underway: ["dead.redriven IS NOT NULL AND dead.resolved IS NULL"]
            case .resolved: ["dead.resolved IS NOT NULL"]
            case .any: ["1"]
            }
        var arguments: StatementArguments = []
        if let subscriber = filter.subscriber {
            guard let id = shared.withLock({ $0.subscribers[subscriber] }) else { return nil }
            sql.append("dead.subscriber = ?")
            arguments += [id]
        }
        if let topic = filter.topic {
            // Those of imports are kept under the topic that their events waited in: `$import.7.orders`.
            sql.append(
                """
                (dead.topic = ? OR dead.topic GLOB '$import.[0-9]*'
                  AND substr(dead.topic, 9 + instr(substr(dead.topic, 9), '.')) = ?)
                """)
            arguments += [topic, topic]
        }
        if let group = filter.group {
            sql.append("dead.grouped = ?")
            arguments += [group]
        }
        if let since = filter.since {
            sql.append("dead.time >= ?")
            arguments += [since.milliseconds]
        }
        if let text = filter.text {
            sql.append("instr(lower(dead.reason), lower(?)) > 0")
            arguments += [text]
        }
        return Condition(sql: sql.joined(separator: " AND "), arguments: arguments)
    }

    /// Those of these that there are, whatever became of them, in the order of their ids. Blocks.
    package func deadLetters(_ ids: [Int64]) throws(Failure) -> [KeptDeadLetter] {
        let list = "[\(ids.map(String.init).joined(separator: ","))]"
        return try read { db in
            try Self.letters(
                db, where: "dead.id IN (SELECT value FROM json_each(?)) ORDER BY dead.id", arguments: [list])
        }
    }

    private static func letters(
        _ db: Database, where condition: String, arguments: StatementArguments
    ) throws -> [KeptDeadLetter] {
        let statement = try db.cachedStatement(
            sql: """
                SELECT dead.id, subscriber.name, topic, offset, reason, trace, attempts, time, record, redriven,
                  generation, grouped, place, previous, mended, mended_time, resolved, resolution, note, lane
                FROM dead JOIN subscriber ON subscriber.id = dead.subscriber WHERE \(condition)
                """)
        return try Row.fetchAll(statement, arguments: arguments).map { row in
            var letter = KeptDeadLetter(
                id: row[0], subscriber: row[1],
                letter: NewDeadLetter(
                    topic: row[2], offset: row.offset(3), reason: row[4], trace: row[5], attempts: row[6],
                    time: row.time(7) ?? .distantPast, generation: row[10], previous: row[13], record: row.bytes(8)),
                group: DeadLetterGroup(id: row[11], place: row[12]),
                mended: (row[14] as Data?).map { Array($0) }, mendedTime: row.time(15),
                redriven: row.time(9), resolved: row.time(16),
                resolution: (row[17] as String?).flatMap { DeadLetterEnd(name: $0, note: row[18]) })
            letter.letter.lane = row[19]
            return letter
        }
    }
}
