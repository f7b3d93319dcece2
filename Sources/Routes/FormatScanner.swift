// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering

/// Cuts a file into pieces, knowing as much of the grammar as the layout needs: which words begin statements, which line
/// breaks end them, and which braces belong together. Any text has pieces; errors are nobody's business here.
struct FormatScanner {
    let source: SourceText
    var lexer: Lexer
    var pieces: [FormatPiece] = []
    /// Whether blocks or brackets nest deeper than ``Limits/routesDepthMax``; then the pieces end there.
    private(set) var isTooDeep = false
    private var levels = [Level(kind: .top, number: 0)]
    private var blocks = 1
    var lineStart: Int

    /// An open block, and how far its current statement is.
    private struct Level {
        enum Progress { case between, inStatement, behindBlock }

        var kind: BlockKind
        var number: Int
        /// The piece that opened it.
        var open: Int?
        var progress = Progress.between
        var keyword: Keyword?
        /// Whether the statement began with a word; only then it is one.
        var hasKeyword = false
        var hasArgument = false
        var last: FormatPiece.TextClass?
        var isOpenEnded = false
        var brackets = 0
    }

    init(_ source: SourceText) {
        self.source = source
        lexer = Lexer(source)
        lineStart = lexer.at
    }

    private var level: Level {
        get { levels[levels.count - 1] }
        _modify { yield &levels[levels.count - 1] }
    }

    mutating func scan() -> [FormatPiece] {
        while !isTooDeep {
            let gap = lexer.at
            let token = lexer.next()
            let hasSpace = token.range.lowerBound > gap
            comment(in: gap..<token.range.lowerBound)
            switch token.kind {
            case .end: return pieces
            case .newline: newline(token.range)
            case .semicolon: separator(token.range)
            case .leftBrace: open(token.range)
            case .rightBrace: close(token.range)
            default: text(token, hasSpace)
            }
        }
        return pieces
    }

    // MARK: pieces

    func piece(_ kind: FormatPiece.Kind, _ range: Range<Int>) -> FormatPiece {
        FormatPiece(kind: kind, range: range, depth: levels.count - 1, block: level.number)
    }

    mutating func comment(in gap: Range<Int>) {
        guard let start = source.bytes[gap].firstIndex(of: UInt8(ascii: "#")) else { return }
        var comment = piece(.comment, trimmed(start..<gap.upperBound))
        comment.column = source.bytes[lineStart..<start].count { $0 & 0xC0 != 0x80 }
        pieces.append(comment)
    }

    /// Without the blanks at its end.
    func trimmed(_ range: Range<Int>) -> Range<Int> {
        var end = range.upperBound
        while end > range.lowerBound, FormatScanner.isBlank(source.bytes[end - 1]) { end -= 1 }
        return range.lowerBound..<end
    }

