// SPDX-License-Identifier: Apache-2.0

import Events

extension FilterParser {
    struct Placed<Value> {
        var value: Value
        var range: Range<Int>
    }

    mutating func parsePredicate() throws(FilterError) -> Expression {
        predicates += 1
        guard predicates <= Limits.filterPredicatesMax else {
            throw error(
                "the filter has more than \(Limits.filterPredicatesMax) predicates",
                hint: "use `in (…)`, or split the subscriber in two", tokenRange)
        }
        if peekWord()?.lowercased() == "exists" {
            at += 6
            skipSpace()
            return .predicate(.exists(try parsePath("`exists` needs a path").value))
        }
        let left = try parseOperand()
        skipSpace()
        let negation = at
        var isNegated = false
        if peekWord()?.lowercased() == "not" {
            isNegated = true
            at += 3
            skipSpace()
        }
        if let word = peekWord()?.lowercased() {
            let start = at
            switch word {
            case "in":
                at += 2
                return try negated(isNegated, left, word, parseIn(left, start..<at))
            case "like":
                at += 4
                let pattern = try parseString(after: word)
                try checkText(left, word)
                return try negated(isNegated, left, word, .like(left.value, pattern.value))
            case "startswith", "endswith", "contains":
                at += word.utf8.count
                let text = try parseString(after: word)
                try checkText(left, word)
                let affix: Affix = word == "startswith" ? .startsWith : word == "endswith" ? .endsWith : .contains
                return try negated(isNegated, left, word, .affix(left.value, affix, text.value))
            case "is" where !isNegated:
                at += 2
                return try parseIs(left)
            default: break
            }
        }
        if isNegated {
            throw error(
                "expected `in`, `like`, `startswith`, `endswith` or `contains` after `not`, found \(found)",
                hint: "`not` before a comparison stands in front of it: not (a = b)", tokenRange)
        }
        at = negation
        guard let comparison = try takeComparison() else { return try bare(left) }
        skipSpace()
        let right = try parseOperand(after: comparison)
        if case .path(.attribute) = left.value, case .path(.attribute(let name)) = right.value, !comparison.isOrdering,
            !Self.textAttributes.contains(name)
        {
            warnings.append(
                FilterWarning(
                    kind: .attributeTypes,
                    message: "how these compare depends on how the event was sent: `\(name)` is text in HTTP headers",
                    hint: "as numbers: num(…) on both sides; as text: str(…)",
                    range: left.range.lowerBound..<right.range.upperBound))
        }
        return .predicate(try compare(left, comparison, right))
    }

    /// An operand on its own: a constant, or a path that must be true.
    private func bare(_ operand: Placed<Operand>) throws(FilterError) -> Expression {
        switch operand.value {
        case .literal(.boolean(let value)): return .constant(value)
        case .literal(let literal):
            throw error("\(literal.canonical) is no predicate", hint: "compare it with a path", operand.range)
        case .call(_, let path):
            throw error(
                "\(operand.value.canonical) is no predicate",
                hint: "compare it, for instance with `=`, or ask `exists \(path.canonical)`", operand.range)
        case .path(.topic), .path(.received):
            throw error("\(operand.value.canonical) is no predicate", hint: "compare it", operand.range)
        case .path(.attribute(let name)) where !Path.attribute(name).mayStandAlone:
            throw error(
                "`\(name)` alone asks whether it is true", hint: "compare it: \(name) = '…'", operand.range)
        case .path:
            // `data.order_id order`: the operator is missing, or a word of another statement follows.
            return .predicate(.compare(operand.value, .equal, .literal(.boolean(true))))
        }
    }

    private func negated(
        _ isNegated: Bool, _ left: Placed<Operand>, _ word: String, _ predicate: Predicate
    ) throws(FilterError) -> Expression {
        guard isNegated else { return .predicate(predicate) }
        if left.value.path?.isList == true {
            throw error(
                "`not \(word)` on `[*]` can be read in two ways",
                hint: "for no element: not (\(predicate.canonical))", left.range)
        }
        return .not(.predicate(predicate))
    }

    private func checkText(_ operand: Placed<Operand>, _ word: String) throws(FilterError) {
        switch operand.value {
        case .literal:
            throw error("`\(word)` needs a path on its left", hint: nil, operand.range)
        case .call(.length, _), .call(.num, _):
            throw error("`\(word)` looks at text, and \(operand.value.canonical) is a number", hint: nil, operand.range)
        case .path(.received):
            throw error("`\(word)` looks at text, and meta.received is a time", hint: nil, operand.range)
        default: break
        }
    }

