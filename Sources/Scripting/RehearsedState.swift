// SPDX-License-Identifier: Apache-2.0

package import Events
import Synchronization

/// A copy of a subscriber's state that one side of a rehearsal works on: what was there, which both sides share, and over
/// it what this side has written.
package final class RehearsedState: StateReader, Sendable {
    /// What was there when the rehearsal began. Never changes.
    package struct Start: Sendable {
        fileprivate var entries: [(key: String, value: Value)]
        /// In the ledger; nil where nothing says.
        package var version: Int?

        /// - Parameter entries: in the order of the keys' bytes.
        package init(
            _ entries: [(key: String, value: [UInt8], expires: Timestamp?)] = [], version: Int? = nil
        ) {
            self.entries = entries.map { ($0.key, Value(json: $0.value, expires: $0.expires)) }
            self.version = version
        }

        package var count: Int { entries.count }

        fileprivate func place(of key: String) -> Int {
            var low = 0
            var high = entries.count
            while low < high {
                let middle = (low + high) / 2
                if entries[middle].key.utf8.lexicographicallyPrecedes(key.utf8) {
                    low = middle + 1
                } else {
                    high = middle
                }
            }
            return low
        }

        fileprivate subscript(key: String) -> Value? {
            let place = place(of: key)
            return place < entries.count && entries[place].key == key ? entries[place].value : nil
        }
    }

    fileprivate struct Value {
        var json: [UInt8]
        var expires: Timestamp?

        func isLive(at time: Timestamp) -> Bool { expires.map { $0 > time } ?? true }
    }

    private struct Contents {
        /// nil: deleted.
        var changes: [String: Value?] = [:]
        var usage: StateUsage
        var time = Timestamp.distantPast
    }

    private let start: Start
    private let contents: Mutex<Contents>

    package init(_ start: Start) {
        self.start = start
        var usage = StateUsage(entries: start.entries.count)
        for entry in start.entries { usage.bytes += entry.key.utf8.count + entry.value.json.count }
        contents = Mutex(Contents(usage: usage))
    }

    /// What has expired by then is no longer seen.
    func move(to time: Timestamp) { contents.withLock { $0.time = time } }

    package func apply(_ writes: [StateWrite]) {
        contents.withLock { contents in
            for write in writes {
                let key = write.key
                let known = contents.changes[key] ?? start[key]
                let old = known.flatMap { $0.isLive(at: contents.time) ? $0 : nil }
                let new: Value? =
                    switch write {
                    case .put(_, let value, let expires): Value(json: value, expires: expires)
                    case .delete: nil
                    case .add(_, let delta):
                        Value(
                            json: ((old.flatMap { StateNumber(json: $0.json) } ?? .integer(0)) + delta).json,
                            expires: old?.expires)
                    }
                contents.usage.entries += (new == nil ? 0 : 1) - (known == nil ? 0 : 1)
                contents.usage.bytes += Self.size(key, new) - Self.size(key, known)
                contents.changes[key] = .some(new)
            }
        }
    }

    private static func size(_ key: String, _ value: Value?) -> Int {
        value.map { key.utf8.count + $0.json.count } ?? 0
    }

    package func value(subscriber: String, key: String) throws -> [UInt8]? {
        contents.withLock { contents in
            (contents.changes[key] ?? start[key]).flatMap { $0.isLive(at: contents.time) ? $0.json : nil }
        }
    }

    package func usage(subscriber: String) throws -> StateUsage { contents.withLock { $0.usage } }

    package func values(
        subscriber: String, prefix: String, after: String?, limit: Int
    ) throws -> [(key: String, value: [UInt8])] {
        contents.withLock { contents in
            func belongs(_ key: String) -> Bool {
                key.hasPrefix(prefix) && (after.map { $0.utf8.lexicographicallyPrecedes(key.utf8) } ?? true)
            }
            var found: [String: [UInt8]] = [:]
            var place = start.place(of: max(prefix, after ?? "") { $0.utf8.lexicographicallyPrecedes($1.utf8) })
            while place < start.entries.count, found.count < limit {
                let (key, value) = start.entries[place]
                guard key.hasPrefix(prefix) else { break }
                if belongs(key), contents.changes[key] == nil, value.isLive(at: contents.time) {
                    found[key] = value.json
                }
                place += 1
            }
            for (key, value) in contents.changes where belongs(key) {
                if let value, value.isLive(at: contents.time) { found[key] = value.json }
            }
            return found.orderedByKey(limit: limit)
        }
    }

    private func max(_ a: String, _ b: String, _ precedes: (String, String) -> Bool) -> String {
        precedes(a, b) ? b : a
    }
}
