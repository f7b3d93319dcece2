// SPDX-License-Identifier: Apache-2.0

package import Events
import Foundation
import GRDB
import Synchronization

extension LedgerLane {
    /// Under what its positions and deferred rows are kept, in the place of a subscriber's name; no subscriber can have it.
    static func name(_ id: Int64) -> String { "\(namePrefix)\(id)" }

    static func isName(_ name: String) -> Bool { name.hasPrefix(namePrefix) }

    static let namePrefix = "$history-"
}

extension Ledger {
    /// Runs of history, ended ones included, the newest first; of all subscribers where none is named. Blocks.
    package func lanes(of subscriber: String?, limit: Int) throws(Failure) -> [LedgerLane] {
        try flush()
        var condition = "1"
        var arguments: StatementArguments = []
        if let subscriber {
            guard let id = shared.withLock({ $0.subscribers[subscriber] }) else { return [] }
            condition = "lane.subscriber = ?"
            arguments = [id]
        }
        return try read { db in
            try Self.lanes(db, where: "\(condition) ORDER BY lane.id DESC LIMIT ?", arguments: arguments + [limit])
        }
    }

    /// The highest number that a lane was ever given; 0 where there is none. Blocks.
    package func lastLane() throws(Failure) -> Int64 {
        try flush()
        return try read { db in
            try Int64.fetchOne(db, sql: "SELECT seq FROM sqlite_sequence WHERE name = 'lane'") ?? 0
        }
    }

    /// Removes runs that ended before `time`, and of each subscriber those beyond the newest `count`. Imports only go by
    /// their number: their rows are what tells that a file was taken already. Blocks.
    package func expireLanes(before time: Timestamp, keeping count: Int) throws(Failure) {
        let removed = Mutex<[String]>([])
        try perform(isDurable: false) { db in
            let ids = try Int64.fetchAll(
                db,
                sql: """
                    SELECT id FROM (
                      SELECT id, ended, imported, row_number() OVER (PARTITION BY subscriber, imported ORDER BY id DESC) place
                      FROM (SELECT id, subscriber, ended,
                              CASE WHEN json_valid(details) THEN json_extract(details, '$.kind') = ?1 ELSE 0 END imported
                            FROM lane WHERE state <> ?2))
                    WHERE place > ?3 OR (imported = 0 AND ended < ?4)
                    """,
                arguments: [
                    LedgerLane.Kind.imported.rawValue, LedgerLane.State.running.rawValue, count, time.milliseconds,
                ])
            removed.withLock { $0 = ids.map(LedgerLane.name) }
            for id in ids {
                try db.cachedStatement(sql: "DELETE FROM lane WHERE id = ?").execute(arguments: [id])
                try db.cachedStatement(sql: "DELETE FROM subscriber WHERE name = ?")
                    .execute(arguments: [LedgerLane.name(id)])
            }
        } afterwards: { [self] in
            forgetNames(removed.withLock { $0 })
        }
    }

    static func lanes(_ db: Database, where condition: String, arguments: StatementArguments) throws -> [LedgerLane] {
        try Row.fetchAll(
            db,
            sql: """
                SELECT lane.id, subscriber.name, state, done, begun, ended, details FROM lane
                JOIN subscriber ON subscriber.id = lane.subscriber WHERE \(condition)
                """, arguments: arguments
        ).map { row in
            let id: Int64 = row[0]
            let details: String = row[6]
            guard let state = LedgerLane.State(rawValue: row[2]),
                let decoded = try? JSONDecoder().decode(LedgerLane.Details.self, from: Data(details.utf8))
            else { throw Failure(.storage, "row \(id) of the ledger's lanes is damaged; run `fairlead verify`") }
            var lane = LedgerLane(id: id, subscriber: row[1], details: decoded, begun: row.time(4) ?? .distantPast)
            lane.state = state
            lane.done = row[3]
            lane.ended = row.time(5)
            return lane
        }
    }

    /// Lanes of a subscriber that are running, with all that is kept of them.
    func runningLanes(_ db: Database, of subscriber: Int64, _ known: [String: Int64]) throws -> [LaneLedger] {
        let running = try Self.lanes(
            db, where: "lane.subscriber = ? AND state = ? ORDER BY lane.id",
            arguments: [subscriber, LedgerLane.State.running.rawValue])
        return try running.map { lane in
            let name = LedgerLane.name(lane.id)
            guard let id = known[name] else { return LaneLedger(lane: lane, positions: [], deferred: []) }
            return try LaneLedger(
                lane: lane, positions: positions(db, of: id, name), deferred: Ledger.deferred(of: id, "1", db))
        }
    }
}

extension Writer {
    func write(_ lane: LaneChange, of subscriber: Int64, _ db: Database) throws {
        guard let row = lane.row else {
            try db.cachedStatement(sql: "UPDATE lane SET done = ? WHERE id = ?").execute(arguments: [
                lane.done, lane.id,
            ])
            return
        }
        let details = String(decoding: try JSONEncoder().encode(row.details), as: UTF8.self)
        try db.cachedStatement(
            sql: """
                INSERT OR REPLACE INTO lane (id, subscriber, state, done, begun, ended, details)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                """
        ).execute(arguments: [
            row.id, subscriber, row.state.rawValue, lane.done, row.begun.milliseconds, row.ended?.milliseconds, details,
        ])
    }
}
