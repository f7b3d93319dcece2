// SPDX-License-Identifier: Apache-2.0

import Events

/// One thing wrong with routes.conf, or worth a second look, and where.
package struct Diagnostic: Hashable, Sendable, CustomStringConvertible {
    package enum Severity: String, Sendable { case error, warning }

    package var severity: Severity
    package var code: DiagnosticCode
    package var message: String
    package var place: Place?
    /// One past the last marked character; on the same line.
    package var endColumn: Int
    /// What to do, or where else to look.
    package var hint: String?
    /// The line it stands in, without its line break.
    package var sourceLine: String?
    /// Other places that belong to it: the first of two declarations, what a name was mistaken for.
    package var related: [Related] = []

    package struct Related: Hashable, Sendable {
        package var place: Place
        package var message: String
        /// In UTF-16 units, from 1, where ``place`` counts Unicode scalars.
        package var editorColumn: Int

        init(_ message: String, in source: SourceText, _ range: Range<Int>) {
            place = source.place(of: range.lowerBound)
            self.message = message
            let before = source.line(of: range.lowerBound).unicodeScalars.prefix(place.column - 1)
            editorColumn = before.reduce(1) { $0 + UTF16.width($1) }
        }
    }

    init(_ severity: Severity, _ code: DiagnosticCode, _ message: String, hint: String? = nil) {
        self.severity = severity
        self.code = code
        self.message = message
        self.hint = hint
        endColumn = 0
    }

    init(
        _ severity: Severity, _ code: DiagnosticCode, _ message: String, hint: String?, in source: SourceText,
        _ range: Range<Int>
    ) {
        self.init(severity, code, message, hint: hint)
        let place = source.place(of: range.lowerBound)
        let line = source.line(of: range.lowerBound)
        let marked = source.text(range).prefix { $0 != "\n" && $0 != "\r\n" }.unicodeScalars.count
        self.place = place
        sourceLine = line
        endColumn = place.column + max(1, marked)
    }

    /// As a terminal shows it:
    ///
    ///     error[R034] routes.conf:41:9: unknown topic "orderz"
    ///        41 |   from  orderz
    ///           |         ^^^^^^ did you mean "orders"? (declared at routes.conf:8)
    package var description: String {
        guard let place, let sourceLine else {
            return "\(severity.rawValue)[\(code.rawValue)] \(message)" + (hint.map { "\n      | \($0)" } ?? "")
        }
        let number = String(place.line)
        let margin = String(repeating: " ", count: max(0, 5 - number.count)) + number
        let window = Window(sourceLine, from: place.column, to: endColumn)
        let gutter = String(repeating: " ", count: margin.count)
        return """
            \(severity.rawValue)[\(code.rawValue)] \(place): \(message)
            \(margin) | \(window.text)
            \(gutter) | \(window.indent)\(window.carets)\(hint.map { " " + $0 } ?? "")
            """
    }

    /// The part of a line that is shown, and what stands below it.
    private struct Window {
        var text: String
        var indent: String
        var carets: String

        private static let width = 120
        private static let lead = 40

        init(_ line: String, from: Int, to: Int) {
            let scalars = Array(line.unicodeScalars)
            let start = min(from - 1, scalars.count)
            let end = min(max(to - 1, start + 1), max(scalars.count, start + 1))
            let first = scalars.count > Self.width && start > Self.lead ? start - Self.lead : 0
            let last = min(scalars.count, first + Self.width)
            func string(_ range: Range<Int>) -> String {
                var view = String.UnicodeScalarView()
                // A control character would move the carets away, or the terminal's cursor.
                for scalar in scalars[range] {
                    view.append(scalar.value < 0x20 && scalar != "\t" || scalar.value == 0x7F ? "\u{FFFD}" : scalar)
                }
                return String(view)
            }
            text = (first > 0 ? "…" : "") + string(first..<max(first, last)) + (last < scalars.count ? "…" : "")
            let before = scalars[first..<max(first, start)]
            indent = (first > 0 ? " " : "") + String(before.map { $0 == "\t" ? Character("\t") : " " })
            carets = String(repeating: "^", count: max(1, min(end, max(last, start + 1)) - start))
        }
    }
}

/// Collects what is found, up to a number of errors.
struct Diagnostics {
    private(set) var all: [Diagnostic] = []
    private(set) var errorCount = 0
    private var warningCount = 0

    var isFull: Bool { errorCount >= Limits.routesErrorsMax }
    var hasErrors: Bool { errorCount > 0 }

    /// In the order of `files` and of the lines in them; what has no place comes last.
    func sorted(by files: [String]) -> [Diagnostic] {
        let order = Dictionary(uniqueKeysWithValues: zip(files, 0...))
        func key(_ diagnostic: Diagnostic) -> (Int, Int, Int) {
            guard let place = diagnostic.place else { return (.max, 0, 0) }
            return (order[place.file] ?? .max, place.line, place.column)
        }
        return all.enumerated().sorted { a, b in
            let (first, second) = (key(a.element), key(b.element))
            return first == second ? a.offset < b.offset : first < second
        }.map(\.element)
    }

    mutating func add(_ diagnostic: Diagnostic) {
        guard !isFull else { return }
        guard diagnostic.severity == .error else {
            warningCount += 1
            if warningCount <= Limits.routesWarningsMax {
                all.append(diagnostic)
            } else if warningCount == Limits.routesWarningsMax + 1 {
                all.append(
                    Diagnostic(
                        .warning, .tooMany, "more than \(Limits.routesWarningsMax) warnings; the rest is not shown"))
            }
            return
        }
        all.append(diagnostic)
        errorCount += 1
        if isFull {
            all.append(
                Diagnostic(.warning, .tooMany, "more than \(Limits.routesErrorsMax - 1) errors; the rest is not shown"))
        }
    }

    mutating func error(
        _ code: DiagnosticCode, _ message: String, hint: String? = nil, related: [Diagnostic.Related] = [],
        in source: SourceText, _ range: Range<Int>
    ) {
        guard !isFull else { return }
        var diagnostic = Diagnostic(.error, code, message, hint: hint, in: source, range)
        diagnostic.related = related
        add(diagnostic)
    }

    /// What it would say is made up only where it is shown: there may be one for each line of a large file.
    mutating func warning(
        _ code: DiagnosticCode, _ message: @autoclosure () -> String, hint: @autoclosure () -> String? = nil,
        related: @autoclosure () -> [Diagnostic.Related] = [], in source: SourceText, _ range: Range<Int>
    ) {
        guard !isFull, warningCount <= Limits.routesWarningsMax else { return }
        var diagnostic = Diagnostic(.warning, code, message(), hint: hint(), in: source, range)
        diagnostic.related = related()
        add(diagnostic)
    }
}
