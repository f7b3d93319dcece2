// SPDX-License-Identifier: Apache-2.0

/// A word of a Lua source.
struct LuaToken: Hashable, Sendable {
    enum Kind: Hashable, Sendable {
        case name, keyword, symbol
        /// A string or a number.
        case literal
        case end
    }

    var kind: Kind
    var text: String
    /// From 1; the column counts characters of UTF-8.
    var line: Int
    var column: Int

    func `is`(_ text: String) -> Bool { (kind == .keyword || kind == .symbol) && self.text == text }
}

/// Splits a source that Lua's own compiler has accepted into words, as section 3.1 of the Lua 5.4 manual has it.
struct LuaTokens {
    private let bytes: [UInt8]
    private var at = 0
    private var line = 1
    private var lineStart = 0

    private static let keywords: Set<String> = [
        "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil",
        "not", "or", "repeat", "return", "then", "true", "until", "while",
    ]
    private static let symbols = ["...", "==", "~=", "<=", ">=", "<<", ">>", "//", "::", ".."]

    static func of(_ source: [UInt8]) -> [LuaToken] {
        var scanner = LuaTokens(bytes: source)
        var tokens: [LuaToken] = []
        while let token = scanner.next() { tokens.append(token) }
        tokens.append(LuaToken(kind: .end, text: "", line: scanner.line, column: 1))
        return tokens
    }

    private init(bytes: [UInt8]) {
        self.bytes = bytes
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { at = 3 }
        if at < bytes.count, bytes[at] == UInt8(ascii: "#") { skipLine() }
    }

    private func byte(_ ahead: Int = 0) -> UInt8? { at + ahead < bytes.count ? bytes[at + ahead] : nil }

    private mutating func next() -> LuaToken? {
        skipBlanksAndComments()
        guard let first = byte() else { return nil }
        let (start, startLine) = (at, line)
        let column = bytes[lineStart..<start].count { $0 & 0xC0 != 0x80 } + 1
        func token(_ kind: LuaToken.Kind, _ end: Int) -> LuaToken {
            let text = String(decoding: bytes[start..<min(end, bytes.count)], as: UTF8.self)
            return LuaToken(kind: kind, text: text, line: startLine, column: column)
        }
        if Self.isLetter(first) {
            while let byte = byte(), Self.isLetter(byte) || Self.isDigit(byte) { at += 1 }
            let word = token(.name, at)
            return Self.keywords.contains(word.text) ? token(.keyword, at) : word
        }
        if Self.isDigit(first) || first == UInt8(ascii: ".") && byte(1).map(Self.isDigit) == true {
            skipNumber()
            return token(.literal, at)
        }
        if first == UInt8(ascii: "\"") || first == UInt8(ascii: "'") {
            skipString(first)
            return token(.literal, at)
        }
        if first == UInt8(ascii: "["), skipLongBracket() { return token(.literal, at) }
        let symbol = Self.symbols.first { bytes[start...].starts(with: $0.utf8) }
        at += symbol?.utf8.count ?? 1
        return token(.symbol, at)
    }

    private mutating func skipBlanksAndComments() {
        while let byte = byte() {
            if byte == UInt8(ascii: "\n") {
                newLine()
            } else if byte == UInt8(ascii: " ") || (0x09...0x0D).contains(byte) {
                at += 1
            } else if byte == UInt8(ascii: "-"), self.byte(1) == UInt8(ascii: "-") {
                at += 2
                if self.byte() == UInt8(ascii: "["), skipLongBracket() { continue }
                skipLine()
            } else {
                return
            }
        }
    }

    private mutating func newLine() {
        at += 1
        line += 1
        lineStart = at
    }

    private mutating func skipLine() {
        while let byte = byte(), byte != UInt8(ascii: "\n") { at += 1 }
    }

    private mutating func skipNumber() {
        let isHex = byte() == UInt8(ascii: "0") && byte(1).map { $0 | 0x20 } == UInt8(ascii: "x")
        let exponent = UInt8(ascii: isHex ? "p" : "e")
        while let byte = byte(), Self.isLetter(byte) || Self.isDigit(byte) || byte == UInt8(ascii: ".") {
            at += 1
            if byte | 0x20 == exponent, let sign = self.byte(), sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") {
                at += 1
            }
        }
    }

    private mutating func skipString(_ quote: UInt8) {
        at += 1
        while let byte = byte(), byte != quote {
            if byte == UInt8(ascii: "\\") {
                at += 1
                let isBlankEater = self.byte() == UInt8(ascii: "z")
                if self.byte() == UInt8(ascii: "\n") { newLine() } else { at += 1 }
                guard isBlankEater else { continue }
                while let blank = self.byte(), blank == UInt8(ascii: " ") || (0x09...0x0D).contains(blank) {
                    if blank == UInt8(ascii: "\n") { newLine() } else { at += 1 }
                }
            } else {
                at += 1
            }
        }
        at += 1
    }

    /// `[[…]]`, `[==[…]==]`; false, and nothing skipped, where none begins here.
    private mutating func skipLongBracket() -> Bool {
        var level = 0
        while byte(1 + level) == UInt8(ascii: "=") { level += 1 }
        guard byte(1 + level) == UInt8(ascii: "[") else { return false }
        at += level + 2
        while let byte = byte() {
            if byte == UInt8(ascii: "\n") {
                newLine()
                continue
            }
            at += 1
            guard byte == UInt8(ascii: "]") else { continue }
            var found = 0
            while self.byte(found) == UInt8(ascii: "=") { found += 1 }
            if found == level, self.byte(found) == UInt8(ascii: "]") {
                at += level + 1
                return true
            }
        }
        return true
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) || byte == UInt8(ascii: "_")
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
}
