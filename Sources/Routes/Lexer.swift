// SPDX-License-Identifier: Apache-2.0

struct Token: Hashable {
    enum Kind {
        /// Anything without spaces, quotes or punctuation: names, numbers with units, addresses, paths, patterns.
        case word
        case string
        case newline, semicolon, comma, equals
        case leftBrace, rightBrace, leftBracket, rightBracket, leftParenthesis, rightParenthesis
        case unknown
        case end
    }

    var kind: Kind
    var range: Range<Int>
}

/// Cuts a source into tokens, one at a time; every byte sequence has some.
struct Lexer {
    let source: SourceText
    /// The byte where the next token is looked for.
    var at: Int
    /// Braces to be read where none stand, by offset, and how many of them have been.
    var repairs: [BraceRepair.Insertion] = []
    private var repaired = 0

    init(_ source: SourceText) {
        self.source = source
        at = source.bytes.starts(with: SourceText.byteOrderMark) ? 3 : 0
    }

    mutating func next() -> Token {
        if repaired < repairs.count, repairs[repaired].offset <= at {
            let repair = repairs[repaired]
            repaired += 1
            return Token(kind: repair.opens ? .leftBrace : .rightBrace, range: repair.offset..<repair.offset)
        }
        return source.bytes.withUnsafeBufferPointer { bytes in
            skipSpace(bytes)
            guard at < bytes.count else { return Token(kind: .end, range: bytes.count..<bytes.count) }
            let start = at
            switch bytes[at] {
            case UInt8(ascii: "\n"): return single(.newline)
            case UInt8(ascii: ";"): return single(.semicolon)
            case UInt8(ascii: ","): return single(.comma)
            case UInt8(ascii: "="): return single(.equals)
            case UInt8(ascii: "{"): return single(.leftBrace)
            case UInt8(ascii: "}"): return single(.rightBrace)
            case UInt8(ascii: "[") where startsAddress(bytes):
                word(bytes)
                return Token(kind: .word, range: start..<at)
            case UInt8(ascii: "["): return single(.leftBracket)
            case UInt8(ascii: "]"): return single(.rightBracket)
            case UInt8(ascii: "("): return single(.leftParenthesis)
            case UInt8(ascii: ")"): return single(.rightParenthesis)
            case UInt8(ascii: "\""):
                at += 1
                while at < bytes.count, bytes[at] != UInt8(ascii: "\n") {
                    if bytes[at] == UInt8(ascii: "\"") {
                        at += 1
                        return Token(kind: .string, range: start..<at)
                    }
                    at +=
                        bytes[at] == UInt8(ascii: "\\") && at + 1 < bytes.count && bytes[at + 1] != UInt8(ascii: "\n")
                        ? 2 : 1
                }
                at = min(at, bytes.count)
                return Token(kind: .string, range: start..<at)
            default:
                if Self.isWord(bytes[at]) {
                    word(bytes)
                    return Token(kind: .word, range: start..<at)
                }
                at += 1
                while at < bytes.count, bytes[at] & 0xC0 == 0x80 { at += 1 }
                return Token(kind: .unknown, range: start..<at)
            }
        }
    }

    private mutating func single(_ kind: Token.Kind) -> Token {
        at += 1
        return Token(kind: kind, range: at - 1..<at)
    }

    private mutating func skipSpace(_ bytes: UnsafeBufferPointer<UInt8>) {
        while at < bytes.count {
            switch bytes[at] {
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"): at += 1
            case UInt8(ascii: "#"):
                while at < bytes.count, bytes[at] != UInt8(ascii: "\n") { at += 1 }
            default: return
            }
        }
    }

    /// Whether an IPv6 address with a port stands here, as in `[::1]:8080`.
    private func startsAddress(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        var end = at + 1
        var colons = 0
        while end < bytes.count, end - at < Self.addressBytesMax {
            switch bytes[end] {
            case UInt8(ascii: ":"): colons += 1
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
                UInt8(ascii: "A")...UInt8(ascii: "F"), UInt8(ascii: "."):
                break
            case UInt8(ascii: "]"): return colons > 1 && end + 1 < bytes.count && bytes[end + 1] == UInt8(ascii: ":")
            default: return false
            }
            end += 1
        }
        return false
    }

    /// The longest text of an IPv6 address (RFC 4291, with an IPv4 tail) and its brackets.
    private static let addressBytesMax = 47

    /// A word goes on through `[…]`, as in `data.items[0].sku`.
    private mutating func word(_ bytes: UnsafeBufferPointer<UInt8>) {
        while at < bytes.count {
            if Self.isWord(bytes[at]) {
                at += 1
            } else if bytes[at] == UInt8(ascii: "[") {
                var end = at + 1
                while end < bytes.count, bytes[end] != UInt8(ascii: "]"), bytes[end] != UInt8(ascii: "\n") { end += 1 }
                guard end < bytes.count, bytes[end] == UInt8(ascii: "]") else { return }
                at = end + 1
            } else {
                return
            }
        }
    }

    /// Letters and digits of any script, and the signs that names, numbers, paths and addresses are made of.
    private static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), 0x80...:
            true
        case UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "$"), UInt8(ascii: "*"),
            UInt8(ascii: "/"), UInt8(ascii: ":"), UInt8(ascii: "%"), UInt8(ascii: "+"), UInt8(ascii: "@"):
            true
        default: false
        }
    }
}
