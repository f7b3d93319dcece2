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
        return shared.withLock { $0.subscribers.keys.filter { !LedgerLane.isName($0) }.sorted() }
    }

    /// What is known of a subscriber, all changes handed over before included; nothing of one never seen. Blocks.
    package func load(_ subscriber: String) throws(Failure) -> SubscriberLedger {
        try flush()
        let known = shared.withLock { $0.subscribers }
        guard let id = known[subscriber] else { return SubscriberLedger(positions: [], deferred: []) }
        return try read { [self] db in
            SubscriberLedger(
                positions: try positions(db, of: id, subscriber), deferred: try deferred(db, of: id),
                lanes: try runningLanes(db, of: id, known))
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

    func deferred(_ db: Database, of id: Int64) throws -> [Deferred] {
        try Row.fetchAll(
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
            for lane in try Int64.fetchAll(db, sql: "SELECT id FROM lane WHERE subscriber = ?", arguments: [id]) {
                guard let own = shared.withLock({ $0.subscribers[LedgerLane.name(lane)] }) else { continue }
                for table in ["position", "deferred"] {
                    try db.execute(sql: "DELETE FROM \(table) WHERE subscriber = ?", arguments: [own])
                }
            }
            for table in ["position", "deferred", "dead", "state", "attempt", "passed", "lane"] {
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
}

extension Row {
    func offset(_ index: Int) -> Offset {
        Offset(bitPattern: self[index] as Int64)
    }
}
