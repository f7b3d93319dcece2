// SPDX-License-Identifier: Apache-2.0

extension Diagnostic {
    /// What is wrong with a plugin, or with the folder of plugins, shown at the line of routes.conf that uses it.
    package static func plugin(
        _ message: String, hint: String? = nil, at place: Place? = nil, sourceLine: String? = nil
    ) -> Diagnostic {
        var diagnostic = Diagnostic(.error, .badPlugin, message, hint: hint)
        diagnostic.place = place
        diagnostic.sourceLine = sourceLine
        diagnostic.endColumn = (place?.column ?? 0) + 1
        return diagnostic
    }
}
