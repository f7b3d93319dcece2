// SPDX-License-Identifier: Apache-2.0

/// What went wrong in a history, by kind.
package struct Faults: Sendable {
    package var kills = 0
    /// Crashes that took writes along which were not synced.
    package var powerCuts = 0
    /// Appends that were on disk when the process died before it could say so.
    package var unansweredAppends = 0
    package var refusedAppends = 0
    package var failedReads = 0
    /// Times that batches were too many to be routed from memory.
    package var missedBatches = 0
    package var clockSetBack = 0
    /// Attempts that failed, and deliveries that their handler or client gave up on.
    package var failedAttempts = 0
    package var poison = 0
    package var refusedPulls = 0
    package var reloads = 0
    package var refusedReloads = 0
    /// Attempts that failed after a change and were not charged.
    package var refunded = 0
    /// Changed subscribers that went back to what they were, or could not and paused.
    package var undone = 0
    package var pausedChanges = 0
    /// Subscribers that a reload left as they were, since the same change had failed before.
    package var standing = 0
    package var cancelledReplays = 0

    package init() {}

    package static func += (a: inout Faults, b: Faults) {
        for path in Self.all { a[keyPath: path.path] += b[keyPath: path.path] }
    }

    package var list: [(name: String, count: Int)] {
        Self.all.map { ($0.name, self[keyPath: $0.path]) }
    }

    private static var all: [(name: String, path: WritableKeyPath<Faults, Int>)] {
        [
            ("kills", \.kills), ("power cuts", \.powerCuts), ("unanswered appends", \.unansweredAppends),
            ("refused appends", \.refusedAppends), ("failed reads", \.failedReads),
            ("batches missed in memory", \.missedBatches), ("clock set back", \.clockSetBack),
            ("failed attempts", \.failedAttempts), ("poison", \.poison), ("refused pulls", \.refusedPulls),
            ("reloads", \.reloads), ("refused reloads", \.refusedReloads), ("cancelled replays", \.cancelledReplays),
            ("refunded attempts", \.refunded), ("changes undone", \.undone), ("changes paused", \.pausedChanges),
            ("changes not tried again", \.standing),
        ]
    }
}
