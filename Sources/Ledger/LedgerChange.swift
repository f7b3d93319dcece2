// SPDX-License-Identifier: Apache-2.0

package import Events

/// Everything one round of settling changes for one subscriber: committed in one transaction, or not at all.
package struct LedgerChange: Sendable {
    package var subscriber: String
    package var positions: [LedgerPosition]
    package var deferred: [DeferredChange]
    package var dead: [NewDeadLetter]
    /// Dead letters that are being sent again: kept, but listed no more.
    package var redriven: [Int64]
    /// Dead letters that are done with.
    package var resolved: [ResolvedLetter]
    /// Attempts that are worth a row of their own.
    package var attempts: [Attempt] = []
    /// Deliveries acknowledged at their first attempt, in bulk.
    package var passed: [PassedDeliveries] = []
    /// What of it belongs to runs of history.
    package var lanes: [LaneChange] = []
    package var state: [StateWrite]
    package var publications: [Publication]
    /// Where the publications' topics end as it is handed over: each of them comes there or later.
    package var topicEnds: [String: Offset] = [:]
    /// What version the state has from this change on; nil leaves it.
    package var stateVersion: Int?
    /// Answers to pulls whose leases began, were extended, or are all over.
    package var leases: [LeaseChange] = []
    package var pause: PauseChange?
    package var standstills: [StandstillChange] = []
    /// On disk, through a power cut, before the completion is called, whatever else it holds.
    package var needsSync = false

    package init(
        subscriber: String, positions: [LedgerPosition] = [], deferred: [DeferredChange] = [],
        dead: [NewDeadLetter] = [], redriven: [Int64] = [], resolved: [ResolvedLetter] = [],
        state: [StateWrite] = [], publications: [Publication] = []
    ) {
        self.subscriber = subscriber
        self.positions = positions
        self.deferred = deferred
        self.dead = dead
        self.redriven = redriven
        self.resolved = resolved
        self.state = state
        self.publications = publications
    }

    /// Losing it to a power cut must not go unnoticed by the outside: its events may be out, its dead letters seen.
    package var isDurable: Bool {
        needsSync || stateVersion != nil || pause != nil || !standstills.isEmpty || !publications.isEmpty
            || !dead.isEmpty || !redriven.isEmpty || !resolved.isEmpty
    }

    /// Bytes it holds in memory, about.
    var byteCount: Int {
        var count = 128 + positions.reduce(0) { $0 + 64 + $1.settled.count * 16 } + deferred.count * 256
        for letter in dead { count += letter.record.count + letter.reason.utf8.count + 64 }
        for case .put(let key, let value, _) in state { count += key.utf8.count + value.count + 64 }
        for publication in publications { count += publication.event.data.bytes.count + 512 }
        for attempt in attempts { count += 256 + (attempt.reason?.utf8.count ?? 0) + (attempt.trace?.utf8.count ?? 0) }
        for case .put(let row) in leases { count += 64 + row.runs.count * 16 }
        for passed in passed { count += 128 + passed.offsets.count * 8 }
        for lane in lanes {
            count += 64 + lane.positions.reduce(0) { $0 + 64 + $1.settled.count * 16 } + lane.deferred.count * 256
        }
        return count + state.count * 64
    }
}

/// How far a subscriber is in a topic.
package struct LedgerPosition: Hashable, Sendable {
    package var topic: String
    /// Everything below it is settled or has a ``Deferred``.
    package var position: Offset
    /// What above it is settled already, in order, not touching each other.
    package var settled: [ClosedRange<Offset>]

    package init(topic: String, position: Offset, settled: [ClosedRange<Offset>] = []) {
        self.topic = topic
        self.position = position
        self.settled = settled
    }
}

/// A delivery that waits for its next attempt.
package struct Deferred: Hashable, Sendable {
    package var topic: String
    package var offset: Offset
    /// Attempts made so far.
    package var attempts: Int
    /// When the next attempt is due; nil where it waits for an earlier one with the same key.
    package var due: Timestamp?
    package var key: String?
    /// Why the last attempt failed; empty where there was none.
    package var reason: String
    package var trace: String?
    package var replay: Bool
    /// The dead letter it was before it was sent again.
    package var deadLetter: Int64?

    package init(
        topic: String, offset: Offset, attempts: Int, due: Timestamp?, key: String? = nil, reason: String = "",
        trace: String? = nil, replay: Bool = false, deadLetter: Int64? = nil
    ) {
        self.topic = topic
        self.offset = offset
        self.attempts = attempts
        self.due = due
        self.key = key
        self.reason = reason
        self.trace = trace
        self.replay = replay
        self.deadLetter = deadLetter
    }
}

/// A place in the order of scheduled deliveries: by time, topic and offset.
package struct SchedulePlace: Hashable, Sendable {
    package var due: Timestamp
    package var topic: String
    package var offset: Offset

    package init(due: Timestamp, topic: String, offset: Offset) {
        self.due = due
        self.topic = topic
        self.offset = offset
    }
}

package enum DeferredChange: Hashable, Sendable {
    /// Adds it, or replaces the one of the same topic and offset.
    case put(Deferred)
    case remove(topic: String, offset: Offset)
}

/// What a committed ``LedgerChange`` came to.
package struct LedgerCommit: Hashable, Sendable {
    /// In the order of ``LedgerChange/dead``.
    package var deadLetters: [Int64] = []
    /// In the order of ``LedgerChange/publications``.
    package var outbox: [UInt64] = []
    /// Keys that `add` found holding something that isn't a number; they were counted from 0.
    package var notNumbers: [String] = []

    package init(deadLetters: [Int64] = [], outbox: [UInt64] = [], notNumbers: [String] = []) {
        self.deadLetters = deadLetters
        self.outbox = outbox
        self.notNumbers = notNumbers
    }
}

/// What the ledger knows of a subscriber.
package struct SubscriberLedger: Hashable, Sendable {
    package var positions: [LedgerPosition]
    /// In order of topic and offset.
    package var deferred: [Deferred]
    /// Deliveries that wait for a time that their publisher set, the first due first, and how many there are in all.
    package var scheduled: [Deferred] = []
    package var scheduledCount = 0
    package var leases: [LeaseRow] = []
    /// Since when and why it stands still, where somebody or something stopped it.
    package var pause: PauseRecord?
    package var standstills: [Standstill] = []
    /// Those that are running, the oldest first.
    package var lanes: [LaneLedger]

    package init(positions: [LedgerPosition], deferred: [Deferred], lanes: [LaneLedger] = []) {
        self.positions = positions
        self.deferred = deferred
        self.lanes = lanes
    }
}

/// An event that a handler published and that isn't known to be in its topic yet.
package struct OutboxRow: Hashable, Sendable {
    package var id: UInt64
    package var topic: String
    /// One record as `fl_record.h` has it, with `outbox` set to ``id``; offset, time and key are still to come.
    package var record: [UInt8]
}
