// SPDX-License-Identifier: Apache-2.0

import Events

/// Reads CESQL. The grammar stands at ``CESQL``.
///
/// Identifiers fold to lower case, keywords and functions to upper case. A sign before a digit belongs to the number,
/// so `4 -1` is two numbers.
struct CESQLParser {
    /// The text without the quotes and escapes it stands in, and where its bytes were written in `outer`.
    private let bytes: [UInt8]
    private let places: [Int]
    private let outer: [UInt8]

    private var at = 0
    private var token = Token(kind: .end, range: 0..<0)
    private var depth = 0
    private var operators = 0
    private var attributes: [String] = []

    private struct Token {
        enum Kind: Equatable {
            case keyword(String)
            case name(String)
            case string([UInt8])
            case integer(Int32)
            /// A sign of the grammar: an operator, a parenthesis, a comma.
            case sign(String)
            case unknown
            case end
        }
        var kind: Kind
        var range: Range<Int>
    }

    init(_ quoted: QuotedText, in outer: [UInt8]) {
        bytes = quoted.text
        places = quoted.places
        self.outer = outer
    }

    mutating func parse() throws(FilterError) -> CESQL {
        try advance()
        guard token.kind != .end else {
            throw error("a CESQL expression is missing", hint: "write for instance: type = 'order.placed'", token.range)
        }
        let root = try parseConnective()
        guard token.kind == .end else {
            throw error(
                "expected an operator or the end of the text, found \(found)", hint: hintForOperator, token.range)
        }
        return CESQL(root, attributes: attributes)
    }

    // MARK: grammar

    private mutating func parseConnective() throws(FilterError) -> CESQL.Node {
        let first = try parseComparison()
        guard let connective = self.connective else { return first }
        var terms = [first]
        while let next = self.connective {
            guard next == connective else {
                throw error(
                    "\(connective.rawValue) and \(next.rawValue) are mixed without parentheses",
                    hint: "CESQL's grammar and its text read this differently; write the parentheses", token.range)
            }
            try countOperator()
            try advance()
            terms.append(try parseComparison())
        }
        return .connective(
            connective,
            terms.flatMap { if case .connective(connective, let inner) = $0 { inner } else { [$0] } })
    }

    private var connective: CESQL.Connective? {
        if case .keyword(let word) = token.kind { CESQL.Connective(rawValue: word) } else { nil }
    }

    private mutating func parseComparison() throws(FilterError) -> CESQL.Node {
        var left = try parseSum()
        while case .sign(let sign) = token.kind, let comparison = Self.comparisons[sign] {
            try countOperator()
            try advance()
            left = .compare(left, comparison, try parseSum())
        }
        return left
    }

    private static let comparisons: [String: Comparison] = [
        "=": .equal, "!=": .notEqual, "<>": .notEqual, "<": .less, "<=": .lessOrEqual, ">": .greater,
        ">=": .greaterOrEqual,
    ]

    private mutating func parseSum() throws(FilterError) -> CESQL.Node {
        var left = try parseProduct()
        while case .sign(let sign) = token.kind, sign == "+" || sign == "-" {
            try countOperator()
            try advance()
            left = .arithmetic(left, CESQL.Arithmetic(rawValue: sign)!, try parseProduct())
        }
        return left
    }

    private mutating func parseProduct() throws(FilterError) -> CESQL.Node {
        var left = try parseTest()
        while case .sign(let sign) = token.kind, sign == "*" || sign == "/" || sign == "%" {
            try countOperator()
            try advance()
            left = .arithmetic(left, CESQL.Arithmetic(rawValue: sign)!, try parseTest())
        }
        return left
    }

    private mutating func parseTest() throws(FilterError) -> CESQL.Node {
        var left = try parseUnary()
        while case .keyword(let word) = token.kind, word == "NOT" || word == "LIKE" || word == "IN" {
            try countOperator()
            var isNegated = false
            if word == "NOT" {
                isNegated = true
                try advance()
            }
            switch token.kind {
            case .keyword("LIKE"):
                try advance()
                guard case .string(let pattern) = token.kind else {
                    throw error(
                        "expected a text in quotes after LIKE, found \(found)",
                        hint: "CESQL's patterns are written out", token.range)
                }
                let text = String(decoding: pattern, as: UTF8.self)
                left = .like(
                    left,
                    CESQL.Pattern(text: text, compiled: LikePattern.compile(text), spelling: spelling(pattern)))
                try advance()
            case .keyword("IN"):
                try advance()
                guard token.kind == .sign("(") else {
                    throw error("expected `(` after IN, found \(found)", hint: "write: IN ('a', 'b')", token.range)
                }
                guard next != UInt8(ascii: ")") else { throw error("IN needs a value", hint: nil, token.range) }
                left = .isIn(left, try parseList())
            default: throw error("expected LIKE or IN after NOT, found \(found)", hint: nil, token.range)
            }
            if isNegated { left = .not(left) }
        }
        return left
    }

