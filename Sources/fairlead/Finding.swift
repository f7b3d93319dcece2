// SPDX-License-Identifier: Apache-2.0

import Routes

/// What is wrong, or worth a look, with a configuration or a plugin that it uses.
struct Finding: Sendable, CustomStringConvertible {
    var diagnostic: Diagnostic
    /// Where in a plugin it happened, as a stack trace; nil where the diagnostic says it all.
    var trace: String?

    init(_ diagnostic: Diagnostic, trace: String? = nil) {
        self.diagnostic = diagnostic
        self.trace = trace
    }

    var description: String {
        diagnostic.description + (trace ?? "").split(separator: "\n").map { "\n      | \($0)" }.joined()
    }
}
