// SPDX-License-Identifier: Apache-2.0

package import Events

/// One answer to a pull: which deliveries it leased, in the order of its leases, and until when.
///
/// It is written when the answer is given and goes when all of its leases are over. Which of them were settled in between
/// is told by positions and deferred rows.
package struct LeaseRow: Hashable, Sendable {
    /// Deliveries that follow each other.
    package struct Run: Hashable, Sendable {
        package var topic: String
        package var first: Offset
        package var count: Int
        package var attempt: Int
        package var replay: Bool

        package init(topic: String, first: Offset, count: Int, attempt: Int, replay: Bool) {
            self.topic = topic
            self.first = first
            self.count = count
            self.attempt = attempt
            self.replay = replay
        }
    }

    package var id: UInt64
    package var expires: Timestamp
    package var runs: [Run]

    package init(id: UInt64, expires: Timestamp, runs: [Run]) {
        self.id = id
        self.expires = expires
        self.runs = runs
    }

    /// The topics' names, then the runs, all numbers in LEB128.
    var encoded: [UInt8] {
        var topics: [String] = []
        var places: [String: Int] = [:]
        for run in runs where places[run.topic] == nil {
            places[run.topic] = topics.count
            topics.append(run.topic)
        }
        var bytes: [UInt8] = []
        LEB128.append(UInt64(topics.count), to: &bytes)
        for topic in topics {
            LEB128.append(UInt64(topic.utf8.count), to: &bytes)
            bytes += topic.utf8
        }
        for run in runs {
            LEB128.append(UInt64(places[run.topic] ?? 0), to: &bytes)
            LEB128.append(run.first, to: &bytes)
            LEB128.append(UInt64(run.count), to: &bytes)
            LEB128.append(UInt64(run.attempt) << 1 | (run.replay ? 1 : 0), to: &bytes)
        }
        return bytes
    }

    /// Nil where the bytes aren't what ``encoded`` makes.
    static func decode(_ bytes: some Collection<UInt8>) -> [Run]? {
        var rest = Array(bytes)[...]
        func number() -> UInt64? { LEB128.number(from: &rest) }
        guard let count = number(), count <= UInt64(rest.count) else { return nil }
        var topics: [String] = []
        for _ in 0..<count {
            guard let length = number(), length <= UInt64(rest.count) else { return nil }
            topics.append(String(decoding: rest.prefix(Int(length)), as: UTF8.self))
            rest.removeFirst(Int(length))
        }
        var runs: [Run] = []
        while !rest.isEmpty {
            guard let topic = number(), topic < UInt64(topics.count), let first = number(), let count = number(),
                count <= UInt64(Int32.max), !first.addingReportingOverflow(count).overflow, let attempt = number(),
                attempt <= UInt64(Int32.max)
            else { return nil }
            runs.append(
                Run(
                    topic: topics[Int(topic)], first: first, count: Int(count), attempt: Int(attempt >> 1),
                    replay: attempt & 1 == 1))
        }
        return runs
    }
}

package enum LeaseChange: Hashable, Sendable {
    /// Adds it, or replaces the one of the same id.
    case put(LeaseRow)
    case remove(UInt64)

    package var id: UInt64 {
        switch self {
        case .put(let row): row.id
        case .remove(let id): id
        }
    }
}
