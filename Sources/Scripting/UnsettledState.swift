// SPDX-License-Identifier: Apache-2.0

import Events

/// A subscriber's state with the writes of calls that are acknowledged and not yet handed to the sink: settlements go
/// out in bulk, and the next call must see what the one before it wrote. Belongs to its lane.
final class UnsettledState: StateReader, @unchecked Sendable {
    // Touched on the lane only.
    private var writes: [String: StateWrite] = [:]
    private let reader: any StateReader

    init(_ reader: any StateReader) {
        self.reader = reader
    }

    func add(_ effects: Effects) {
        for write in effects.state {
            switch (write, writes[write.key]) {
            case (.add(let key, let delta), .add(_, let earlier)): writes[key] = .add(key: key, delta: earlier + delta)
            case (.add(let key, let delta), .put(_, let value, let expires)):
                let old = StateNumber(json: value) ?? .integer(0)
                writes[key] = .put(key: key, value: (old + delta).json, expires: expires)
            case (.add(let key, let delta), .delete):
                writes[key] = .put(key: key, value: (.integer(0) + delta).json, expires: nil)
            default: writes[write.key] = write
            }
        }
    }

    /// The sink has taken them all: the reader shows them from now on.
    func forget() {
        writes.removeAll(keepingCapacity: true)
    }

    func value(subscriber: String, key: String) throws -> [UInt8]? {
        switch writes[key] {
        case .put(_, let value, _): return value
        case .delete: return nil
        case .add(_, let delta):
            let old = try reader.value(subscriber: subscriber, key: key).flatMap { StateNumber(json: $0) }
            return ((old ?? .integer(0)) + delta).json
        case nil: return try reader.value(subscriber: subscriber, key: key)
        }
    }

    func usage(subscriber: String) throws -> StateUsage { try reader.usage(subscriber: subscriber) }

    func values(
        subscriber: String, prefix: String, after: String?, limit: Int
    ) throws -> [(key: String, value: [UInt8])] {
        let changed = writes.keys.filter { key in key.hasPrefix(prefix) && after.map { key > $0 } ?? true }
        let durable = try reader.values(
            subscriber: subscriber, prefix: prefix, after: after, limit: limit + changed.count)
        var found: [String: [UInt8]] = [:]
        for (key, value) in durable { found[key] = value }
        for key in changed { found[key] = try value(subscriber: subscriber, key: key) }
        return found.orderedByKey(limit: limit)
    }
}

extension [String: [UInt8]] {
    /// In the order of bytes, as the ledger's.
    func orderedByKey(limit: Int) -> [(key: String, value: [UInt8])] {
        Array(sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }.prefix(limit)).map { ($0.key, $0.value) }
    }
}