    private mutating func parseIn(_ left: Placed<Operand>, _ keyword: Range<Int>) throws(FilterError) -> Predicate {
        skipSpace()
        guard byte == UInt8(ascii: "(") else {
            throw error("expected `(` after `in`, found \(found)", hint: "write: in ('a', 'b')", tokenRange)
        }
        if case .literal = left.value { throw error("`in` needs a path on its left", hint: nil, left.range) }
        if left.value == .path(.received) {
            throw error("meta.received can't be one of a list", hint: "use `<` and `>=`", left.range)
        }
        at += 1
        openParentheses += 1
        var list: [Literal] = []
        while true {
            skipSpace()
            if list.isEmpty, byte == UInt8(ascii: ")") { throw error("`in` needs a value", hint: nil, tokenRange) }
            let item = try parseLiteral("a value")
            if let first = list.first, !first.isComparable(with: item.value) {
                throw error(
                    "`in` mixes \(first.kindName) and \(item.value.kindName)",
                    hint: "use values of one kind, or two `in` joined by `or`", item.range)
            }
            try checkEquality(left, item)
            list.append(item.value)
            guard list.count <= Limits.filterListMax else {
                throw error("`in` has more than \(Limits.filterListMax) values", hint: nil, item.range)
            }
            skipSpace()
            if byte == UInt8(ascii: ",") {
                at += 1
            } else if byte == UInt8(ascii: ")") {
                at += 1
                break
            } else {
                throw error("expected `,` or `)`, found \(found)", hint: nil, tokenRange)
            }
        }
        openParentheses -= 1
        return .isIn(left.value, list)
    }

    private mutating func parseIs(_ left: Placed<Operand>) throws(FilterError) -> Expression {
        skipSpace()
        var isNegated = false
        if peekWord()?.lowercased() == "not" {
            isNegated = true
            at += 3
            skipSpace()
        }
        guard let word = peekWord(), let kind = ValueKind(rawValue: word.lowercased()) else {
            let kinds = ValueKind.allCases.map(\.rawValue).joined(separator: ", ")
            throw error("expected one of \(kinds), found \(found)", hint: nil, tokenRange)
        }
        guard case .path(let path) = left.value else {
            throw error("`is` needs a path on its left", hint: nil, left.range)
        }
        switch path {
        case .data: break
        case .attribute where kind == .missing: break
        case .attribute:
            throw error(
                "an attribute is always text or missing", hint: "write: \(path.canonical) is missing", tokenRange)
        case .topic, .received:
            throw error("\(path.canonical) is always there", hint: nil, left.range)
        }
        at += word.utf8.count
        let predicate = Predicate.isKind(path, kind)
        if isNegated, path.isList, kind != .missing {
            throw error(
                "`is not` on `[*]` can be read in two ways", hint: "for no element: not (\(predicate.canonical))",
                left.range)
        }
        // One form for each meaning: `is not missing` is `exists`.
        if kind == .missing { return isNegated ? .predicate(.exists(path)) : .not(.predicate(.exists(path))) }
        return isNegated ? .not(.predicate(predicate)) : .predicate(predicate)
    }

    // MARK: comparisons

    private mutating func takeComparison() throws(FilterError) -> Comparison? {
        let next = at + 1 < bytes.count ? bytes[at + 1] : 0
        switch byte {
        case UInt8(ascii: "="):
            if next == UInt8(ascii: "=") {
                throw error("`==` is not an operator", hint: "write `=`", at..<at + 2)
            }
            at += 1
            return .equal
        case UInt8(ascii: "!"):
            guard next == UInt8(ascii: "=") else {
                throw error("unexpected `!`", hint: "write `!=` or `not`", at..<at + 1)
            }
            at += 2
            return .notEqual
        case UInt8(ascii: "<"):
            at += next == UInt8(ascii: "=") || next == UInt8(ascii: ">") ? 2 : 1
            return next == UInt8(ascii: "=") ? .lessOrEqual : next == UInt8(ascii: ">") ? .notEqual : .less
        case UInt8(ascii: ">"):
            at += next == UInt8(ascii: "=") ? 2 : 1
            return next == UInt8(ascii: "=") ? .greaterOrEqual : .greater
        default: return nil
        }
    }

