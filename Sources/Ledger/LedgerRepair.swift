// SPDX-License-Identifier: Apache-2.0

package import Events
import Foundation
import GRDB

/// Mends what a ``LedgerInspection`` found, with nobody else at the ledger. What it takes out or replaces stays in a copy
/// of the file as it was, `ledger.db.damaged`.
package struct LedgerRepair {
    private let path: String

    package init(of path: String) {
        self.path = path
    }

    /// - Returns: the file that holds what was there before; nil where nothing had to be done.
    package func mend(_ findings: [LedgerFinding]) throws(Failure) -> String? {
        let mendable = findings.filter { $0.repair != nil }
        guard !mendable.isEmpty else { return nil }
        let aside = free(path + ".damaged")
        do {
            if mendable.contains(where: { $0.kind == .damagedDatabase || $0.kind == .notADatabase }) {
                try moveAside(to: aside)
                try makeNew(from: aside)
            } else {
                let database = try DatabaseQueue(path: path)
                try database.vacuum(into: aside)
                try database.write { db in for finding in mendable { try mend(finding, db) } }
                try database.close()
            }
        } catch {
            throw Failure(
                .storage, "the ledger \(path) can't be repaired: \(error); what was there before is in \(aside)")
        }
        return aside
    }

    private func mend(_ finding: LedgerFinding, _ db: Database) throws {
        switch finding.kind {
        case .damagedPosition:
            try db.execute(
                sql: """
                    UPDATE position SET settled = x'' WHERE topic = ?
                    AND subscriber = (SELECT id FROM subscriber WHERE name = ?)
                    """, arguments: [finding.topic, finding.lane.map { LedgerLane.name($0.id) } ?? finding.subscriber])
        case .damagedDeadLetter:
            try db.execute(sql: "DELETE FROM dead WHERE id = ?", arguments: [Int64(finding.detail)])
        case .damagedOutboxRow:
            try db.execute(sql: "DELETE FROM outbox WHERE id = ?", arguments: [Int64(finding.detail)])
        case .rowWithoutSubscriber:
            guard LedgerSchema.subscriberTables.contains(finding.detail) else { return }
            try db.execute(
                sql: "DELETE FROM \(finding.detail) WHERE subscriber NOT IN (SELECT id FROM subscriber)")
        default: break
        }
    }

    private func free(_ name: String) -> String {
        var free = name
        var number = 2
        while FileManager.default.fileExists(atPath: free) {
            free = "\(name).\(number)"
            number += 1
        }
        return free
    }

    /// The log goes with its database: it belongs to no other.
    private func moveAside(to aside: String) throws {
        try FileManager.default.moveItem(atPath: path, toPath: aside)
        for suffix in ["-wal", "-shm"] where FileManager.default.fileExists(atPath: path + suffix) {
            try FileManager.default.moveItem(atPath: path + suffix, toPath: aside + suffix)
        }
    }

    /// A ledger with all rows of the damaged one that can still be read.
    private func makeNew(from aside: String) throws {
        let new = try DatabaseQueue(path: path)
        try new.writeWithoutTransaction { db in
            try db.execute(sql: "PRAGMA application_id = \(LedgerSchema.applicationID)")
            _ = try String.fetchOne(db, sql: "PRAGMA journal_mode = WAL")
        }
        try LedgerSchema.migrator.migrate(new)
        let old: DatabaseQueue
        do {
            old = try DatabaseQueue(path: aside)
        } catch let error as DatabaseError where error.resultCode == .SQLITE_NOTADB {
            return try new.close()
        } catch let error as DatabaseError where error.resultCode == .SQLITE_CORRUPT {
            return try new.close()
        }
        try old.unsafeRead { source in
            try new.write { target in
                for table in LedgerSchema.tables { try Self.copy(table, from: source, to: target) }
                // Where the old number can't be read any more, what was copied tells.
                let number = try? Int64.fetchOne(source, sql: "SELECT seq FROM sqlite_sequence WHERE name = 'lane'")
                try LedgerSchema.raiseLaneNumber(to: number ?? 0, target)
            }
        }
        try old.close()
        try new.write { db in
            // The journal knows events by the number of their outbox row: none may come a second time. Milliseconds are
            // more than there were events.
            try db.execute(sql: "DELETE FROM sqlite_sequence WHERE name = 'outbox'")
            try db.execute(
                sql: "INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', ?)",
                arguments: [Int64(Date().timeIntervalSince1970 * 1_000)])
        }
        try new.close()
    }

    /// Row by row, up to the first that can't be read; then from the other end.
    private static func copy(_ table: String, from source: Database, to target: Database) throws {
        for order in ["ASC", "DESC"] {
            do {
                let names = try source.columns(in: table).map(\.name)
                let known = Set(try target.columns(in: table).map(\.name))
                let columns = names.filter(known.contains)
                let list = columns.map { "\"\($0)\"" }.joined(separator: ", ")
                let marks = columns.map { _ in "?" }.joined(separator: ", ")
                let key = try source.primaryKey(table).columns.map { "\"\($0)\" \(order)" }.joined(separator: ", ")
                let insert = try target.makeStatement(
                    sql: "INSERT OR IGNORE INTO \"\(table)\" (\(list)) VALUES (\(marks))")
                let cursor = try Row.fetchCursor(source, sql: "SELECT \(list) FROM \"\(table)\" ORDER BY \(key)")
                while let row = try cursor.next() {
                    try insert.execute(arguments: StatementArguments(row.databaseValues))
                }
                return
            } catch let error as DatabaseError
                where [.SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_ERROR, .SQLITE_IOERR].contains(
                    error.resultCode.primaryResultCode)
            {
                // What is behind the damage comes with the second turn; what that one can't reach is lost.
                continue
            }
        }
    }
}
