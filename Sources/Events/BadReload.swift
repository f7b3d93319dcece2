// SPDX-License-Identifier: Apache-2.0

/// A reload that changed a subscriber, whose first deliveries failed then.
package struct BadReload: Hashable, Codable, Sendable {
    package enum End: String, Codable, Sendable {
        /// It runs again what it ran before.
        case undone
        case paused
        /// It was reported, and goes on.
        case kept
    }

    package var end: End
    /// The generation that changed it.
    package var generation: Int
    /// What the change was, as ``SubscriberVersion``: equal files are not tried again.
    package var fingerprint: String
    /// The generation whose block and plugin it runs again.
    package var previous: Int?
    /// Milliseconds.
    package var time: Int64
    package var error: String
    /// Where in a script it happened, as a stack trace.
    package var trace: String?
    /// Attempts that failed, and of how many deliveries.
    package var failures: Int
    package var deliveries: Int
    /// Why it was paused in place of being undone.
    package var obstacle: String?

    package init(
        end: End, generation: Int, fingerprint: String, previous: Int? = nil, time: Timestamp, error: String,
        trace: String?, failures: Int, deliveries: Int, obstacle: String? = nil
    ) {
        self.end = end
        self.generation = generation
        self.fingerprint = fingerprint
        self.previous = previous
        self.time = time.milliseconds
        self.error = error
        self.trace = trace
        self.failures = failures
        self.deliveries = deliveries
        self.obstacle = obstacle
    }
}