    private mutating func parseUnary() throws(FilterError) -> CESQL.Node {
        let isNot = token.kind == .keyword("NOT")
        guard isNot || token.kind == .sign("-") else { return try parsePrimary() }
        try enter()
        try countOperator()
        try advance()
        let term = try parseUnary()
        depth -= 1
        return isNot ? .not(term) : .negate(term)
    }

    private mutating func parsePrimary() throws(FilterError) -> CESQL.Node {
        let start = token
        switch start.kind {
        case .sign("("):
            try enter()
            try advance()
            let inner = try parseConnective()
            guard token.kind == .sign(")") else {
                if token.kind == .end { throw error("this parenthesis is not closed", hint: "add `)`", start.range) }
                throw error("expected an operator or `)`, found \(found)", hint: hintForOperator, token.range)
            }
            try advance()
            depth -= 1
            return inner
        case .keyword("EXISTS"):
            try countOperator()
            try advance()
            guard case .name(let name) = token.kind else {
                throw error("expected an attribute after EXISTS, found \(found)", hint: nil, token.range)
            }
            let place = try attribute(name)
            try advance()
            return .exists(place)
        case .keyword("TRUE"), .keyword("FALSE"):
            try advance()
            return .boolean(start.kind == .keyword("TRUE"))
        case .string(let text):
            let spelling = spelling(text)
            try advance()
            return .string(text, spelling: spelling)
        case .integer(let value):
            try advance()
            return .integer(value)
        case .name(let name):
            if next == UInt8(ascii: "(") { return try parseCall(name) }
            let place = try attribute(name)
            try advance()
            return .attribute(place)
        default: throw error("expected a value, found \(found)", hint: hintForValue, start.range)
        }
    }

    private mutating func parseCall(_ name: String) throws(FilterError) -> CESQL.Node {
        let start = token.range
        guard let function = CESQLFunction(rawValue: name.uppercased()) else {
            let known = CESQLFunction.allCases.map(\.rawValue).joined(separator: ", ")
            throw error("unknown function `\(name)`", hint: "functions: \(known)", start)
        }
        try countOperator()
        try advance()
        let arguments = try parseList()
        guard function.arity.contains(arguments.count) else {
            let (low, high) = (function.arity.lowerBound, function.arity.upperBound)
            let takes = low == high ? "\(low)" : high == .max ? "\(low) or more" : "\(low) or \(high)"
            throw error(
                "\(function.rawValue) takes \(takes) \(high == 1 ? "value" : "values"), found \(arguments.count)",
                hint: nil, start)
        }
        return .call(function, arguments)
    }

    /// Expressions between parentheses, the first of which is here.
    private mutating func parseList() throws(FilterError) -> [CESQL.Node] {
        let open = token.range
        try enter()
        try advance()
        if token.kind == .sign(")") {
            try advance()
            depth -= 1
            return []
        }
        var items: [CESQL.Node] = []
        while true {
            let start = token.range
            items.append(try parseConnective())
            guard items.count <= Limits.filterListMax else {
                throw error("more than \(Limits.filterListMax) values", hint: nil, start)
            }
            switch token.kind {
            case .sign(","): try advance()
            case .sign(")"):
                try advance()
                depth -= 1
                return items
            case .end: throw error("this parenthesis is not closed", hint: "add `)`", open)
            default: throw error("expected `,` or `)`, found \(found)", hint: hintForOperator, token.range)
            }
        }
    }

    private mutating func attribute(_ name: String) throws(FilterError) -> Int {
        guard !name.contains("_") else {
            throw error(
                "`\(name)` can't be an attribute, whose names have letters and digits only",
                hint: "CESQL sees no data; the native dialect does: data.\(name)", token.range)
        }
        let folded = name.lowercased()
        if let place = attributes.firstIndex(of: folded) { return place }
        attributes.append(folded)
        return attributes.count - 1
    }

    private mutating func enter() throws(FilterError) {
        depth += 1
        guard depth <= Limits.filterDepthMax else {
            throw error(
                "the filter nests deeper than \(Limits.filterDepthMax)", hint: "split the subscriber in two",
                token.range)
        }
    }

    private mutating func countOperator() throws(FilterError) {
        operators += 1
        guard operators <= Limits.filterPredicatesMax else {
            throw error(
                "the filter has more than \(Limits.filterPredicatesMax) operators",
                hint: "use IN (…), or split the subscriber in two", token.range)
        }
    }

    // MARK: tokens

    private static let keywords: Set<String> = ["AND", "OR", "XOR", "NOT", "LIKE", "EXISTS", "IN", "TRUE", "FALSE"]

    /// The byte after the token and the space behind it.
    private var next: UInt8? {
        bytes[at...].first { !Self.isSpace($0) }
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r")
            || byte == UInt8(ascii: "\n")
    }

