// SPDX-License-Identifier: Apache-2.0

package import Events

/// Why nothing is delivered to a subscriber though nobody paused it. Kept over restarts for as long as its block and its
/// plugin are what they were, or until somebody resumes it.
package struct Standstill: Hashable, Sendable {
    package enum Cause: String, Sendable, CaseIterable {
        /// The host had to stop its plugin again and again.
        case quarantine
        /// Its endpoint answered 410.
        case gone
        /// Its endpoint fails: the breaker is open. After a restart it is half-open, with one probe at once.
        case down
    }

    package var cause: Cause
    package var since: Timestamp
    /// In words; may be empty.
    package var reason: String
    /// Of the block and the plugin's files that it is about.
    package var fingerprint: String

    package init(cause: Cause, since: Timestamp, reason: String, fingerprint: String) {
        self.cause = cause
        self.since = since
        self.reason = reason
        self.fingerprint = fingerprint
    }
}

package enum StandstillChange: Hashable, Sendable {
    case begin(Standstill)
    case end(Standstill.Cause)
}
