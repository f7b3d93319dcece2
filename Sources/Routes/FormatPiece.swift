// SPDX-License-Identifier: Apache-2.0

/// A token, comment or line break of a file that is being formatted, with what the layout must know of its place.
struct FormatPiece {
    enum Kind: UInt8 {
        /// What a statement is made of, apart from its blocks.
        case text
        case open, close
        /// `;`
        case separator
        case newline
        case comment
    }

    /// What kind of text: decides where spaces stand.
    enum TextClass: UInt8 {
        case word, string, comma, opener, closer, sign
        /// Means nothing in the language: keeps the spaces it has.
        case unknown
    }

    var kind: Kind
    var textClass: TextClass = .unknown
    /// Bytes of the source.
    var range: Range<Int>
    /// Blocks that are open here; before an opening brace and behind a closing one.
    var depth: Int
    /// Which block it stands in: a number for each.
    var block: Int
    var startsStatement = false
    /// Whether the arguments of this statement are aligned with those of its neighbours.
    var isAligned = false
    /// Whether a space parts it from the text before it on its line.
    var needsSpace = true
    /// A line break within a statement.
    var continues = false
    /// Parentheses and brackets that are open here.
    var brackets = 0
    var isInFilter = false
    /// A `;` without which the statement would go on.
    var isKept = false
    /// A top-level statement within a block that was not closed: only at the margin it is seen as that.
    var isAtMargin = false
    /// Of a comment, in characters from 0.
    var column = 0
    /// Of an opening brace: where its block ends, if that is on the same line.
    var lineEnd: Int?
}