    private mutating func advance() throws(FilterError) {
        while at < bytes.count, Self.isSpace(bytes[at]) { at += 1 }
        let start = at
        guard at < bytes.count else {
            token = Token(kind: .end, range: start..<start)
            return
        }
        let byte = bytes[at]
        let following = at + 1 < bytes.count ? bytes[at + 1] : 0
        switch byte {
        case UInt8(ascii: "'"), UInt8(ascii: "\""):
            token = Token(kind: .string(try string(byte)), range: start..<at)
        case UInt8(ascii: "+"), UInt8(ascii: "-"):
            guard FilterParser.isDigit(following) else { return take(1) }
            at += 1
            while at < bytes.count, FilterParser.isDigit(bytes[at]) { at += 1 }
            token = Token(kind: .integer(try integer(start..<at)), range: start..<at)
        case _ where FilterParser.isWord(byte):
            while at < bytes.count, FilterParser.isWord(bytes[at]) { at += 1 }
            let word = String(decoding: bytes[start..<at], as: UTF8.self)
            if word.utf8.allSatisfy(FilterParser.isDigit) {
                token = Token(kind: .integer(try integer(start..<at)), range: start..<at)
            } else if Self.keywords.contains(word.uppercased()) {
                token = Token(kind: .keyword(word.uppercased()), range: start..<at)
            } else {
                token = Token(kind: .name(word), range: start..<at)
            }
        case UInt8(ascii: "<"): take(following == UInt8(ascii: "=") || following == UInt8(ascii: ">") ? 2 : 1)
        case UInt8(ascii: ">"): take(following == UInt8(ascii: "=") ? 2 : 1)
        case UInt8(ascii: "!") where following == UInt8(ascii: "="): take(2)
        case UInt8(ascii: "="), UInt8(ascii: "*"), UInt8(ascii: "/"), UInt8(ascii: "%"), UInt8(ascii: "("),
            UInt8(ascii: ")"), UInt8(ascii: ","):
            take(1)
        default:
            at += 1
            while at < bytes.count, bytes[at] & 0xC0 == 0x80 { at += 1 }
            token = Token(kind: .unknown, range: start..<at)
        }
    }

    private mutating func take(_ count: Int) {
        let sign = String(decoding: bytes[at..<at + count], as: UTF8.self)
        token = Token(kind: .sign(sign), range: at..<at + count)
        at += count
    }

    /// A backslash counts before the delimiter alone.
    private mutating func string(_ delimiter: UInt8) throws(FilterError) -> [UInt8] {
        let start = at
        var text: [UInt8] = []
        at += 1
        while at < bytes.count {
            let byte = bytes[at]
            at += 1
            if byte == delimiter {
                guard String(validating: text, as: UTF8.self) != nil else {
                    throw error("this text is not UTF-8", hint: nil, start..<at)
                }
                return text
            }
            if byte == UInt8(ascii: "\\"), at < bytes.count, bytes[at] == delimiter {
                text.append(delimiter)
                at += 1
            } else {
                text.append(byte)
            }
        }
        throw error(
            "this text has no closing quote", hint: "add `\(Character(Unicode.Scalar(delimiter)))`", start..<start + 1)
    }

    private func integer(_ range: Range<Int>) throws(FilterError) -> Int32 {
        let text = String(decoding: bytes[range], as: UTF8.self)
        guard let value = Int32(text) else {
            throw error("\(text) is no CESQL integer", hint: "they go from \(Int32.min) to \(Int32.max)", range)
        }
        return value
    }

    /// The string token here as the canonical text writes it. What would need escapes keeps those it has.
    private func spelling(_ text: [UInt8]) -> String {
        let isPlain = !text.contains { $0 == UInt8(ascii: "'") || $0 == UInt8(ascii: "\\") }
        return isPlain
            ? "'\(String(decoding: text, as: UTF8.self))'" : String(decoding: bytes[token.range], as: UTF8.self)
    }

    // MARK: errors

    private var found: String {
        token.kind == .end ? "the end of the text" : "`\(String(decoding: bytes[token.range], as: UTF8.self))`"
    }

    private var hintForOperator: String? {
        switch token.kind {
        case .integer where bytes[token.range.lowerBound] == UInt8(ascii: "-"):
            "a sign before a digit belongs to the number; write a space between"
        case .integer where bytes[token.range.lowerBound] == UInt8(ascii: "+"):
            "a sign before a digit belongs to the number; write a space between"
        case .unknown where bytes[token.range.lowerBound] == UInt8(ascii: "."):
            "CESQL sees attributes alone, and no data; the native dialect sees both"
        case .unknown where bytes[token.range.lowerBound] == UInt8(ascii: "&"): "write AND"
        case .unknown where bytes[token.range.lowerBound] == UInt8(ascii: "|"): "write OR"
        default: nil
        }
    }

    private var hintForValue: String? {
        switch token.kind {
        case .unknown where bytes[token.range.lowerBound] == UInt8(ascii: "!"): "write NOT"
        case .sign("="): "`=` compares once"
        default: nil
        }
    }

    private func error(_ message: String, hint: String?, _ range: Range<Int>) -> FilterError {
        let start = places[range.lowerBound]
        return FilterError(message, hint: hint, range: start..<max(start + 1, places[range.upperBound]), in: outer)
    }
}
