// SPDX-License-Identifier: Apache-2.0

import Events

/// Reads a filter from UTF-8 bytes.
///
///     filter  = or | "cesql" quoted ;
///     or      = and { "or" and } ;
///     and     = not { "and" not } ;
///     not     = "not" not | prim ;
///     prim    = "(" or ")" | "exists" path | "true" | "false" | pred | path ;
///     pred    = operand relop operand
///             | operand ["not"] "in" "(" lit { "," lit } ")"
///             | operand ["not"] ("like" | "startswith" | "endswith" | "contains") string
///             | path "is" ["not"] ("missing"|"null"|"string"|"number"|"boolean"|"array"|"object") ;
///     operand = path | lit | ("lower"|"length"|"num"|"str") "(" path ")" ;
///     relop   = "=" | "!=" | "<>" | "<" | "<=" | ">" | ">=" ;
///     path    = attr | "attr" ("." attr | "[" string "]")
///             | "data" { "." key | "[" int "]" | "[" string "]" | "[*]" } | "meta" "." ("topic" | "received") ;
///
/// `quoted` is a ``QuotedText`` that holds a ``CESQL``. Keywords and attributes fold to lower case; keys of the data do not.
package struct FilterParser {
    let bytes: [UInt8]
    var at: Int
    /// A statement of routes.conf: ends with its line, unless that ends in, or the next starts with, `and` or `or`, or
    /// a parenthesis is open.
    let isStatement: Bool
    var depth = 0
    var openParentheses = 0
    var predicates = 0
    package internal(set) var warnings: [FilterWarning] = []
    private let start: Int

    package init(_ bytes: [UInt8], from start: Int, isStatement: Bool) {
        self.bytes = bytes
        self.start = start
        self.at = start
        self.isStatement = isStatement
    }

    /// Where the filter ended: the byte after its last token.
    package var end: Int { at }

    package mutating func parse() throws(FilterError) -> Expression {
        skipSpace()
        guard !isAtEnd else {
            throw error("a filter is missing", hint: "write for instance: type = 'order.placed'", at..<at + 1)
        }
        let strict = try parseStrict()
        let expression = if let strict { strict } else { try parseOr() }
        let end = at
        skipSpace()
        guard isAtEnd else {
            if strict != nil {
                throw error(
                    "a CESQL filter stands alone, found \(found)", hint: "write the whole filter in one dialect",
                    tokenRange)
            }
            if peekWord()?.lowercased() == "where" || byte == UInt8(ascii: ")") {
                throw error("unexpected \(found)", hint: nil, tokenRange)
            }
            let expected = isStatement ? "expected `and`, `or` or the end of the line" : "expected `and` or `or`"
            throw error("\(expected), found \(found)", hint: hintAfterExpression(), tokenRange)
        }
        guard end - start <= Limits.filterBytesMax else {
            throw error(
                "the filter is \(end - start) bytes; the limit is \(Limits.filterBytesMax)",
                hint: "split the subscriber in two", start..<start + 1)
        }
        at = end
        return expression
    }

    /// `cesql "…"`; nil where something else is here.
    private mutating func parseStrict() throws(FilterError) -> Expression? {
        let before = at
        guard peekWord()?.lowercased() == "cesql" else { return nil }
        at += 5
        skipSpace()
        switch byte {
        case UInt8(ascii: "\""):
            let quoted: QuotedText
            do throws(QuotedText.Problem) {
                quoted = try QuotedText(bytes, at: at)
            } catch {
                throw self.error(error.message, hint: error.hint, error.range)
            }
            at = quoted.end
            var parser = CESQLParser(quoted, in: bytes)
            return .predicate(.cesql(try parser.parse()))
        case UInt8(ascii: "'"):
            throw error("a CESQL filter stands in double quotes", hint: "write: cesql \"…\"", tokenRange)
        default:
            at = before
            return nil
        }
    }

    // MARK: or, and, not

    private mutating func parseOr() throws(FilterError) -> Expression {
        let start = at
        var terms = [try parseAnd()]
        while try takeConnective("or") { terms.append(try parseAnd()) }
        if terms.count > 1, hasLooseAnd {
            warnings.append(
                FilterWarning(
                    kind: .mixedConnectives, message: "`and` and `or` are mixed without parentheses",
                    hint: "`and` binds tighter here; CESQL reads it otherwise; write the parentheses", range: start..<at
                ))
        }
        return flattened(terms, Expression.or) { if case .or(let inner) = $0 { inner } else { nil } }
    }

    /// Whether the innermost open parenthesis holds an `and` without parentheses of its own.
    private var hasLooseAnd = false

    private mutating func parseAnd() throws(FilterError) -> Expression {
        var terms = [try parseNot()]
        while try takeConnective("and") { terms.append(try parseNot()) }
        if terms.count > 1 { hasLooseAnd = true }
        return flattened(terms, Expression.and) { if case .and(let inner) = $0 { inner } else { nil } }
    }

    private func flattened(
        _ terms: [Expression], _ join: ([Expression]) -> Expression, _ inner: (Expression) -> [Expression]?
    ) -> Expression {
        terms.count == 1 ? terms[0] : join(terms.flatMap { inner($0) ?? [$0] })
    }

    /// Takes `word` if it is next, on this line or at the start of the next.
    private mutating func takeConnective(_ word: String) throws(FilterError) -> Bool {
        let before = at
        skipSpace(acrossLines: true)
        guard peekWord()?.lowercased() == word else {
            at = before
            return false
        }
        at += word.utf8.count
        skipSpace(acrossLines: true)
        guard !isAtEnd else { throw error("expected a predicate after `\(word)`", hint: nil, tokenRange) }
        return true
    }

    private mutating func parseNot() throws(FilterError) -> Expression {
        guard peekWord()?.lowercased() == "not" else { return try parsePrimary() }
        try enter()
        at += 3
        skipSpace(acrossLines: true)
        let start = at
        let hasParenthesis = byte == UInt8(ascii: "(")
        let term = try parseNot()
        depth -= 1
        if !hasParenthesis, case .predicate(let predicate) = term, predicate.isReadOtherwiseBehindNot {
            warnings.append(
                FilterWarning(
                    kind: .looseNot, message: "`not` stands before a comparison without parentheses",
                    hint: "it means not (\(predicate.canonical)); CESQL reads it otherwise; write the parentheses",
                    range: start..<at))
        }
        return .not(term)
    }

    private mutating func enter() throws(FilterError) {
        depth += 1
        guard depth <= Limits.filterDepthMax else {
            throw error(
                "the filter nests deeper than \(Limits.filterDepthMax)", hint: "split the subscriber in two", tokenRange
            )
        }
    }

    private mutating func parsePrimary() throws(FilterError) -> Expression {
        skipSpace()
        guard byte == UInt8(ascii: "(") else { return try parsePredicate() }
        try enter()
        let open = at
        at += 1
        openParentheses += 1
        let outer = hasLooseAnd
        hasLooseAnd = false
        skipSpace()
        guard !isAtEnd else { throw error("this parenthesis is not closed", hint: "add `)`", open..<open + 1) }
        let inner = try parseOr()
        skipSpace()
        guard byte == UInt8(ascii: ")") else {
            if isAtEnd { throw error("this parenthesis is not closed", hint: "add `)`", open..<open + 1) }
            // What starts a line in routes.conf is more likely the next statement.
            if isStatement, bytes[open..<at].contains(UInt8(ascii: "\n")) {
                throw error("this parenthesis is not closed", hint: "add `)`", open..<open + 1)
            }
            throw error("expected `and`, `or` or `)`, found \(found)", hint: hintAfterExpression(), tokenRange)
        }
        at += 1
        openParentheses -= 1
        hasLooseAnd = outer
        depth -= 1
        return inner
    }

    // MARK: bytes

    var byte: UInt8? { at < bytes.count ? bytes[at] : nil }

    /// The end of the text; in a statement also `;`, `}`, `{`, and outside of parentheses the line's end.
    var isAtEnd: Bool {
        guard let byte else { return true }
        guard isStatement else { return false }
        switch byte {
        case UInt8(ascii: ";"), UInt8(ascii: "}"), UInt8(ascii: "{"): return true
        case UInt8(ascii: "\n"): return openParentheses == 0
        default: return false
        }
    }

    mutating func skipSpace(acrossLines: Bool = false) {
        while let byte {
            switch byte {
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"): at += 1
            case UInt8(ascii: "\n") where !isStatement || acrossLines || openParentheses > 0: at += 1
            case UInt8(ascii: "#") where isStatement:
                while let byte = self.byte, byte != UInt8(ascii: "\n") { at += 1 }
            default: return
            }
        }
    }

    /// The letters, digits and underscores that start here, if a letter or underscore starts them.
    func peekWord() -> String? {
        guard let first = byte, Self.isLetter(first) || first == UInt8(ascii: "_") else { return nil }
        var end = at
        while end < bytes.count, Self.isWord(bytes[end]) { end += 1 }
        return String(decoding: bytes[at..<end], as: UTF8.self)
    }

    /// The token here, for an error's caret.
    var tokenRange: Range<Int> {
        guard at < bytes.count else { return at..<at + 1 }
        var end = at
        if Self.isWord(bytes[at]) {
            while end < bytes.count, Self.isWord(bytes[end]) || bytes[end] == UInt8(ascii: ".") { end += 1 }
        } else {
            end += 1
            while end < bytes.count, bytes[end] & 0xC0 == 0x80 { end += 1 }
        }
        return at..<end
    }

    /// The token here as an error names it.
    var found: String {
        if isAtEnd {
            switch byte {
            case nil: return "the end of the text"
            case UInt8(ascii: "\n"): return "the end of the line"
            default: break
            }
        }
        return "`\(String(decoding: bytes[tokenRange.clamped(to: 0..<bytes.count)], as: UTF8.self))`"
    }

    private func hintAfterExpression() -> String? {
        switch byte {
        case UInt8(ascii: "&"): "write `and`"
        case UInt8(ascii: "|"): "write `or`"
        case UInt8(ascii: "="): "`=` compares once; write `and` between two comparisons"
        default: nil
        }
    }

    func error(_ message: String, hint: String?, _ range: Range<Int>) -> FilterError {
        FilterError(message, hint: hint, range: range, in: bytes)
    }

    static func isLetter(_ byte: UInt8) -> Bool {
        (byte | 0x20) >= UInt8(ascii: "a") && (byte | 0x20) <= UInt8(ascii: "z")
    }
    static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
    static func isWord(_ byte: UInt8) -> Bool { isLetter(byte) || isDigit(byte) || byte == UInt8(ascii: "_") }

    /// Words that a bare attribute's name can't be.
    static let reserved: Set<String> = [
        "and", "or", "not", "exists", "true", "false", "in", "like", "startswith", "endswith", "contains", "is", "attr",
        "data", "meta", "null", "missing",
    ]

    static func isPlainAttribute(_ name: String) -> Bool {
        guard let first = name.utf8.first, isLetter(first) else { return false }
        return name.utf8.allSatisfy { isLetter($0) || isDigit($0) } && !reserved.contains(name)
            && Function(rawValue: name) == nil
    }

    static func isPlainKey(_ key: String) -> Bool {
        guard let first = key.utf8.first, isLetter(first) || first == UInt8(ascii: "_") else { return false }
        return key.utf8.allSatisfy { isWord($0) || $0 == UInt8(ascii: "-") }
    }
}

extension Predicate {
    /// Whether `not` before it, which binds tighter in CESQL, takes the left operand alone there.
    fileprivate var isReadOtherwiseBehindNot: Bool {
        switch self {
        case .compare(.path(let path), .equal, .literal(.boolean(true))): !path.mayStandAlone
        case .compare, .isIn, .like: true
        case .affix, .exists, .isKind, .cesql: false
        }
    }
}
