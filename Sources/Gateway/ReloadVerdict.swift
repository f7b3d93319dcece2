// SPDX-License-Identifier: Apache-2.0

package import Events

/// How a reload or a rollback ended.
package enum ReloadVerdict: Hashable, Sendable {
    /// The new generation runs; `changes` name what it changed, in words.
    case applied(generation: Int, changes: [String])
    /// Everything is as it was. The texts say why.
    case refused(diagnostics: [String])
    /// Everything is as it was. The texts name what only a restart can change.
    case restartNeeded(diagnostics: [String])
    /// The new generation was not ready in time; everything is as it was. The texts name what was not ready.
    case timedOut(after: Duration, diagnostics: [String])

    package var isApplied: Bool { if case .applied = self { true } else { false } }

    /// In one word for a metric's label.
    package var result: String {
        switch self {
        case .applied: "applied"
        case .refused: "refused"
        case .restartNeeded: "restart_needed"
        case .timedOut: "timed_out"
        }
    }

    package static let results = ["applied", "refused", "restart_needed", "timed_out"]

    /// As people read it.
    package var words: String { result.replacing("_", with: " ") }

    /// What is wrong, where it wasn't applied.
    package var diagnostics: [String] {
        switch self {
        case .applied: []
        case .refused(let diagnostics), .restartNeeded(let diagnostics), .timedOut(_, let diagnostics): diagnostics
        }
    }
}

/// How the running configuration stands to what is on disk, for `/v1/status`.
package struct ConfigStatus: Hashable, Sendable {
    /// Of all files of the running generation.
    package var hash = ""
    package var applied: Timestamp?
    package var trigger = ""
    /// The generation whose files run, where it was gone back to.
    package var origin: Int?
    /// What is on disk is not what runs, since it was gone back.
    package var differsFromDisk = false
    /// The last that did not take effect.
    package var lastAttempt: ReloadAttemptSummary?

    package init() {}

    func write(to json: inout JSONWriter) {
        json.field("hash", hash)
        if let applied { json.field("applied", applied) }
        json.field("trigger", trigger)
        json.field("origin", ifPresent: origin)
        json.field("differsFromDisk", differsFromDisk)
        if let lastAttempt { json.object("lastAttempt") { lastAttempt.write(to: &$0) } }
    }
}

/// A reload that was asked for and did not take effect.
package struct ReloadAttemptSummary: Hashable, Sendable {
    package var time: Timestamp
    package var trigger: String
    package var verdict: String
    /// The generation that went on.
    package var generation: Int
    /// The first of what was wrong.
    package var diagnostics: [String]
    /// How many there were.
    package var count: Int

    package init(
        time: Timestamp, trigger: String, verdict: String, generation: Int, diagnostics: [String], count: Int
    ) {
        self.time = time
        self.trigger = trigger
        self.verdict = verdict
        self.generation = generation
        self.diagnostics = diagnostics
        self.count = count
    }

    func write(to json: inout JSONWriter) {
        json.field("time", time)
        json.field("trigger", trigger)
        json.field("verdict", verdict)
        json.field("generation", generation)
        json.field("errors", count)
        json.array("diagnostics") { json in for diagnostic in diagnostics { json.value(diagnostic) } }
    }
}
