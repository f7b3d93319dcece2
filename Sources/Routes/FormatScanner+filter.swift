// SPDX-License-Identifier: Apache-2.0

extension FormatScanner {
    /// Takes the filter that the lexer stands before, up to where `FilterParser` would end it, were it right. Returns
    /// whether something in it is left open, so that it would go on behind a line break.
    mutating func filter() -> Bool {
        let bytes = source.bytes
        var at = lexer.at
        var parentheses = 0
        var last: FormatPiece?
        // Up to here it is known that the filter goes on, so that many empty lines are not looked over again and again.
        var known = 0
        defer { lexer.at = at }
        while at < bytes.count {
            let gap = at
            while at < bytes.count, Self.isBlank(bytes[at]) { at += 1 }
            guard at < bytes.count else { break }
            let start = at
            switch bytes[at] {
            case UInt8(ascii: "#"):
                while at < bytes.count, bytes[at] != UInt8(ascii: "\n") { at += 1 }
                comment(in: start..<at)
                continue
            case UInt8(ascii: ";"), UInt8(ascii: "{"), UInt8(ascii: "}"):
                return parentheses > 0 || isConnective(last)
            case UInt8(ascii: "\n"):
                if at >= known {
                    guard let last, goesOn(after: last, at, parentheses) else { return false }
                    known = wordAhead(from: at).start
                }
                var newline = piece(.newline, at..<at + 1)
                newline.continues = true
                newline.brackets = parentheses
                newline.isInFilter = true
                pieces.append(newline)
                at += 1
                lineStart = at
                continue
            default: break
            }
            let textClass = Self.take(bytes, &at)
            var text = piece(.text, textClass == .string ? trimmed(start..<at) : start..<at)
            text.textClass = textClass
            text.isInFilter = true
            text.needsSpace = needsSpace(between: last, and: text, start > gap)
            if textClass == .opener { parentheses += 1 }
            if textClass == .closer { parentheses = max(0, parentheses - 1) }
            pieces.append(text)
            last = text
        }
        return parentheses > 0 || isConnective(last)
    }

    /// The word behind blanks, line breaks and comments, in lower case, and where these end.
    func wordAhead(from start: Int) -> (word: String?, start: Int) {
        let bytes = source.bytes
        var at = start
        while at < bytes.count {
            if bytes[at] == UInt8(ascii: "#") {
                while at < bytes.count, bytes[at] != UInt8(ascii: "\n") { at += 1 }
            } else if Self.isBlank(bytes[at]) || bytes[at] == UInt8(ascii: "\n") {
                at += 1
            } else {
                break
            }
        }
        var end = at
        while end < bytes.count, Self.isWord(bytes[end]) { end += 1 }
        return (end > at ? source.text(at..<end).lowercased() : nil, at)
    }

    func isConnective(_ word: String?) -> Bool { word == "and" || word == "or" }

    private func isConnective(_ piece: FormatPiece?) -> Bool {
        guard let piece, piece.textClass == .word else { return false }
        return ["and", "or", "not"].contains(source.text(piece.range).lowercased())
    }

    /// Whether the filter goes on behind the line break at `newline`.
    private func goesOn(after last: FormatPiece, _ newline: Int, _ parentheses: Int) -> Bool {
        let ahead = wordAhead(from: newline).word
        if isConnective(ahead) || isConnective(last) { return true }
        guard parentheses > 0 else { return false }
        // Two operands with nothing between them: a parenthesis was left open, and this is another statement.
        let endsOperand: Bool
        switch last.textClass {
        case .word: endsOperand = !Self.operators.contains(source.text(last.range).lowercased())
        case .string, .closer: endsOperand = true
        default: endsOperand = false
        }
        guard endsOperand, let ahead else { return true }
        return Self.operators.contains(ahead)
    }

    /// Words that stand between or before operands.
    private static let operators: Set<String> = [
        "and", "or", "not", "exists", "in", "like", "startswith", "endswith", "contains", "is",
    ]

    private func needsSpace(between last: FormatPiece?, and text: FormatPiece, _ hasSpace: Bool) -> Bool {
        guard let last else { return true }
        if text.textClass == .comma || text.textClass == .closer || last.textClass == .opener { return false }
        if text.textClass == .unknown || last.textClass == .unknown { return hasSpace }
        if text.textClass == .opener, last.textClass == .word {
            return hasSpace || Self.operators.contains(source.text(last.range).lowercased())
        }
        return true
    }

    // MARK: tokens

    /// Moves `at` behind the token there.
    private static func take(_ bytes: [UInt8], _ at: inout Int) -> FormatPiece.TextClass {
        let first = bytes[at]
        switch first {
        case UInt8(ascii: "'"), UInt8(ascii: "\""):
            at = endOfQuoted(bytes, at)
            return .string
        case UInt8(ascii: "("):
            at += 1
            return .opener
        case UInt8(ascii: ")"):
            at += 1
            return .closer
        case UInt8(ascii: ","):
            at += 1
            return .comma
        case _ where isSign(first):
            while at < bytes.count, isSign(bytes[at]) { at += 1 }
            return .sign
        case _ where isOperand(first):
            while at < bytes.count {
                if isOperand(bytes[at]) {
                    at += 1
                } else if bytes[at] == UInt8(ascii: "["), let end = endOfBracket(bytes, at) {
                    at = end
                } else {
                    break
                }
            }
            return .word
        default:
            at += 1
            return .unknown
        }
    }

    /// Behind the closing quote, or at the end of the line.
    private static func endOfQuoted(_ bytes: [UInt8], _ start: Int) -> Int {
        var at = start + 1
        while at < bytes.count, bytes[at] != UInt8(ascii: "\n") {
            let next = at + 1 < bytes.count ? bytes[at + 1] : 0
            if bytes[at] == bytes[start] {
                guard next == bytes[start] else { return at + 1 }
                at += 2
            } else {
                at += bytes[at] == UInt8(ascii: "\\") && next == bytes[start] ? 2 : 1
            }
        }
        return at
    }

    private static func endOfBracket(_ bytes: [UInt8], _ start: Int) -> Int? {
        var at = start + 1
        while at < bytes.count {
            switch bytes[at] {
            case UInt8(ascii: "]"): return at + 1
            case UInt8(ascii: "'"), UInt8(ascii: "\""): at = endOfQuoted(bytes, at)
            case UInt8(ascii: "\n"), UInt8(ascii: ";"), UInt8(ascii: "{"), UInt8(ascii: "}"), UInt8(ascii: "#"):
                return nil
            default: at += 1
            }
        }
        return nil
    }

    private static func isSign(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "=") || byte == UInt8(ascii: "!") || byte == UInt8(ascii: "<") || byte == UInt8(ascii: ">")
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    /// What paths and numbers are made of.
    private static func isOperand(_ byte: UInt8) -> Bool {
        isWord(byte) || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "+")
            || byte >= 0x80
    }
}
