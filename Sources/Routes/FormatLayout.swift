// SPDX-License-Identifier: Apache-2.0

import Events

/// Puts pieces onto lines, and aligns what stands in neighbouring ones.
struct FormatLayout {
    private let source: SourceText
    private let pieces: [FormatPiece]
    /// Of each piece, whether it opens a block that stays on its line.
    private var isInline: [Bool]

    init(_ source: SourceText, _ pieces: [FormatPiece]) {
        self.source = source
        self.pieces = pieces
        isInline = pieces.map { $0.lineEnd != nil }
    }

    private struct Line {
        enum Start {
            case columns(Int)
            /// Where the arguments of that line begin, and so many columns further.
            case arguments(Int, Int)
        }

        var start: Start
        var depth: Int
        var keyword: [UInt8] = []
        /// What stands behind the keyword, or all of the line.
        var rest: [UInt8] = []
        var isAligned = false
        /// Whether `rest` follows the keyword without a space.
        var isGlued = false
        /// Statements with the same number are aligned with one another.
        var run = 0
        var comment: FormatPiece?
        var hasBlankBefore = false
        var opensBlock = false
        /// The outermost blocks that begin and end on this line.
        var inlineBlocks: [Int] = []
        /// Nothing more goes onto it, but a comment may.
        var isComplete = false

        var isOnlyComment: Bool { keyword.isEmpty && rest.isEmpty }
    }

    /// The file's text. Blocks on one line are broken where they do not fit, the outermost first.
    mutating func render() -> [UInt8] {
        while true {
            var writer = Writer(source, pieces, isInline)
            var lines = writer.lines()
            let columns = Self.argumentColumns(lines)
            var isBroken = false
            for index in lines.indices {
                let indent = Self.indent(of: lines[index], lines, columns)
                lines[index].start = .columns(indent)
                guard Self.width(of: lines[index], indent, columns[index]) > Limits.formatColumnsMax else { continue }
                for block in lines[index].inlineBlocks {
                    isInline[block] = false
                    isBroken = true
                }
            }
            if !isBroken { return text(lines, columns) }
        }
    }

    // MARK: columns

    /// Of each line, how many columns behind its indent the rest begins.
    private static func argumentColumns(_ lines: [Line]) -> [Int] {
        var widest: [Int: Int] = [:]
        for line in lines where line.isAligned && !line.isGlued {
            widest[line.run] = max(widest[line.run] ?? 0, scalars(line.keyword))
        }
        return lines.map { line in
            if line.keyword.isEmpty { return 0 }
            let own = scalars(line.keyword)
            if line.isGlued { return own }
            return (line.isAligned ? widest[line.run] ?? own : own) + 1
        }
    }

    private static func indent(of line: Line, _ lines: [Line], _ columns: [Int]) -> Int {
        switch line.start {
        case .columns(let columns): columns
        case .arguments(let index, let more):
            // The line it refers to stands further up, so it has been settled.
            indent(of: lines[index], lines, columns) + columns[index] + more
        }
    }

    /// Without its comment.
    private static func width(of line: Line, _ indent: Int, _ column: Int) -> Int {
        line.rest.isEmpty ? indent + scalars(line.keyword) : indent + column + scalars(line.rest)
    }

    private static func scalars(_ bytes: [UInt8]) -> Int { bytes.count { $0 & 0xC0 != 0x80 } }

    // MARK: text

