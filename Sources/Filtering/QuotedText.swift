// SPDX-License-Identifier: Apache-2.0

/// A text in double quotes as routes.conf writes it, with the escapes `\" \\ \n \t \u{…}`, on one line.
package struct QuotedText {
    package var text: [UInt8] = []
    /// For each byte of `text` where it was written, and at the end the place of the closing quote.
    package var places: [Int] = []
    /// The byte after the closing quote.
    package var end = 0

    package struct Problem: Error {
        package enum Kind { case badEscape, unclosed }
        package var kind: Kind
        package var message: String
        package var hint: String
        package var range: Range<Int>
    }

    /// Reads the text whose opening quote is at `start`.
    package init(_ bytes: [UInt8], at start: Int) throws(Problem) {
        var at = start + 1
        while at < bytes.count, bytes[at] != UInt8(ascii: "\n") {
            let byte = bytes[at]
            if byte == UInt8(ascii: "\"") {
                places.append(at)
                end = at + 1
                return
            }
            guard byte == UInt8(ascii: "\\"), at + 1 < bytes.count, bytes[at + 1] != UInt8(ascii: "\n") else {
                append([byte], at)
                at += 1
                continue
            }
            switch bytes[at + 1] {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): append([bytes[at + 1]], at)
            case UInt8(ascii: "n"): append([UInt8(ascii: "\n")], at)
            case UInt8(ascii: "t"): append([UInt8(ascii: "\t")], at)
            case UInt8(ascii: "u"):
                guard let (scalar, next) = Self.scalar(bytes, at + 2) else {
                    throw Problem(
                        kind: .badEscape, message: "`\\u` needs a character's number", hint: "write \\u{20AC}",
                        range: at..<at + 2)
                }
                append(Array(String(Character(scalar)).utf8), at)
                at = next
                continue
            default:
                var next = at + 2
                while next < bytes.count, bytes[next] & 0xC0 == 0x80 { next += 1 }
                let escape = String(decoding: bytes[at..<next], as: UTF8.self)
                throw Problem(
                    kind: .badEscape, message: "unknown escape `\(escape)`", hint: #"escapes: \" \\ \n \t \u{…}"#,
                    range: at..<next)
            }
            at += 2
        }
        throw Problem(
            kind: .unclosed, message: "this text has no closing quote", hint: "add `\"` on the same line",
            range: start..<start + 1)
    }

    private mutating func append(_ bytes: [UInt8], _ place: Int) {
        text += bytes
        places += repeatElement(place, count: bytes.count)
    }

    private static func scalar(_ bytes: [UInt8], _ start: Int) -> (Unicode.Scalar, Int)? {
        guard start < bytes.count, bytes[start] == UInt8(ascii: "{"),
            let close = bytes[start..<min(bytes.count, start + 10)].firstIndex(of: UInt8(ascii: "}")),
            let number = UInt32(String(decoding: bytes[start + 1..<close], as: UTF8.self), radix: 16),
            let scalar = Unicode.Scalar(number)
        else { return nil }
        return (scalar, close + 1)
    }

    /// `text` as this type reads it.
    package static func quote(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\":
                result.append("\\")
                result.unicodeScalars.append(scalar)
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
