// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// A topic's name, interned: equal names are one object for the life of the process, so that the hot path compares
/// and hashes a number.
package final class Topic: Hashable, Sendable, CustomStringConvertible {
    package let name: String
    /// Dense, from 0, in order of first use. Means nothing outside this process.
    package let id: Int

    private init(name: String, id: Int) {
        self.name = name
        self.id = id
    }

    private static let known = Mutex<[String: Topic]>([:])

    package static func named(_ name: String) -> Topic {
        known.withLock { known in
            if let topic = known[name] { return topic }
            let topic = Topic(name: name, id: known.count)
            known[name] = topic
            return topic
        }
    }

    /// System topics (`$dead`, `$config`, `$alert`) are written by Fairlead alone and matched by no wildcard.
    package var isSystem: Bool { name.utf8.first == UInt8(ascii: "$") }

    package var description: String { name }
    package static func == (a: Topic, b: Topic) -> Bool { a === b }
    package func hash(into hasher: inout Hasher) { hasher.combine(id) }
}
