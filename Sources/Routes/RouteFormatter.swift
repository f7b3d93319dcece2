// SPDX-License-Identifier: Apache-2.0

import Events

/// A file as ``RouteFormatter`` writes it.
package struct FormattedRoutes: Sendable {
    package var bytes: [UInt8]
    /// Why the text was left as it was; nil where it was not.
    package var refusal: String?
}

/// Lays out the text of routes.conf: two columns for each block, one statement on a line, arguments and comments of
/// neighbouring lines aligned. Comments, line breaks within statements and blocks on one line stay, blank lines too, but
/// only one in a row.
///
/// It works on words, not on what they mean, so a file with errors can be formatted as well.
package enum RouteFormatter {
    /// The same bytes give the same text, and a text it gave comes back as it is. Whatever a table was compiled from
    /// compiles to the same table.
    package static func format(_ bytes: [UInt8]) -> FormattedRoutes {
        let source = SourceText(path: "", bytes: bytes)
        if let refusal = refusal(of: source) { return FormattedRoutes(bytes: bytes, refusal: refusal) }
        guard let text = layOut(source) else {
            return FormattedRoutes(bytes: bytes, refusal: "blocks or lists nest deeper than \(Limits.routesDepthMax)")
        }
        // Broken text can be so broken that moving it mends it, or breaks it further. It is left alone.
        let formatted = SourceText(path: "", bytes: text)
        guard refusal(of: formatted) == nil, hasSameMeaning(source, formatted), layOut(formatted) == text else {
            return FormattedRoutes(bytes: bytes, refusal: "the layout can't be told from the mistakes; mend them first")
        }
        return FormattedRoutes(bytes: text, refusal: nil)
    }

    private static func refusal(of source: SourceText) -> String? {
        guard source.bytes.count <= Limits.routesBytesMax else {
            return "the file is \(source.bytes.count) bytes; the limit is \(Limits.routesBytesMax)"
        }
        if let line = source.firstLine(longerThan: Limits.routesLineBytesMax) {
            return "line \(line) is longer than \(Limits.routesLineBytesMax) bytes"
        }
        guard let bad = source.bytes.withUnsafeBufferPointer({ UTF8Check.firstInvalid($0) }) else { return nil }
        let what = source.bytes[bad] == 0 ? "a NUL byte" : "no UTF-8"
        return "line \(source.place(of: bad).line) holds \(what)"
    }

    /// nil where blocks nest too deep.
    private static func layOut(_ source: SourceText) -> [UInt8]? {
        var scanner = FormatScanner(source)
        let pieces = scanner.scan()
        if scanner.isTooDeep { return nil }
        var layout = FormatLayout(source, pieces)
        return layout.render()
    }

    // MARK: the check

    /// Whether nothing but space and `;` differs, and the statements are the same, or there are errors in both.
    private static func hasSameMeaning(_ old: SourceText, _ new: SourceText) -> Bool {
        guard substance(of: old) == substance(of: new) else { return false }
        var (oldParser, newParser) = (Parser(old, Diagnostics()), Parser(new, Diagnostics()))
        let (oldStatements, newStatements) = (oldParser.parse(), newParser.parse())
        if oldParser.diagnostics.hasErrors { return newParser.diagnostics.hasErrors }
        return !newParser.diagnostics.hasErrors && isSame(oldStatements, newStatements)
    }

    private static func substance(of source: SourceText) -> [UInt8] {
        let mark = source.bytes.starts(with: SourceText.byteOrderMark) ? 3 : 0
        return source.bytes[mark...].filter { !FormatScanner.isBlank($0) && $0 != 0x0A && $0 != UInt8(ascii: ";") }
    }

    private static func isSame(_ old: [Statement], _ new: [Statement]) -> Bool {
        old.count == new.count
            && zip(old, new).allSatisfy { old, new in
                old.keyword == new.keyword && old.filter == new.filter && isSame(old.arguments, new.arguments)
                    && (old.block == nil) == (new.block == nil)
                    && isSame(old.block?.statements ?? [], new.block?.statements ?? [])
            }
    }

    private static func isSame(_ old: [Argument], _ new: [Argument]) -> Bool {
        old.count == new.count
            && zip(old, new).allSatisfy { old, new in
                guard old.followsComma == new.followsComma else { return false }
                switch (old.value, new.value) {
                case (.word(let old), .word(let new)): return old == new
                case (.string(let old), .string(let new)): return old == new
                case (.call(let old, let oldItems), .call(let new, let newItems)):
                    return old == new && isSame(oldItems, newItems)
                case (.list(let old), .list(let new)): return isSame(old, new)
                default: return false
                }
            }
    }
}
