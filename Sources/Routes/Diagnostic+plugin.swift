// SPDX-License-Identifier: Apache-2.0

extension Diagnostic {
    /// What is wrong with a plugin, or with the folder of plugins: shown at the line of routes.conf that uses it, or at the
    /// line of the plugin.
    ///
    /// - Parameter length: of what is marked, in characters.
    package static func plugin(
        _ message: String, severity: Severity = .error, code: DiagnosticCode = .badPlugin, hint: String? = nil,
        at place: Place? = nil, length: Int = 1, sourceLine: String? = nil
    ) -> Diagnostic {
        var diagnostic = Diagnostic(severity, code, message, hint: hint)
        diagnostic.place = place
        diagnostic.sourceLine = sourceLine
        diagnostic.endColumn = (place?.column ?? 0) + length
        return diagnostic
    }
}
