// SPDX-License-Identifier: Apache-2.0

package import Events
import Foundation
import GRDB

/// A reload that was asked for and did not take effect.
package struct ReloadAttempt: Hashable, Sendable {
    package var time: Timestamp
    package var trigger: String
    /// `refused`, `restart needed` or `timed out`.
    package var verdict: String
    package var details: Details

    /// What else is kept, as JSON.
    package struct Details: Hashable, Codable, Sendable {
        /// The generation that went on.
        package var generation: Int
        /// The first of what was wrong, in the words that `check` prints.
        package var diagnostics: [String]
        /// How many there were.
        package var count: Int

        package init(generation: Int, diagnostics: [String], count: Int) {
            self.generation = generation
            self.diagnostics = diagnostics
            self.count = count
        }
    }

    package init(time: Timestamp, trigger: String, verdict: String, details: Details) {
        self.time = time
        self.trigger = trigger
        self.verdict = verdict
        self.details = details
    }
}

extension Ledger {
    /// Keeps it with those before it, of which the oldest go. Blocks for a moment at most: where the disk fails, it is written
    /// when that works again.
    package func recordAttempt(_ attempt: ReloadAttempt) throws(Failure) {
        try perform(isDurable: false, timeout: Limits.attemptWriteTimeout) { db in
            let details = String(decoding: try JSONEncoder().encode(attempt.details), as: UTF8.self)
            try db.execute(
                sql: """
                    INSERT INTO reload_attempt (time, "trigger", verdict, details) VALUES (?, ?, ?, ?)
                    """,
                arguments: [attempt.time.milliseconds, attempt.trigger, attempt.verdict, details])
            try db.execute(
                sql: "DELETE FROM reload_attempt WHERE id <= (SELECT max(id) FROM reload_attempt) - ?",
                arguments: [Limits.reloadAttemptsKept])
        }
    }

    /// Newest first. Blocks.
    package func reloadAttempts(limit: Int) throws(Failure) -> [ReloadAttempt] {
        try read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT time, "trigger", verdict, details FROM reload_attempt ORDER BY id DESC LIMIT ?
                    """, arguments: [limit]
            ).map { row in
                let details: String = row[3]
                return ReloadAttempt(
                    time: row.time(0) ?? .distantPast, trigger: row[1], verdict: row[2],
                    details: try JSONDecoder().decode(ReloadAttempt.Details.self, from: Data(details.utf8)))
            }
        }
    }
}
