// SPDX-License-Identifier: Apache-2.0

package import Events
import Foundation
import GRDB

/// Reads a ledger that another process may be writing, and changes nothing. Each call sees what is committed at its moment and
/// holds nothing up longer than it takes. Calls block.
package final class LedgerReader: Sendable {
    private let database: DatabaseQueue
    private let subscribers: [String: Int64]

    /// - Throws: `.storage` where the file is no ledger, or is of another version of Fairlead.
    package init(path: String) throws(Failure) {
        do {
            var configuration = Configuration()
            configuration.readonly = true
            configuration.busyMode = .timeout(Limits.ledgerBusyTimeout.seconds)
            configuration.label = "ledger-reader"
            database = try DatabaseQueue(path: path, configuration: configuration)
            subscribers = try database.unsafeRead { db in
                guard try Int32.fetchOne(db, sql: "PRAGMA application_id") == LedgerSchema.applicationID else {
                    throw Failure(.storage, "\(path) is no ledger of Fairlead's")
                }
                let isNewer = try LedgerSchema.migrator.hasBeenSuperseded(db)
                guard !isNewer, try LedgerSchema.migrator.hasCompletedMigrations(db) else {
                    throw Failure(
                        .storage,
                        isNewer
                            ? "\(path) was written by a newer Fairlead: use that one"
                            : "\(path) was written by an older Fairlead: start the server once with this one")
                }
                var known: [String: Int64] = [:]
                for row in try Row.fetchAll(db, sql: "SELECT name, id FROM subscriber") { known[row[0]] = row[1] }
                return known
            }
        } catch {
            throw Ledger.failure(error)
        }
    }

    package func close() throws(Failure) {
        do { try database.close() } catch { throw Ledger.failure(error) }
    }

    /// Whether anything is known of the subscriber.
    package func knows(_ subscriber: String) -> Bool { subscribers[subscriber] != nil }

    /// The one of this number, or the newest that took effect; nil where there is none.
    package func generation(_ number: Int?) throws(Failure) -> LedgerGeneration? {
        try read { db in
            let row =
                if let number {
                    try Row.fetchOne(db, sql: "\(Ledger.generationColumns) WHERE number = ?", arguments: [number])
                } else {
                    try Row.fetchOne(
                        db,
                        sql: "\(Ledger.generationColumns) WHERE verdict LIKE 'applied%' ORDER BY number DESC LIMIT 1")
                }
            return try row.map(Ledger.generation)
        }
    }

    /// Contents of a generation's files, by path; those that the ledger doesn't have are left out.
    package func files(of generation: LedgerGeneration) throws(Failure) -> [String: [UInt8]] {
        try read { db in
            var files: [String: [UInt8]] = [:]
            let statement = try db.cachedStatement(sql: "SELECT bytes FROM config_file WHERE hash = ?")
            for (path, hash) in generation.details.files {
                files[path] = try Data.fetchOne(statement, arguments: [hash]).map { Array($0) }
            }
            return files
        }
    }

    package struct StateEntry: Sendable {
        package var key: String
        /// JSON text.
        package var value: [UInt8]
        package var expires: Timestamp?
    }

    /// All that a subscriber's plugin keeps, in the order of the keys' bytes, and its version.
    package func state(of subscriber: String) throws(Failure) -> (entries: [StateEntry], version: Int?) {
        guard let id = subscribers[subscriber] else { return ([], nil) }
        return try read { db in
            let rows = try Row.fetchCursor(
                db, sql: "SELECT key, value, expires FROM state WHERE subscriber = ? ORDER BY key", arguments: [id])
            var entries: [StateEntry] = []
            while let row = try rows.next() {
                entries.append(
                    StateEntry(
                        key: String(decoding: row.bytes(0), as: UTF8.self), value: row.bytes(1), expires: row.time(2)))
            }
            let version = try Int.fetchOne(
                db, sql: "SELECT state_version FROM subscriber WHERE id = ?", arguments: [id])
            return (entries, version)
        }
    }

    /// How deliveries ended so far, by offset: the last attempt that is kept of each, replays aside, and which it was.
    package func lastAttempts(
        of subscriber: String, topic: String, _ offsets: ClosedRange<Offset>
    ) throws(Failure) -> [Offset: Attempt] {
        guard let id = subscribers[subscriber] else { return [:] }
        return try read { db in
            var last: [Offset: Attempt] = [:]
            let buckets = offsets.lowerBound >> PassedDeliveries.bucketBits
            let lastBucket = offsets.upperBound >> PassedDeliveries.bucketBits
            let passed = try Row.fetchCursor(
                db.cachedStatement(
                    sql: """
                        SELECT first, offsets, began, ended, generation FROM passed
                        WHERE subscriber = ? AND topic = ? AND bucket BETWEEN ? AND ? AND NOT replay ORDER BY id
                        """),
                arguments: [id, topic, Int64(bitPattern: buckets), Int64(bitPattern: lastBucket)])
            while let row = try passed.next() {
                guard let ranges = SettledRanges.decode(row.bytes(1), above: row.offset(0)) else {
                    throw Failure(.storage, "a row of the ledger's attempts is damaged; run `fairlead verify`")
                }
                for range in ranges where range.overlaps(offsets) {
                    for offset in range.clamped(to: offsets) {
                        last[offset] = Attempt(
                            topic: topic, offset: offset, number: 1, began: row.time(2) ?? .distantPast,
                            ended: row.time(3) ?? .distantPast, outcome: .ack, generation: row[4])
                    }
                }
            }
            let attempts = try Row.fetchCursor(
                db.cachedStatement(
                    sql: """
                        SELECT offset, number, began, ended, outcome, reason, trace, generation FROM attempt
                        WHERE subscriber = ? AND topic = ? AND offset BETWEEN ? AND ? AND NOT replay ORDER BY id
                        """),
                arguments: [
                    id, topic, Int64(bitPattern: offsets.lowerBound), Int64(bitPattern: offsets.upperBound),
                ])
            while let row = try attempts.next() {
                let offset = row.offset(0)
                let ended = row.time(3) ?? .distantPast
                if let known = last[offset], known.ended > ended { continue }
                last[offset] = Attempt(
                    topic: topic, offset: offset, number: row[1], began: row.time(2) ?? .distantPast, ended: ended,
                    outcome: Attempt.Outcome(rawValue: row[4]) ?? .retry, reason: row[5], trace: row[6],
                    generation: row[7])
            }
            return last
        }
    }

    private func read<Value>(_ body: (Database) throws -> Value) throws(Failure) -> Value {
        do { return try database.unsafeRead(body) } catch { throw Ledger.failure(error) }
    }
}