    private func text(_ lines: [Line], _ columns: [Int]) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(source.bytes.count)
        let widths = lines.indices.map {
            Self.width(of: lines[$0], Self.indent(of: lines[$0], lines, columns), columns[$0])
        }
        let commentColumns = commentColumns(lines, widths)
        let space = UInt8(ascii: " ")
        for (index, line) in lines.enumerated() {
            if line.hasBlankBefore { text.append(UInt8(ascii: "\n")) }
            let indent = Self.indent(of: line, lines, columns)
            text.append(contentsOf: repeatElement(space, count: indent))
            text += line.keyword
            if !line.rest.isEmpty {
                text.append(contentsOf: repeatElement(space, count: columns[index] - Self.scalars(line.keyword)))
                text += line.rest
            }
            if let comment = line.comment {
                let gap = line.isOnlyComment ? 0 : commentColumns[index] - widths[index]
                text.append(contentsOf: repeatElement(space, count: gap))
                text += source.bytes[comment.range]
            }
            text.append(UInt8(ascii: "\n"))
        }
        return text
    }

    /// Comments behind the statements of neighbouring lines begin where the first of them does, or where the longest of
    /// the lines leaves room.
    private func commentColumns(_ lines: [Line], _ widths: [Int]) -> [Int] {
        var result = [Int](repeating: 0, count: lines.count)
        var start = 0
        while start < lines.count {
            var end = start + 1
            while end < lines.count, !lines[end].hasBlankBefore, !lines[end].isOnlyComment, !lines[start].isOnlyComment,
                lines[end].depth == lines[start].depth
            {
                end += 1
            }
            let commented = (start..<end).filter { lines[$0].comment != nil && !lines[$0].isOnlyComment }
            if let first = commented.first, let comment = lines[first].comment {
                let room = commented.map { widths[$0] + 2 }.max() ?? 0
                let column = max(room, min(comment.column, Limits.formatCommentColumnMax))
                for index in commented { result[index] = column }
            }
            start = end
        }
        return result
    }

    // MARK: lines

    private struct Writer {
        let source: SourceText
        let pieces: [FormatPiece]
        let isInline: [Bool]
        var finished: [Line] = []
        var current: Line?
        /// Line breaks since the last piece that shows.
        var newlines = 0
        /// Closing pieces of the inline blocks that are open.
        var inlineEnds: [Int] = []
        /// The finished line that the present statement began on.
        var statement: Int?
        /// The last line break was within a statement; this is what it knows.
        var continuation: FormatPiece?
        /// A `;` on this line, in an inline block, and nothing behind it yet.
        var hasSeparator = false
        /// The run of aligned statements of each block, by its number.
        var runs: [Int: Int] = [:]
        var runCount = 0

        init(_ source: SourceText, _ pieces: [FormatPiece], _ isInline: [Bool]) {
            self.source = source
            self.pieces = pieces
            self.isInline = isInline
        }

        mutating func lines() -> [Line] {
            for (index, piece) in pieces.enumerated() {
                switch piece.kind {
                case .text: text(piece)
                case .open: open(piece, index)
                case .close: close(piece, index)
                case .separator: separator(piece)
                case .comment: comment(piece)
                case .newline:
                    finish()
                    newlines += 1
                    continuation = piece.continues ? piece : nil
                    if !piece.continues { statement = nil }
                }
            }
            finish()
            return finished
        }

        private mutating func finish() {
            guard let line = current else { return }
            finished.append(line)
            current = nil
        }

        private mutating func begin(_ piece: FormatPiece, _ start: Line.Start) {
            finish()
            var line = Line(start: start, depth: piece.depth)
            let opened = finished.last?.opensBlock ?? true
            line.hasBlankBefore = newlines > 1 && !opened && !(piece.kind == .close && !piece.startsStatement)
            if line.hasBlankBefore { runs[piece.block] = nil }
            newlines = 0
            current = line
        }

        /// Within a statement that began further up, or on a line of its own.
        private func start(of piece: FormatPiece) -> Line.Start {
            guard let continuation else { return .columns(piece.isAtMargin ? 0 : 2 * piece.depth) }
            let brackets = max(0, continuation.brackets - (piece.textClass == .closer && piece.kind == .text ? 1 : 0))
            if let statement, continuation.isInFilter || continuation.brackets == 0 {
                return .arguments(statement, 2 * brackets)
            }
            return .columns(2 * piece.depth + 2 * max(brackets, continuation.brackets == 0 ? 1 : 0))
        }

        private mutating func text(_ piece: FormatPiece) {
            let bytes = Array(source.bytes[piece.range])
            if piece.startsStatement, inlineEnds.isEmpty {
                continuation = nil
                begin(piece, start(of: piece))
                statement = finished.count
                current?.keyword = bytes
                current?.isAligned = piece.isAligned
                if runs[piece.block] == nil {
                    runCount += 1
                    runs[piece.block] = runCount
                }
                current?.run = runs[piece.block] ?? 0
                return
            }
            if current == nil || current?.isComplete == true { begin(piece, start(of: piece)) }
            if piece.startsStatement { return append(bytes, gap: statementGap) }
            append(bytes, gap: piece.needsSpace ? 1 : 0)
        }

        /// The spaces before a statement within an inline block.
        private var statementGap: Int {
            guard let rest = current?.rest, rest.last != UInt8(ascii: "{") else { return 1 }
            return hasSeparator ? 1 : 2
        }

        private mutating func append(_ bytes: [UInt8], gap: Int) {
            guard var line = current else { return }
            current = nil
            if hasSeparator {
                line.rest.append(UInt8(ascii: ";"))
                hasSeparator = false
            }
            if line.rest.isEmpty {
                if gap == 0, !line.keyword.isEmpty { line.isGlued = true }
            } else {
                line.rest.append(contentsOf: repeatElement(UInt8(ascii: " "), count: gap))
            }
            line.rest += bytes
            current = line
        }

        private mutating func open(_ piece: FormatPiece, _ index: Int) {
            if current == nil || current?.isComplete == true || piece.startsStatement && inlineEnds.isEmpty {
                if piece.startsStatement { continuation = nil }
                begin(piece, start(of: piece))
                statement = nil
            }
            let block = [UInt8(ascii: "{")]
            append(block, gap: piece.startsStatement && !inlineEnds.isEmpty ? statementGap : 1)
            if isInline[index], let end = piece.lineEnd {
                if inlineEnds.isEmpty { current?.inlineBlocks.append(index) }
                inlineEnds.append(end)
            } else {
                // Its lines part the statements before it from those behind it, unless they look alike.
                if current?.isAligned == false { runs[piece.block] = nil }
                current?.opensBlock = true
                current?.isComplete = true
                continuation = nil
            }
        }

        private mutating func close(_ piece: FormatPiece, _ index: Int) {
            if inlineEnds.last == index {
                inlineEnds.removeLast()
                hasSeparator = false
                append([UInt8(ascii: "}")], gap: 1)
                return
            }
            continuation = nil
            begin(piece, .columns(2 * piece.depth))
            statement = nil
            append([UInt8(ascii: "}")], gap: 0)
            if piece.startsStatement { current?.isComplete = true }
        }

        private mutating func separator(_ piece: FormatPiece) {
            guard inlineEnds.isEmpty else {
                if current?.rest.last != UInt8(ascii: "{") { hasSeparator = true }
                return
            }
            if piece.isKept {
                if current == nil || current?.isComplete == true { begin(piece, start(of: piece)) }
                append([UInt8(ascii: ";")], gap: 0)
            }
            current?.isComplete = true
            newlines = 0
            continuation = nil
        }

        private mutating func comment(_ piece: FormatPiece) {
            if current == nil { begin(piece, start(of: piece)) }
            current?.comment = piece
            current?.isComplete = true
            newlines = 0
        }
    }
}
