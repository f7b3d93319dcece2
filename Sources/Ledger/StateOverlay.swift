// SPDX-License-Identifier: Apache-2.0

import Events

/// State writes that are accepted and not yet in the database, so that a read sees them.
///
/// An entry goes through two stages. While its change waits, `pending` holds its writes in order. When the writer takes
/// the change into a transaction, it first works out the value that results and puts it down as `resolved`: from
/// then until the transaction is committed and the entry cleared, no reader needs the database for that key. A reader
/// who did read the database for a pending `add` looks at ``version(of:)`` before and after: had the transaction been
/// committed in between, the add would count twice.
struct StateOverlay {
    /// A key's bytes. Strings compare by canonical equivalence, SQLite by bytes.
    typealias Key = [UInt8]

    struct Value: Hashable {
        var json: [UInt8]
        var expires: Timestamp?

        func isLive(at now: Timestamp) -> Bool { expires.map { $0 > now } ?? true }
    }

    enum Resolved: Hashable {
        case value(Value)
        case missing

        var value: Value? {
            if case .value(let value) = self { value } else { nil }
        }
    }

    private struct Entry {
        var resolved: Resolved?
        var pending: [(sequence: UInt64, write: StateWrite)] = []
    }

    private struct Subscriber {
        var entries: [Key: Entry] = [:]
        var version: UInt64 = 0
    }

    /// What a reader finds for a key.
    enum Finding {
        /// The value, or that there is none.
        case known(Value?)
        /// These adds, in order, on top of what the database has.
        case adds([StateNumber])
        case nothing
    }

    private var subscribers: [String: Subscriber] = [:]

    var isEmpty: Bool { subscribers.values.allSatisfy { $0.entries.isEmpty } }

    func version(of subscriber: String) -> UInt64 {
        subscribers[subscriber]?.version ?? 0
    }

    mutating func accept(_ writes: [StateWrite], of subscriber: String, sequence: UInt64) {
        for write in writes {
            let key = Array(write.key.utf8)
            switch write {
            case .put, .delete:
                // What was pending before no longer matters to a reader.
                subscribers[subscriber, default: Subscriber()].entries[key, default: Entry()].pending = [
                    (sequence, write)
                ]
            case .add:
                subscribers[subscriber, default: Subscriber()].entries[key, default: Entry()].pending
                    .append((sequence, write))
            }
        }
    }

    func finding(_ key: Key, of subscriber: String, at now: Timestamp) -> Finding {
        guard let entry = subscribers[subscriber]?.entries[key] else { return .nothing }
        return Self.finding(entry, at: now)
    }

    private static func finding(_ entry: Entry, at now: Timestamp) -> Finding {
        var isKnown = entry.resolved != nil
        var value = entry.resolved?.value
        var adds: [StateNumber] = []
        for (_, write) in entry.pending {
            switch write {
            case .put(_, let json, let expires):
                isKnown = true
                value = Value(json: json, expires: expires)
            case .delete:
                isKnown = true
                value = nil
            case .add(_, let delta):
                if isKnown { value = add([delta], to: value, at: now).value } else { adds.append(delta) }
            }
        }
        return isKnown ? .known(value.flatMap { $0.isLive(at: now) ? $0 : nil }) : .adds(adds)
    }

    /// All that a reader of keys with `prefix` finds here.
    func findings(prefix: Key, after: Key?, of subscriber: String, at now: Timestamp) -> [Key: Finding] {
        guard let entries = subscribers[subscriber]?.entries else { return [:] }
        var found: [Key: Finding] = [:]
        for (key, entry) in entries where key.starts(with: prefix) {
            if let after, !after.lexicographicallyPrecedes(key) { continue }
            found[key] = Self.finding(entry, at: now)
        }
        return found
    }

    /// Adds to what a key holds; an expired value counts as none, and so does one that isn't a number.
    static func add(
        _ deltas: [StateNumber], to value: Value?, at now: Timestamp
    ) -> (value: Value, wasNumber: Bool) {
        let live = value.flatMap { $0.isLive(at: now) ? $0 : nil }
        let base = live.flatMap { StateNumber(json: $0.json) }
        let sum = deltas.reduce(base ?? .integer(0), +)
        return (Value(json: sum.json, expires: live?.expires), live == nil || base != nil)
    }

    /// The writer is about to commit these values, which stand for every write accepted up to `sequence`.
    mutating func resolve(_ values: [Key: Resolved], of subscriber: String, upTo sequence: UInt64) {
        var state = subscribers.removeValue(forKey: subscriber) ?? Subscriber()
        for (key, value) in values {
            var entry = state.entries[key] ?? Entry()
            entry.resolved = value
            entry.pending.removeAll { $0.sequence <= sequence }
            state.entries[key] = entry
        }
        state.version += 1
        subscribers[subscriber] = state
    }

    /// The values given to ``resolve(_:of:upTo:)`` are in the database.
    mutating func clear(_ keys: some Sequence<Key>, of subscriber: String) {
        guard var state = subscribers.removeValue(forKey: subscriber) else { return }
        for key in keys {
            if state.entries[key]?.pending.isEmpty ?? true {
                state.entries[key] = nil
            } else {
                state.entries[key]?.resolved = nil
            }
        }
        state.version += 1
        subscribers[subscriber] = state
    }

    mutating func rename(_ old: String, to new: String) {
        guard var state = subscribers.removeValue(forKey: old) else { return }
        state.version += 1
        subscribers[new] = state
    }
}
