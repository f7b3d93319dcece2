// SPDX-License-Identifier: Apache-2.0

package import Events

/// That a subscriber stands still, over restarts, until it is resumed.
package struct PauseRecord: Hashable, Sendable {
    package enum Cause: String, Sendable {
        /// Somebody asked for it.
        case hand
        /// A dead letter, with `on dead pause`.
        case dead
        /// A reload that changed it made it fail, with `on bad_reload pause` or where it could not go back.
        case badReload = "bad_reload"
    }

    package var since: Timestamp
    package var cause: Cause
    /// In words; may be empty.
    package var reason: String

    package init(since: Timestamp, cause: Cause, reason: String = "") {
        self.since = since
        self.cause = cause
        self.reason = reason
    }
}

package enum PauseChange: Hashable, Sendable {
    case pause(PauseRecord)
    case resume
}
