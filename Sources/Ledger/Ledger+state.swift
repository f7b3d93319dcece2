// SPDX-License-Identifier: Apache-2.0

package import Events
import Foundation
import GRDB
import Synchronization

extension Ledger: StateReader {
    package func value(subscriber: String, key: String) throws -> [UInt8]? {
        let key = Array(key.utf8)
        let now = clock.now()
        if case .known(let value) = shared.withLock({ $0.overlay.finding(key, of: subscriber, at: now) }) {
            return value?.json
        }
        return try consistently(subscriber) { shared in
            (shared.overlay.finding(key, of: subscriber, at: now), shared.subscribers[subscriber])
        } combine: { found, db in
            switch found.0 {
            case .known(let value):
                return value?.json
            case .nothing:
                return try found.1.flatMap { try Self.storedValue(db(), key, of: $0) }.flatMap { value in
                    value.isLive(at: now) ? value.json : nil
                }
            case .adds(let deltas):
                let base = try found.1.flatMap { try Self.storedValue(db(), key, of: $0) }
                return StateOverlay.add(deltas, to: base, at: now).value.json
            }
        }
    }

    package func usage(subscriber: String) throws -> StateUsage {
        guard let id = shared.withLock({ $0.subscribers[subscriber] }) else { return StateUsage() }
        return try read(subscriber) { db in
            let statement = try db.cachedStatement(sql: "SELECT entries, bytes FROM state_usage WHERE subscriber = ?")
            return try Row.fetchOne(statement, arguments: [id]).map { StateUsage(entries: $0[0], bytes: $0[1]) }
                ?? StateUsage()
        }
    }

    package func values(
        subscriber: String, prefix: String, after: String?, limit: Int
    ) throws -> [(key: String, value: [UInt8])] {
        let prefix = Array(prefix.utf8)
        let after = after.map { Array($0.utf8) }
        let limit = min(limit, Limits.stateListMax)
        let now = clock.now()
        guard limit > 0 else { return [] }
        return try consistently(subscriber) { shared in
            (
                shared.overlay.findings(prefix: prefix, after: after, of: subscriber, at: now),
                shared.subscribers[subscriber]
            )
        } combine: { found, db in
            let (overlay, id) = found
            // As many more as the overlay may hide.
            var merged: [StateOverlay.Key: [UInt8]] = [:]
            var stored: [StateOverlay.Key: StateOverlay.Value] = [:]
            if let id {
                stored = try Self.storedValues(
                    db(), of: id, prefix: prefix, after: after, limit: limit + overlay.count, now: now)
                // An add on a key beyond those read still needs what it adds to.
                for case (let key, .adds) in overlay where stored[key] == nil {
                    stored[key] = try Self.storedValue(db(), key, of: id)
                }
            }
            for (key, value) in stored where value.isLive(at: now) { merged[key] = value.json }
            for (key, finding) in overlay {
                switch finding {
                case .known(let value): merged[key] = value?.json
                case .adds(let deltas): merged[key] = StateOverlay.add(deltas, to: stored[key], at: now).value.json
                case .nothing: break
                }
            }
            return merged.sorted { $0.key.lexicographicallyPrecedes($1.key) }.prefix(limit)
                .map { (String(decoding: $0.key, as: UTF8.self), $0.value) }
        }
    }

    /// Looks at the overlay, then at the database where needed, again while a transaction of this subscriber went in
    /// between.
    private func consistently<Found, Value>(
        _ subscriber: String, _ look: (borrowing Shared) -> Found,
        combine: (Found, () -> Database) throws -> Value
    ) throws -> Value {
        while true {
            let (found, version) = shared.withLock { (look($0), $0.overlay.version(of: subscriber)) }
            let value = try read(subscriber) { db in try combine(found) { db } }
            if shared.withLock({ $0.overlay.version(of: subscriber) }) == version { return value }
        }
    }

    /// On the writer's connection: what is committed for the key, expired or not.
    func storedValue(_ db: Database, _ key: StateOverlay.Key, of subscriber: String) throws -> StateOverlay.Value? {
        guard let id = shared.withLock({ $0.subscribers[subscriber] }) else { return nil }
        return try Self.storedValue(db, key, of: id)
    }

    private static func storedValue(
        _ db: Database, _ key: StateOverlay.Key, of subscriber: Int64
    ) throws -> StateOverlay.Value? {
        let statement = try db.cachedStatement(
            sql: "SELECT value, expires FROM state WHERE subscriber = ? AND key = ?")
        let row = try Row.fetchOne(statement, arguments: [subscriber, Data(key)])
        return row.map { StateOverlay.Value(json: $0.bytes(0), expires: $0.time(1)) }
    }

    private static func storedValues(
        _ db: Database, of subscriber: Int64, prefix: StateOverlay.Key, after: StateOverlay.Key?, limit: Int,
        now: Timestamp
    ) throws -> [StateOverlay.Key: StateOverlay.Value] {
        let statement = try db.cachedStatement(
            sql: """
                SELECT key, value, expires FROM state
                WHERE subscriber = ? AND key >= ? AND key > ? AND key < ? AND (expires IS NULL OR expires > ?)
                ORDER BY key LIMIT ?
                """)
        let rows = try Row.fetchCursor(
            statement,
            arguments: [
                subscriber, Data(prefix), Data(after ?? []), Data(successor(of: prefix)), now.milliseconds, limit,
            ])
        var values: [StateOverlay.Key: StateOverlay.Value] = [:]
        while let row = try rows.next() {
            values[row.bytes(0)] = StateOverlay.Value(json: row.bytes(1), expires: row.time(2))
        }
        return values
    }

    /// The least bytes beyond all that begin with `prefix`; UTF-8 has no byte 0xFF.
    private static func successor(of prefix: StateOverlay.Key) -> StateOverlay.Key {
        prefix + [0xFF]
    }
}

extension Row {
    func bytes(_ index: Int) -> [UInt8] {
        (self[index] as Data?).map { Array($0) } ?? []
    }

    func time(_ index: Int) -> Timestamp? {
        (self[index] as Int64?).map { Timestamp(milliseconds: $0) }
    }
}
