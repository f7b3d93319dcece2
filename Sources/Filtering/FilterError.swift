// SPDX-License-Identifier: Apache-2.0

/// Why a text is no filter, and where.
package struct FilterError: Error, Hashable, Sendable, CustomStringConvertible {
    package var message: String
    /// What to write instead, where that can be said.
    package var hint: String?
    /// Bytes of the text.
    package var range: Range<Int>
    /// From 1; the column in characters.
    package var line: Int
    package var column: Int
    /// The line with a caret under the range.
    package var excerpt: String

    init(_ message: String, hint: String?, range: Range<Int>, in bytes: [UInt8]) {
        self.message = message
        self.hint = hint
        let start = min(range.lowerBound, bytes.count)
        self.range = start..<max(start, min(range.upperBound, bytes.count))
        let newline = UInt8(ascii: "\n")
        line = bytes[..<start].count { $0 == newline } + 1
        let lineStart = bytes[..<start].lastIndex(of: newline).map { $0 + 1 } ?? 0
        let lineEnd = bytes[start...].firstIndex(of: newline) ?? bytes.count
        let before = String(decoding: bytes[lineStart..<start], as: UTF8.self)
        column = before.unicodeScalars.count + 1
        let text = String(decoding: bytes[lineStart..<lineEnd], as: UTF8.self)
        let marked = String(decoding: bytes[start..<max(start, min(self.range.upperBound, lineEnd))], as: UTF8.self)
        let indent = String(before.unicodeScalars.map { $0 == "\t" ? Character("\t") : " " })
        excerpt = "\(text)\n\(indent)\(String(repeating: "^", count: max(1, marked.unicodeScalars.count)))"
    }

    package var description: String {
        "filter:\(line):\(column): \(message)\n\(excerpt)\(hint.map { " \($0)" } ?? "")"
    }
}

/// Something legal that may not mean what its author thinks.
package struct FilterWarning: Hashable, Sendable {
    package enum Kind: Sendable {
        /// `and` and `or` without parentheses.
        case mixedConnectives
        /// `not` before a comparison without parentheses.
        case looseNot
        /// Two attributes, compared by a type that depends on how the event was sent.
        case attributeTypes
    }

    package var kind: Kind
    package var message: String
    package var hint: String?
    package var range: Range<Int>
}
