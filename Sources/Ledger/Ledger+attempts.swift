// SPDX-License-Identifier: Apache-2.0

package import Events
import Foundation
import GRDB
import Synchronization

extension Ledger {
    /// What is kept of the attempts on one delivery, the oldest first. A first attempt that was one of many acknowledged
    /// together has their times. Blocks.
    package func attempts(of subscriber: String, topic: String, offset: Offset) throws(Failure) -> [Attempt] {
        try flush()
        guard let id = shared.withLock({ $0.subscribers[subscriber] }) else { return [] }
        return try read { db in
            let rows = try Row.fetchAll(
                db.cachedStatement(
                    sql: """
                        SELECT number, began, ended, outcome, reason, trace, generation, replay, published FROM attempt
                        WHERE subscriber = ? AND topic = ? AND offset = ? ORDER BY id
                        """),
                arguments: [id, topic, Int64(bitPattern: offset)])
            var attempts = try rows.map { try Self.attempt($0, topic, offset) }
            let passed = try Row.fetchCursor(
                db.cachedStatement(
                    sql: """
                        SELECT first, offsets, began, ended, generation, replay FROM passed
                        WHERE subscriber = ? AND topic = ? AND bucket = ? ORDER BY id
                        """),
                arguments: [id, topic, Int64(bitPattern: offset >> PassedDeliveries.bucketBits)])
            while let row = try passed.next() {
                guard let ranges = SettledRanges.decode(row.bytes(1), above: row.offset(0)) else {
                    throw Failure(.storage, "a row of the ledger's attempts is damaged; run `fairlead verify`")
                }
                guard ranges.contains(where: { $0.contains(offset) }) else { continue }
                attempts.append(
                    Attempt(
                        topic: topic, offset: offset, number: 1, began: row.time(2) ?? .distantPast,
                        ended: row.time(3) ?? .distantPast, outcome: .ack, generation: row[4], replay: row[5]))
            }
            return attempts.sorted { $0.ended < $1.ended }
        }
    }

    private static func attempt(_ row: Row, _ topic: String, _ offset: Offset) throws -> Attempt {
        let published: String? = row[8]
        return Attempt(
            topic: topic, offset: offset, number: row[0], began: row.time(1) ?? .distantPast,
            ended: row.time(2) ?? .distantPast, outcome: Attempt.Outcome(rawValue: row[3]) ?? .retry,
            reason: row[4], trace: row[5], generation: row[6], replay: row[7],
            published: try published.map { try JSONDecoder().decode([PublishedName].self, from: Data($0.utf8)) } ?? [])
    }

    /// The last failed attempts of a subscriber, the newest first, among the last ``Limits/failureScanMax`` attempts that
    /// are kept of all subscribers. Blocks.
    package func failures(of subscriber: String, limit: Int) throws(Failure) -> [Attempt] {
        try flush()
        guard let id = shared.withLock({ $0.subscribers[subscriber] }) else { return [] }
        return try read { db in
            let rows = try Row.fetchAll(
                db.cachedStatement(
                    sql: """
                        SELECT number, began, ended, outcome, reason, trace, generation, replay, published, topic, offset
                        FROM attempt WHERE id > (SELECT coalesce(max(id), 0) FROM attempt) - ? AND +subscriber = ?
                          AND outcome IN ('retry', 'dead') ORDER BY id DESC LIMIT ?
                        """),
                arguments: [Limits.failureScanMax, id, limit])
            return try rows.map { try Self.attempt($0, $0[9], $0.offset(10)) }
        }
    }

    /// Removes what is kept of attempts that ended before `time`, and of dead letters that were done with before it.
    /// Blocks.
    package func purgeAttempts(before time: Timestamp) throws(Failure) {
        for table in ["attempt", "passed"] {
            try purge("DELETE FROM \(table) WHERE id IN (SELECT id FROM \(table) WHERE ended < ? LIMIT ?)", time)
        }
        try purge("DELETE FROM dead WHERE id IN (SELECT id FROM dead WHERE resolved < ? LIMIT ?)", time)
    }

    /// Removes dead letters that nobody has dealt with and that are older than `time`; returns how many of each
    /// subscriber. Blocks.
    package func expireDeadLetters(before time: Timestamp) throws(Failure) -> [String: Int] {
        try perform(isDurable: true) { db in
            let condition = "time < ? AND redriven IS NULL AND resolved IS NULL"
            let rows = try Row.fetchAll(
                db,
                sql: """
                    SELECT subscriber.name, count(*) FROM dead JOIN subscriber ON subscriber.id = dead.subscriber
                    WHERE \(condition) GROUP BY dead.subscriber
                    """, arguments: [time.milliseconds])
            if !rows.isEmpty {
                try db.execute(sql: "DELETE FROM dead WHERE \(condition)", arguments: [time.milliseconds])
            }
            return Dictionary(uniqueKeysWithValues: rows.map { ($0[0], $0[1]) })
        }
    }

    /// A few rows a transaction, so that settling goes on in between.
    private func purge(_ sql: String, _ time: Timestamp) throws(Failure) {
        while try perform(
            isDurable: false,
            { db in
                try db.cachedStatement(sql: sql).execute(arguments: [time.milliseconds, Limits.attemptPurgeRows])
                return db.changesCount
            }) == Limits.attemptPurgeRows
        {}
    }
}
