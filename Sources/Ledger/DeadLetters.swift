// SPDX-License-Identifier: Apache-2.0

package import Events

/// A delivery given up on, as it enters the ledger.
package struct NewDeadLetter: Hashable, Sendable {
    package var topic: String
    package var offset: Offset
    package var reason: String
    package var trace: String?
    package var attempts: Int
    package var time: Timestamp
    /// The configuration under which the last attempt ran.
    package var generation: Int
    /// The dead letter that it was before, where it was sent again and failed again.
    package var previous: Int64?
    /// The run of history in which it was given up on.
    package var lane: Int64?
    /// The record as it stands in the journal, checksum included.
    package var record: [UInt8]

    package init(
        topic: String, offset: Offset, reason: String, trace: String? = nil, attempts: Int, time: Timestamp,
        generation: Int = 0, previous: Int64? = nil, record: [UInt8]
    ) {
        self.topic = topic
        self.offset = offset
        self.reason = reason
        self.trace = trace
        self.attempts = attempts
        self.time = time
        self.generation = generation
        self.previous = previous
        self.record = record
    }
}

/// A dead letter as kept.
package struct KeptDeadLetter: Hashable, Sendable {
    /// Rising, never used twice.
    package var id: Int64
    package var subscriber: String
    package var letter: NewDeadLetter
    package var group: DeadLetterGroup
    /// What is delivered in its place when it is sent again.
    package var mended: [UInt8]?
    package var mendedTime: Timestamp?
    /// When it was sent again, where it was.
    package var redriven: Timestamp?
    /// When it was done with, and how.
    package var resolved: Timestamp?
    package var resolution: DeadLetterEnd?
}

package struct ResolvedLetter: Hashable, Sendable {
    package var id: Int64
    package var end: DeadLetterEnd

    package init(_ id: Int64, _ end: DeadLetterEnd) {
        self.id = id
        self.end = end
    }
}

/// Dead letters of one subscriber that nobody has dealt with.
package struct OpenDeadLetters: Hashable, Sendable {
    package var count: Int
    /// Keys that wait behind one.
    package var keys: [String]
    /// The same of its runs of history.
    package var laneKeys: [Int64: [String]]

    package init(count: Int = 0, keys: [String] = [], laneKeys: [Int64: [String]] = [:]) {
        self.count = count
        self.keys = keys
        self.laneKeys = laneKeys
    }
}
