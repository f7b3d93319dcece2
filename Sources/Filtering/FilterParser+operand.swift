// SPDX-License-Identifier: Apache-2.0

import Events

extension FilterParser {
    mutating func parseOperand(after comparison: Comparison? = nil) throws(FilterError) -> Placed<Operand> {
        let expected = comparison.map { "expected a value or a path after `\($0.canonical)`" } ?? "expected a predicate"
        guard !isAtEnd, let byte else { throw error("\(expected), found \(found)", hint: nil, tokenRange) }
        if byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "-") || Self.isDigit(byte) {
            let literal = try parseLiteral("a value")
            return Placed(value: .literal(literal.value), range: literal.range)
        }
        guard let word = peekWord() else {
            throw error("\(expected), found \(found)", hint: hint(for: byte), tokenRange)
        }
        let start = at
        switch word.lowercased() {
        case "true", "false":
            at += word.utf8.count
            return Placed(value: .literal(.boolean(word.lowercased() == "true")), range: start..<at)
        case "null":
            throw error(
                "nothing equals null", hint: comparison == .notEqual ? "write: is not null" : "write: is null",
                tokenRange)
        default: break
        }
        if let function = Function(rawValue: word.lowercased()), isCall(after: word) {
            at += word.utf8.count
            skipSpace()
            at += 1
            openParentheses += 1
            skipSpace()
            let path = try parsePath("`\(function.rawValue)` needs a path")
            if path.value == .received {
                throw error("`\(function.rawValue)` can't be used on meta.received", hint: nil, path.range)
            }
            skipSpace()
            guard self.byte == UInt8(ascii: ")") else {
                throw error("expected `)`, found \(found)", hint: nil, tokenRange)
            }
            at += 1
            openParentheses -= 1
            return Placed(value: .call(function, path.value), range: start..<at)
        }
        if isCall(after: word) {
            let functions = Function.allCases.map(\.rawValue).joined(separator: ", ")
            throw error("unknown function `\(word)`", hint: "functions: \(functions)", start..<start + word.utf8.count)
        }
        let path = try parsePath(expected)
        return Placed(value: .path(path.value), range: path.range)
    }

    private func isCall(after word: String) -> Bool {
        var next = at + word.utf8.count
        while next < bytes.count, bytes[next] == UInt8(ascii: " ") { next += 1 }
        return next < bytes.count && bytes[next] == UInt8(ascii: "(")
            && !["in", "and", "or", "not"].contains(word.lowercased())
    }

    private func hint(for byte: UInt8) -> String? {
        switch byte {
        case UInt8(ascii: "!"): "write `not`"
        case UInt8(ascii: "$"), UInt8(ascii: "."): "paths start with data., for instance data.total"
        default: nil
        }
    }

    // MARK: literals

    mutating func parseString(after word: String) throws(FilterError) -> Placed<String> {
        skipSpace()
        guard byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") else {
            throw error("expected a text in quotes after `\(word)`, found \(found)", hint: nil, tokenRange)
        }
        let literal = try parseLiteral("a text in quotes")
        guard case .string(let text) = literal.value else {
            throw error("expected a text in quotes", hint: nil, literal.range)
        }
        return Placed(value: text, range: literal.range)
    }

    mutating func parseLiteral(_ expected: String) throws(FilterError) -> Placed<Literal> {
        guard !isAtEnd, let byte else { throw error("expected \(expected), found \(found)", hint: nil, tokenRange) }
        let start = at
        switch byte {
        case UInt8(ascii: "'"), UInt8(ascii: "\""):
            return try parseQuoted(byte)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            return try parseNumber()
        default:
            if let word = peekWord() {
                switch word.lowercased() {
                case "true", "false":
                    at += word.utf8.count
                    return Placed(value: .boolean(word.lowercased() == "true"), range: start..<at)
                case "null": throw error("nothing equals null", hint: "write: is null", tokenRange)
                default:
                    throw error(
                        "expected \(expected), found \(found)", hint: "text stands in quotes: '\(word)'", tokenRange)
                }
            }
            throw error("expected \(expected), found \(found)", hint: nil, tokenRange)
        }
    }

    private mutating func parseQuoted(_ delimiter: UInt8) throws(FilterError) -> Placed<Literal> {
        let start = at
        var text: [UInt8] = []
        at += 1
        while true {
            guard let byte, byte != UInt8(ascii: "\n") || !isStatement else {
                throw error("this text has no closing quote", hint: nil, start..<start + 1)
            }
            at += 1
            if byte == delimiter {
                guard self.byte == delimiter else { break }
                at += 1
                text.append(delimiter)
            } else if byte == UInt8(ascii: "\\"), self.byte == delimiter {
                at += 1
                text.append(delimiter)
            } else {
                text.append(byte)
            }
        }
        guard let string = String(validating: text, as: UTF8.self) else {
            throw error("this text is not UTF-8", hint: nil, start..<at)
        }
        return Placed(value: .string(string), range: start..<at)
    }

    private mutating func parseNumber() throws(FilterError) -> Placed<Literal> {
        let start = at
        if byte == UInt8(ascii: "-") { at += 1 }
        let digits = at
        while let byte, Self.isDigit(byte) { at += 1 }
        guard at > digits else {
            throw error("expected a number after `-`", hint: "there is no arithmetic", start..<at)
        }
        var isInteger = true
        if byte == UInt8(ascii: "."), at + 1 < bytes.count, Self.isDigit(bytes[at + 1]) {
            isInteger = false
            at += 1
            while let byte, Self.isDigit(byte) { at += 1 }
        }
        if let e = byte, e | 0x20 == UInt8(ascii: "e") {
            var end = at + 1
            if end < bytes.count, bytes[end] == UInt8(ascii: "+") || bytes[end] == UInt8(ascii: "-") { end += 1 }
            let exponent = end
            while end < bytes.count, Self.isDigit(bytes[end]) { end += 1 }
            if end > exponent {
                isInteger = false
                at = end
            }
        }
        if let byte, Self.isWord(byte) || byte == UInt8(ascii: ".") {
            while let byte = self.byte, Self.isWord(byte) || byte == UInt8(ascii: ".") { at += 1 }
            throw error(
                "`\(String(decoding: bytes[start..<at], as: UTF8.self))` is not a number",
                hint: "a filter has no units; text stands in quotes", start..<at)
        }
        let text = String(decoding: bytes[start..<at], as: UTF8.self)
        if isInteger, let value = Int64(text) { return Placed(value: .integer(value), range: start..<at) }
        guard let value = Double(text), value.isFinite else {
            throw error("\(text) is too large for a number", hint: nil, start..<at)
        }
        return Placed(value: .number(value), range: start..<at)
    }

    // MARK: paths

    mutating func parsePath(_ expected: String) throws(FilterError) -> Placed<Path> {
        let start = at
        guard !isAtEnd, let word = peekWord() else { throw error("\(expected), found \(found)", hint: nil, tokenRange) }
        let name = word.lowercased()
        at += word.utf8.count
        switch name {
        case "data":
            let path = try parseSteps()
            return Placed(value: .data(path), range: start..<at)
        case "meta":
            guard byte == UInt8(ascii: ".") else {
                throw error("`meta` is no value", hint: "write meta.topic or meta.received", start..<at)
            }
            at += 1
            let fact = peekWord()?.lowercased() ?? ""
            let range = tokenRange
            at += fact.utf8.count
            switch fact {
            case "topic": return Placed(value: .topic, range: start..<at)
            case "received": return Placed(value: .received, range: start..<at)
            case "attempt":
                throw error(
                    "a filter is asked before there are attempts", hint: "plugins see event.attempt", start..<at)
            default:
                throw error("unknown `meta.\(fact)`", hint: "write meta.topic or meta.received", range)
            }
        case "attr":
            return Placed(value: .attribute(try parseNamedAttribute(start)), range: start..<at)
        default:
            if Self.reserved.contains(name) {
                throw error(
                    "\(expected), found `\(word)`", hint: "an attribute of that name: attr['\(name)']", start..<at)
            }
            if byte == UInt8(ascii: ".") || byte == UInt8(ascii: "[") {
                while let byte, Self.isWord(byte) || byte == UInt8(ascii: ".") { at += 1 }
                throw error(
                    "attributes have no parts", hint: "text stands in quotes; a path starts with data", start..<at)
            }
            guard !name.contains("_") else {
                throw error(
                    "`\(word)` can't be an attribute, whose names have letters and digits only",
                    hint: "in the data: data.\(word)", start..<at)
            }
            return Placed(value: .attribute(name), range: start..<at)
        }
    }

    private mutating func parseNamedAttribute(_ start: Int) throws(FilterError) -> String {
        let name: Placed<String>
        if byte == UInt8(ascii: "[") {
            at += 1
            skipSpace()
            name = try parseString(after: "attr[")
            try closeBracket()
        } else {
            guard byte == UInt8(ascii: "."), at + 1 < bytes.count, Self.isWord(bytes[at + 1]) else {
                throw error("`attr` needs a name", hint: "write attr['name']", start..<at)
            }
            at += 1
            let range = tokenRange
            var end = at
            while end < bytes.count, Self.isWord(bytes[end]) { end += 1 }
            name = Placed(value: String(decoding: bytes[at..<end], as: UTF8.self), range: range)
            at = end
        }
        let folded = name.value.lowercased()
        guard !folded.isEmpty, folded.utf8.allSatisfy({ Self.isLetter($0) || Self.isDigit($0) }) else {
            throw error("an attribute's name has letters and digits only", hint: nil, name.range)
        }
        return folded
    }

    private mutating func closeBracket() throws(FilterError) {
        skipSpace()
        guard byte == UInt8(ascii: "]") else { throw error("expected `]`, found \(found)", hint: nil, tokenRange) }
        at += 1
    }

    private mutating func parseSteps() throws(FilterError) -> DataPath {
        let start = at
        var steps: [DataPath.Step] = []
        while let byte {
            if byte == UInt8(ascii: ".") {
                at += 1
                var end = at
                if let first = self.byte, Self.isLetter(first) || first == UInt8(ascii: "_") {
                    while end < bytes.count, Self.isWord(bytes[end]) || bytes[end] == UInt8(ascii: "-") { end += 1 }
                }
                guard end > at else {
                    throw error(
                        "expected a key after `.`, found \(found)", hint: "other keys: data['a key']", tokenRange)
                }
                steps.append(.key(String(decoding: bytes[at..<end], as: UTF8.self)))
                at = end
            } else if byte == UInt8(ascii: "[") {
                at += 1
                skipSpace()
                steps.append(try parseBracket())
                try closeBracket()
            } else {
                break
            }
            guard steps.count <= Limits.filterPathStepsMax else {
                throw error("a path has at most \(Limits.filterPathStepsMax) steps", hint: nil, start..<at)
            }
        }
        return DataPath(steps)
    }

    private mutating func parseBracket() throws(FilterError) -> DataPath.Step {
        if byte == UInt8(ascii: "*") {
            at += 1
            return .every
        }
        if byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") {
            return .key(try parseString(after: "[").value)
        }
        guard let byte, Self.isDigit(byte) || byte == UInt8(ascii: "-") else {
            throw error("expected a number, `*` or a key in quotes, found \(found)", hint: nil, tokenRange)
        }
        let number = try parseNumber()
        guard case .integer(let index) = number.value, index >= 0, index <= Limits.filterIndexMax else {
            throw error("an index is a number from 0 to \(Limits.filterIndexMax)", hint: nil, number.range)
        }
        return .index(Int(index))
    }

    /// Reads a path alone, as a topic's `key` line has it.
    package static func path(_ bytes: [UInt8], from start: Int) throws(FilterError) -> (path: Path, end: Int) {
        var parser = FilterParser(bytes, from: start, isStatement: true)
        let path = try parser.parsePath("expected a path")
        return (path.value, parser.at)
    }
}