    static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r")
    }

    private mutating func newline(_ range: Range<Int>) {
        var newline = piece(.newline, range)
        newline.continues =
            level.progress != .between && !level.isOpenEnded && (level.brackets > 0 || level.last == .comma)
        newline.brackets = level.brackets
        pieces.append(newline)
        lineStart = range.upperBound
        if !newline.continues { endStatement() }
    }

    private mutating func endStatement() {
        level.progress = .between
        level.keyword = nil
        level.hasKeyword = false
        level.hasArgument = false
        level.last = nil
        level.isOpenEnded = false
        level.brackets = 0
    }

    private mutating func separator(_ range: Range<Int>) {
        var separator = piece(.separator, range)
        separator.isKept = level.brackets > 0 || level.last == .comma || level.isOpenEnded
        if level.keyword?.takesFilter == true, isConnective(wordAhead(from: range.upperBound).word) {
            separator.isKept = true
        }
        pieces.append(separator)
        endStatement()
    }

    private mutating func open(_ range: Range<Int>) {
        var open = piece(.open, range)
        open.startsStatement = level.progress == .between
        pieces.append(open)
        let kind: BlockKind
        if level.progress == .inStatement, level.hasKeyword {
            kind = level.keyword?.block ?? (level.kind.isFree ? level.kind : .unknown)
        } else {
            kind = .unknown
        }
        level.progress = .behindBlock
        level.brackets = 0
        level.last = nil
        level.isOpenEnded = false
        guard levels.count <= Limits.routesDepthMax else {
            isTooDeep = true
            return
        }
        levels.append(Level(kind: kind, number: blocks, open: pieces.count - 1))
        blocks += 1
    }

    private mutating func close(_ range: Range<Int>) {
        guard levels.count > 1 else {
            // Closes nothing.
            var close = piece(.close, range)
            close.startsStatement = true
            pieces.append(close)
            endStatement()
            return
        }
        let opening = levels.removeLast().open
        if let opening {
            let breaks = pieces[opening...].contains { $0.kind == .newline || $0.kind == .comment }
            if !breaks { pieces[opening].lineEnd = pieces.count }
        }
        pieces.append(piece(.close, range))
    }

    private mutating func text(_ token: Token, _ hasSpace: Bool) {
        if token.kind == .word, startsStatement(token) { return statement(token) }
        var text = piece(.text, token.kind == .string ? trimmed(token.range) : token.range)
        text.textClass = token.textClass
        if level.progress == .between {
            // No keyword: an error, which lasts to the end of the line.
            text.startsStatement = true
            level.progress = .inStatement
        } else {
            text.needsSpace = needsSpace(before: text, hasSpace)
        }
        append(text)
    }

    private mutating func append(_ text: FormatPiece) {
        switch token(text) {
        case UInt8(ascii: "["), UInt8(ascii: "("):
            guard text.textClass == .opener else { break }
            level.brackets += 1
            // Each further line in them is indented as deeply: the text would grow with the square of its length.
            if level.brackets > max(Limits.routesDepthMax, Limits.filterDepthMax) { isTooDeep = true }
        default: if text.textClass == .closer { level.brackets = max(0, level.brackets - 1) }
        }
        if text.textClass != .comma { level.hasArgument = true }
        level.last = text.textClass
        pieces.append(text)
    }

    private func token(_ piece: FormatPiece) -> UInt8 { source.bytes[piece.range.lowerBound] }

    private func startsStatement(_ token: Token) -> Bool {
        switch level.progress {
        case .between: true
        case .behindBlock: false
        case .inStatement:
            level.hasKeyword && level.kind.sharesLines && level.hasArgument && level.last != .comma
                && level.brackets == 0
        }
    }

    private mutating func statement(_ token: Token) {
        let word = source.text(token.range)
        var isAtMargin = false
        if level.progress == .between, token.range.lowerBound == lineStart {
            while levels.count > 1, Schema.belongsToTopLevel(word, notTo: level.kind) {
                levels.removeLast()
                endStatement()
                isAtMargin = true
            }
        }
        let keyword = Schema.keyword(word, in: level.kind)
        var start = piece(.text, token.range)
        start.textClass = .word
        start.startsStatement = true
        start.isAtMargin = isAtMargin
        start.isAligned = isAligned(keyword, word)
        pieces.append(start)
        endStatement()
        level.progress = .inStatement
        level.keyword = keyword
        level.hasKeyword = true
        level.last = .word
        if keyword?.takesFilter == true { level.isOpenEnded = filter() }
    }

    /// Declarations, and keywords that always have a block, stand for themselves.
    private func isAligned(_ keyword: Keyword?, _ word: String) -> Bool {
        guard word.unicodeScalars.count <= Limits.formatKeywordColumnsMax else { return false }
        guard let keyword else { return true }
        return !(keyword.needsBlock || keyword.context == .top && (keyword.block != nil || keyword.name == "let"))
    }

    private func needsSpace(before text: FormatPiece, _ hasSpace: Bool) -> Bool {
        guard let last = level.last else { return true }
        if text.textClass == .comma || text.textClass == .closer || last == .opener { return false }
        if text.textClass == .unknown || last == .unknown { return hasSpace }
        if text.textClass == .opener, last == .word, token(text) == UInt8(ascii: "(") {
            return hasSpace && !level.hasArgument
        }
        return true
    }
}

extension Token {
    fileprivate var textClass: FormatPiece.TextClass {
        switch kind {
        case .word: .word
        case .string: .string
        case .comma: .comma
        case .equals: .sign
        case .leftBracket, .leftParenthesis: .opener
        case .rightBracket, .rightParenthesis: .closer
        default: .unknown
        }
    }
}