    private func compare(
        _ left: Placed<Operand>, _ comparison: Comparison, _ right: Placed<Operand>
    ) throws(FilterError) -> Predicate {
        if case .literal = left.value {
            if case .literal = right.value {
                throw error(
                    "a comparison needs a path", hint: "both sides are constants",
                    left.range.lowerBound..<right.range.upperBound)
            }
            return try compare(right, comparison.mirrored, left)
        }
        let isList = left.value.path?.isList == true || right.value.path?.isList == true
        if comparison == .notEqual, isList {
            let positive = Predicate.compare(left.value, .equal, right.value)
            throw error(
                "`!=` on `[*]` can be read in two ways", hint: "for no element: not (\(positive.canonical))", left.range
            )
        }
        switch right.value {
        case .literal(let literal):
            let placed = Placed(value: literal, range: right.range)
            if comparison.isOrdering {
                try checkOrdering(left, comparison, placed)
            } else {
                try checkEquality(left, placed)
            }
        case .path, .call:
            if left.value.path?.isList == true, right.value.path?.isList == true {
                throw error("`[*]` on both sides of a comparison", hint: "compare with one element: [0]", right.range)
            }
            for side in [left, right] where side.value == .path(.received) {
                throw error("meta.received can only be compared with a time in quotes", hint: nil, side.range)
            }
        }
        return .compare(left.value, comparison, right.value)
    }

    private func checkEquality(_ left: Placed<Operand>, _ literal: Placed<Literal>) throws(FilterError) {
        switch (left.value, literal.value) {
        case (.path(.received), .string(let text)):
            guard Instant.microseconds(text) != nil else {
                throw error(
                    "\(literal.value.canonical) is not a time", hint: "write '2026-03-09T14:05:00Z'", literal.range)
            }
        case (.path(.received), _):
            throw error("meta.received is a time", hint: "write '2026-03-09T14:05:00Z'", literal.range)
        case (.path(.topic), .string), (.call(.str, _), .string): break
        case (.call(.lower, _), .string(let text)):
            if text.lowercased() != text {
                throw error(
                    "\(left.value.canonical) is never \(literal.value.canonical)",
                    hint: "write \(quoted(text.lowercased()))", literal.range)
            }
        case (.path(.topic), _), (.call(.str, _), _), (.call(.lower, _), _):
            throw error(
                "\(left.value.canonical) is text, and \(literal.value.canonical) is a \(literal.value.kindName)",
                hint: "put it in quotes", literal.range)
        case (.call(.length, _), .integer), (.call(.num, _), .integer), (.call(.length, _), .number),
            (.call(.num, _), .number):
            break
        case (.call(.length, _), _), (.call(.num, _), _):
            throw error(
                "\(left.value.canonical) is a number, and \(literal.value.canonical) is a \(literal.value.kindName)",
                hint: nil, literal.range)
        case (.path(.attribute), _), (.path(.data), _), (.literal, _): break
        }
    }

    private func checkOrdering(
        _ left: Placed<Operand>, _ comparison: Comparison, _ literal: Placed<Literal>
    ) throws(FilterError) {
        if case .boolean = literal.value {
            throw error("`\(comparison.canonical)` can't order true and false", hint: "use `=`", literal.range)
        }
        guard case .path(.attribute(let name)) = left.value, case .string(let text) = literal.value else {
            if case .call(.lower, _) = left.value, case .string = literal.value { return }
            return try checkEquality(left, literal)
        }
        if Self.timeAttributes.contains(name) {
            guard Instant.microseconds(text) != nil else {
                throw error(
                    "\(literal.value.canonical) is not a time", hint: "write '2026-03-09T14:05:00Z'", literal.range)
            }
        } else if Int64(text) == nil {
            throw error(
                "`\(comparison.canonical)` on an attribute needs a number, or a time where the attribute is one",
                hint: "attributes that are times: \(Self.timeAttributes.sorted().joined(separator: ", "))",
                literal.range)
        }
    }

    /// Attributes that are text, however an event is sent.
    static let textAttributes: Set<String> = [
        "id", "source", "specversion", "type", "datacontenttype", "dataschema", "subject", "time",
    ]

    /// CloudEvents' own and those of its documented extensions (expirytime, recordedtime).
    static let timeAttributes: Set<String> = ["time", "expirytime", "recordedtime"]
}

extension Literal {
    var kindName: String {
        switch self {
        case .string: "string"
        case .integer, .number: "number"
        case .boolean: "boolean"
        }
    }

    func isComparable(with other: Literal) -> Bool { kindName == other.kindName }
}
