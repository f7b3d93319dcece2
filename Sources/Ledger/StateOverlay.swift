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
        /// At most one `put` or `delete`, then adds.
        private(set) var pending: [(sequence: UInt64, write: StateWrite)] = []
        private var sum = Sum.none

        /// What the pending adds come to, kept up with each of them: thousands may wait for a key that everybody counts on, and
        /// a read of it, which holds the ledger's lock, must not go through all of them.
        private enum Sum {
            case none
            /// On top of what only the database knows; integers next to each other are one, since their sums wrap and so don't
            /// depend on the order.
            case on([StateNumber])
            /// With what they are added to.
            case total(StateNumber)
            /// It depends on the moment, or is no number that JSON can hold.
            case open
        }

        mutating func accept(_ write: StateWrite, _ sequence: UInt64) {
            if case .add(_, let delta) = write {
                pending.append((sequence, write))
                add(delta)
            } else {
                // What was pending before no longer matters to a reader.
                pending = [(sequence, write)]
                sum = .none
            }
        }

        mutating func resolve(_ value: Resolved?, upTo sequence: UInt64) {
            resolved = value
            pending.removeAll { $0.sequence <= sequence }
            sum = .none
            for case (_, .add(_, let delta)) in pending { add(delta) }
        }

        /// Without the adds; nil where only the database knows.
        private var base: Resolved? {
            switch pending.first?.write {
            case .put(_, let json, let expires)?: .value(Value(json: json, expires: expires))
            case .delete?: .missing
            case .add?, nil: resolved
            }
        }

        private mutating func add(_ delta: StateNumber) {
            switch (sum, base) {
            case (.open, _): break
            case (.none, nil): sum = .on([delta])
            case (.none, let base?) where base.value?.expires != nil: sum = .open
            case (.none, let base?):
                sum = .total((base.value.flatMap { StateNumber(json: $0.json) } ?? .integer(0)) + delta)
            case (.total(let number), _): sum = .total(number + delta)
            case (.on(var deltas), _):
                sum = .none
                if case .integer? = deltas.last, case .integer = delta {
                    deltas[deltas.count - 1] = deltas[deltas.count - 1] + delta
                } else {
                    deltas.append(delta)
                }
                sum = .on(deltas)
            }
            if case .total(.float(let number)) = sum, !number.isFinite { sum = .open }
        }

        func finding(at now: Timestamp) -> Finding {
            switch sum {
            case .none: return base.map { .known($0.value.flatMap { $0.isLive(at: now) ? $0 : nil }) } ?? .adds([])
            case .on(let deltas): return .adds(deltas)
            case .total(let number): return .known(Value(json: number.json, expires: nil))
            case .open:
                var value = base?.value
                for case (_, .add(_, let delta)) in pending {
                    value = StateOverlay.add([delta], to: value, at: now).value
                }
                return .known(value.flatMap { $0.isLive(at: now) ? $0 : nil })
            }
        }
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
            subscribers[subscriber, default: Subscriber()].entries[Array(write.key.utf8), default: Entry()]
                .accept(write, sequence)
        }
    }

    func finding(_ key: Key, of subscriber: String, at now: Timestamp) -> Finding {
        subscribers[subscriber]?.entries[key]?.finding(at: now) ?? .nothing
    }

    /// All that a reader of keys with `prefix` finds here.
    func findings(prefix: Key, after: Key?, of subscriber: String, at now: Timestamp) -> [Key: Finding] {
        guard let entries = subscribers[subscriber]?.entries else { return [:] }
        var found: [Key: Finding] = [:]
        for (key, entry) in entries where key.starts(with: prefix) {
            if let after, !after.lexicographicallyPrecedes(key) { continue }
            found[key] = entry.finding(at: now)
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
            state.entries[key, default: Entry()].resolve(value, upTo: sequence)
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
                state.entries[key]?.resolve(nil, upTo: 0)
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
