// SPDX-License-Identifier: Apache-2.0

package import Events
import GRDB
import Synchronization

/// What is kept of a subscriber that is in no configuration any more.
package struct Orphan: Hashable, Sendable {
    package var name: String
    package var since: Timestamp
    /// Deliveries that wait for a retry, for their time or behind their key, in runs of history as well.
    package var deferred: Int
    /// Dead letters that nobody has dealt with.
    package var dead: Int
    /// Runs of history that are not done.
    package var history: Int

    package init(name: String, since: Timestamp, deferred: Int, dead: Int, history: Int = 0) {
        self.name = name
        self.since = since
        self.deferred = deferred
        self.dead = dead
        self.history = history
    }
}

/// What is known of a subscriber gets another name.
package struct SubscriberRename: Hashable, Sendable {
    package var old: String
    package var new: String

    package init(_ old: String, to new: String) {
        self.old = old
        self.new = new
    }
}

extension Ledger {
    /// Everybody who isn't `running` is an orphan, from now on where it was none before; those that run are none. Nobody
    /// runs under an old name any more. Blocks.
    package func setRunning(_ running: Set<String>) throws(Failure) {
        let now = clock.now().milliseconds
        try perform(isDurable: true) { [self] db in
            shared.withLock { shared in
                for name in shared.renamed { shared.subscribers[name] = nil }
                shared.renamed = []
            }
            for (name, id) in shared.withLock({ $0.subscribers }) where !LedgerLane.isName(name) {
                let sql =
                    running.contains(name)
                    ? "DELETE FROM orphan WHERE subscriber = ?1"
                    : "INSERT OR IGNORE INTO orphan (subscriber, since) VALUES (?1, ?2)"
                try db.execute(sql: sql, arguments: running.contains(name) ? [id] : [id, now])
            }
        }
    }

    /// These run, or will in a moment: they can't be purged from here on. Then all that is known of each `old` is given to
    /// its `new`; what is handed over under the old name until the next ``setRunning(_:)`` is the new one's, too. Blocks.
    ///
    /// - Throws: `.conflict` where one of `names` isn't known any more, or one of the new names is known already; nothing is
    ///   done then.
    package func adopt(_ names: Set<String>, renaming renames: [SubscriberRename] = []) throws(Failure) {
        guard !names.isEmpty else { return }
        try perform(isDurable: !renames.isEmpty, isAlone: true) { [self] db in
            var known = shared.withLock { $0.subscribers }
            for name in names {
                guard let id = known[name] else {
                    throw Failure(.conflict, "subscriber \"\(name)\" was forgotten just now; try again")
                }
                try db.execute(sql: "DELETE FROM orphan WHERE subscriber = ?", arguments: [id])
            }
            for rename in renames {
                guard let id = known.removeValue(forKey: rename.old) else { continue }
                guard known.updateValue(id, forKey: rename.new) == nil else {
                    throw Failure(.conflict, "the ledger has a subscriber \"\(rename.new)\" already: forget it first")
                }
                try db.execute(sql: "UPDATE subscriber SET name = ? WHERE id = ?", arguments: [rename.new, id])
            }
        } afterwards: { [self] in
            shared.withLock { shared in
                for rename in renames {
                    guard let id = shared.subscribers[rename.old] else { continue }
                    shared.subscribers[rename.new] = id
                    shared.renamed.insert(rename.old)
                    shared.renamed.remove(rename.new)
                }
            }
        }
    }

    /// In order of name. Blocks.
    package func orphans() throws(Failure) -> [Orphan] {
        try read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT s.name, o.since,
                      (SELECT count(*) FROM deferred d WHERE d.subscriber = s.id OR d.subscriber IN
                        (SELECT own.id FROM lane JOIN subscriber own ON own.name = ?1 || lane.id
                         WHERE lane.subscriber = s.id)),
                      (SELECT count(*) FROM dead x WHERE x.subscriber = s.id AND x.redriven IS NULL AND x.resolved IS NULL),
                      (SELECT count(*) FROM lane WHERE lane.subscriber = s.id AND lane.state = ?2)
                    FROM orphan o JOIN subscriber s ON s.id = o.subscriber ORDER BY s.name
                    """, arguments: [LedgerLane.namePrefix, LedgerLane.State.running.rawValue]
            ).map { row in
                Orphan(
                    name: row[0], since: Timestamp(milliseconds: row[1]), deferred: row[2], dead: row[3],
                    history: row[4])
            }
        }
    }

    /// Forgets an orphan, if it still is one that is older than `moment`; false where it isn't. Blocks.
    package func purgeOrphan(_ name: String, since moment: Timestamp) throws(Failure) -> Bool {
        let gone = Mutex<[String]>([])
        return try perform(isDurable: true, isAlone: true) { [self] db in
            guard let id = shared.withLock({ $0.subscribers[name] }),
                try Int.fetchOne(
                    db, sql: "SELECT 1 FROM orphan WHERE subscriber = ? AND since <= ?",
                    arguments: [id, moment.milliseconds]) != nil
            else { return false }
            let names = try Self.remove(id, db) + [name]
            gone.withLock { $0 = names }
            return true
        } afterwards: { [self] in
            forgetNames(gone.withLock { $0 })
        }
    }

    /// Removes all rows of a subscriber, and those of its runs of history, whose names are returned.
    static func remove(_ subscriber: Int64, _ db: Database) throws -> [String] {
        let lanes = try Int64.fetchAll(db, sql: "SELECT id FROM lane WHERE subscriber = ?", arguments: [subscriber])
            .map(LedgerLane.name)
        for name in lanes {
            for table in ["position", "deferred"] {
                try db.cachedStatement(
                    sql: "DELETE FROM \(table) WHERE subscriber = (SELECT id FROM subscriber WHERE name = ?)"
                ).execute(arguments: [name])
            }
            try db.cachedStatement(sql: "DELETE FROM subscriber WHERE name = ?").execute(arguments: [name])
        }
        for table in LedgerSchema.subscriberTables {
            try db.execute(sql: "DELETE FROM \(table) WHERE subscriber = ?", arguments: [subscriber])
        }
        try db.execute(sql: "DELETE FROM subscriber WHERE id = ?", arguments: [subscriber])
        return lanes
    }

    func forgetNames(_ names: [String]) {
        shared.withLock { shared in for name in names { shared.subscribers[name] = nil } }
    }
}
