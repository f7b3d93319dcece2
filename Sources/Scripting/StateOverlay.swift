// SPDX-License-Identifier: Apache-2.0

import Events

/// What one call of a handler sees of its subscriber's state: what is durable, and over it what the call has written.
/// The writes go with the ack or nowhere.
///
/// Where `concurrency` is more than 1, calls don't see each other's writes before they are settled. It remembers what was
/// read and when, and ``StateHistory`` tells from that whether what the call decided still holds. `add` reads nothing in
/// this sense: it adds to what is there when it is settled, so adds never lose one another. A `put` without a `get`
/// doesn't either: of two of them the one settled last stands.
struct StateOverlay {
    private let subscriber: String
    private let reader: any StateReader
    /// As the call sees them: nil is a missing key.
    private var seen: [String: [UInt8]?] = [:]
    /// One write for each key, since a later one says all that an earlier one did.
    private(set) var writes: [String: StateWrite] = [:]
    /// The moment of the subscriber's ``StateHistory``; set before each use.
    var moment: UInt64 = 0
    /// When what was first seen of each key came from the reader.
    private var fetched: [String: UInt64] = [:]
    /// Keys whose value the script was told, and since when it may be out of date.
    private(set) var reads: [String: UInt64] = [:]
    private(set) var lists: [(prefix: String, moment: UInt64)] = []

    init(subscriber: String, reader: any StateReader) {
        self.subscriber = subscriber
        self.reader = reader
    }

    mutating func value(_ key: String) throws -> [UInt8]? {
        let value = try current(key)
        // What the call itself has put is not out of date.
        if let moment = fetched[key] { reads[key] = moment }
        return value
    }

    private mutating func current(_ key: String) throws -> [UInt8]? {
        if let known = seen[key] { return known }
        let value = try reader.value(subscriber: subscriber, key: key)
        seen[key] = .some(value)
        fetched[key] = moment
        return value
    }

    /// Without counting as read.
    mutating func isMissing(_ key: String) throws -> Bool { try current(key) == nil }

    /// Bytes of key and value, 0 where it is missing; without counting as read.
    mutating func size(of key: String) throws -> Int { try current(key).map { $0.count + key.utf8.count } ?? 0 }

    mutating func put(_ key: String, _ value: [UInt8], expires: Timestamp?) {
        seen[key] = .some(value)
        writes[key] = .put(key: key, value: value, expires: expires)
    }

    mutating func delete(_ key: String) {
        seen[key] = .some(nil)
        writes[key] = .delete(key: key)
    }

    /// The sum as the call sees it; nil where the key holds something that isn't a number.
    mutating func add(_ key: String, _ delta: StateNumber) throws -> StateNumber? {
        let sum: StateNumber
        if let old = try current(key) {
            guard let number = StateNumber(json: old) else { return nil }
            sum = number + delta
        } else {
            sum = .integer(0) + delta
        }
        seen[key] = .some(sum.json)
        switch writes[key] {
        case .put(_, _, let expires): writes[key] = .put(key: key, value: sum.json, expires: expires)
        case .delete: writes[key] = .put(key: key, value: sum.json, expires: nil)
        case .add(_, let earlier): writes[key] = .add(key: key, delta: earlier + delta)
        case nil: writes[key] = .add(key: key, delta: delta)
        }
        return sum
    }

    mutating func list(prefix: String, after: String?, limit: Int) throws -> [(key: String, value: [UInt8])] {
        lists.append((prefix, moment))
        let changed = seen.filter { key, _ in
            writes[key] != nil && key.hasPrefix(prefix) && after.map { key > $0 } ?? true
        }
        // Deleted ones may be among those read, so as many more are asked for.
        let durable = try reader.values(
            subscriber: subscriber, prefix: prefix, after: after, limit: limit + changed.count)
        var found: [String: [UInt8]] = [:]
        for (key, value) in durable { found[key] = value }
        for (key, value) in changed { found[key] = value }
        return found.orderedByKey(limit: limit)
    }
}
