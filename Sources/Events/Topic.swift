// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// A topic's name, interned: equal names are one object for the life of the process, so that the hot path compares
/// and hashes a number.
package final class Topic: Hashable, Sendable, CustomStringConvertible {
    package let name: String
    /// Dense, from 0, in order of first use. Means nothing outside this process.
    package let id: Int
    /// What handlers see: of the topic that imported events wait in, the one that they are for.
    package let shownName: String
    /// Imported events wait in it.
    package let isImport: Bool

    private init(name: String, id: Int) {
        self.name = name
        self.id = id
        let parts = Self.importParts(name)
        shownName = parts.map { String($0.topic) } ?? name
        isImport = parts != nil
    }

    private static let importPrefix = "$import."

    /// Where the events of an import wait until they are settled.
    package static func imported(_ number: Int64, for topic: String) -> Topic {
        named("\(importPrefix)\(number).\(topic)")
    }

    /// Which import's it is.
    package var importNumber: Int64? { Self.importParts(name)?.number }

    private static func importParts(_ name: String) -> (number: Int64, topic: Substring)? {
        guard name.hasPrefix(importPrefix) else { return nil }
        let parts = name.dropFirst(importPrefix.count).split(separator: ".", maxSplits: 1)
        guard parts.count == 2, let number = Int64(parts[0]) else { return nil }
        return (number, parts[1])
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
