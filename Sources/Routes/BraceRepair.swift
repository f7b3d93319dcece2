// SPDX-License-Identifier: Apache-2.0

import Events

/// Guesses where a brace is missing in a file whose braces don't pair, from how its lines are indented. Used for
/// messages alone: a file whose braces pair may be indented as one likes.
///
/// A line no deeper than the one that opened the block it stands in, where the block's first line was deeper, comes
/// after a missing `}`. A deeper line after a keyword that takes a block, and has none, comes after a missing `{`. Where
/// a block opens in the middle of a line, it closes there too.
struct BraceRepair {
    struct Insertion {
        var offset: Int
        /// `{`, or else `}`.
        var opens: Bool
    }

    struct Missing {
        var opens: Bool
        /// What a message marks: the block's `{`, or the keyword that lacks one.
        var range: Range<Int>
        var hint: String
    }

    private(set) var insertions: [Insertion] = []
    private(set) var missing: [Missing] = []

    private struct Open {
        var range: Range<Int>
        var line: Int
        var indent: Int
        /// Of the first line within; nil until there is one.
        var innerIndent: Int?
    }

    private let source: SourceText
    private var lexer: Lexer
    private var open: [Open] = []
    /// Each `}` that closes nothing.
    private var strays = 0

    init(_ source: SourceText) {
        self.source = source
        lexer = Lexer(source)
    }

    /// Whether there is a guess.
    mutating func find() -> Bool {
        var lineNumber = 0
        var above: Line?
        while insertions.count <= Limits.routesErrorsMax {
            let (line, isLast) = nextLine(&lineNumber)
            if let line {
                if let above { close(line, above) }
                if let above { openLate(line, above) }
                read(line)
                if open.count > Limits.routesDepthMax || strays > Limits.routesErrorsMax { return false }
                above = line
            }
            guard !isLast else { break }
        }
        guard insertions.count <= Limits.routesErrorsMax else { return false }
        if let above {
            for block in open.reversed() {
                insertions.append(Insertion(offset: above.end, opens: false))
                missing.append(Missing(opens: false, range: block.range, hint: "add `}`"))
            }
        }
        insertions.sort { $0.offset < $1.offset }
        return !insertions.isEmpty
    }

    // MARK: lines

    private struct Line {
        var number: Int
        var indent: Int
        var tokens: [Token]
        /// Whether a text in it has no closing quote, which may hide braces.
        var isTorn = false

        /// Behind its last token.
        var end: Int { tokens[tokens.count - 1].range.upperBound }
        var startsWithBrace: Bool { tokens[0].kind == .rightBrace }
    }

    /// The next line that holds anything, if the file has one more; and whether the file ends here.
    private mutating func nextLine(_ number: inout Int) -> (Line?, isLast: Bool) {
        var tokens: [Token] = []
        var isTorn = false
        number += 1
        while true {
            var token = lexer.next()
            switch token.kind {
            case .newline, .end:
                let isLast = token.kind == .end
                guard let first = tokens.first else { return (nil, isLast) }
                return (
                    Line(number: number, indent: indent(first.range.lowerBound), tokens: tokens, isTorn: isTorn), isLast
                )
            case .unknown where source.bytes[token.range.lowerBound] == UInt8(ascii: "'"):
                // A filter's text, which may hold anything.
                let end = source.bytes[token.range.upperBound...].firstIndex {
                    $0 == UInt8(ascii: "'") || $0 == UInt8(ascii: "\n")
                }
                if let end, source.bytes[end] == UInt8(ascii: "'") {
                    lexer.at = end + 1
                    token.range = token.range.lowerBound..<end + 1
                }
            case .string where token.range.count < 2 || source.bytes[token.range.upperBound - 1] != UInt8(ascii: "\""):
                isTorn = true
            default: break
            }
            tokens.append(token)
        }
    }

    private func indent(_ offset: Int) -> Int {
        var start = offset
        while start > 0, source.bytes[start - 1] == UInt8(ascii: " ") || source.bytes[start - 1] == UInt8(ascii: "\t") {
            start -= 1
        }
        return offset - start
    }

    // MARK: blocks over several lines

    /// Closes what must have ended above `line`.
    private mutating func close(_ line: Line, _ above: Line) {
        while let block = open.last {
            if line.startsWithBrace {
                // It closes an outer block: one that opened at its own indentation.
                guard block.indent > line.indent, open.dropLast().contains(where: { $0.indent == line.indent }) else {
                    return
                }
            } else {
                guard line.indent <= block.indent, (block.innerIndent ?? block.indent) > block.indent else { return }
            }
            insertions.append(Insertion(offset: above.end, opens: false))
            missing.append(Missing(opens: false, range: block.range, hint: "add `}` before line \(line.number)"))
            open.removeLast()
        }
    }

    /// Opens a block at the end of `above`, where `line` can only stand in one.
    private mutating func openLate(_ line: Line, _ above: Line) {
        guard line.indent > above.indent, !line.startsWithBrace, line.tokens[0].kind == .word,
            !above.tokens.contains(where: { $0.kind == .leftBrace }), above.tokens[0].kind == .word
        else { return }
        let inner = source.text(line.tokens[0].range)
        guard
            blocks(of: above.tokens[0]).contains(where: { $0.isFree || Schema.keyword(inner, in: $0) != nil })
        else { return }
        insertions.append(Insertion(offset: above.end, opens: true))
        missing.append(
            Missing(opens: true, range: above.tokens[0].range, hint: "add `{` at the end of the line"))
        open.append(Open(range: above.tokens[0].range, line: above.number, indent: above.indent))
    }

    /// What kinds of block the keyword takes, wherever it may stand.
    private func blocks(of token: Token) -> [BlockKind] {
        let word = source.text(token.range)
        return (Schema.contexts[word] ?? []).compactMap { Schema.keyword(word, in: $0)?.block }
    }

    // MARK: blocks within a line

    private mutating func read(_ line: Line) {
        if let last = open.indices.last, open[last].innerIndent == nil, !line.startsWithBrace {
            open[last].innerIndent = line.indent
        }
        for (index, token) in line.tokens.enumerated() {
            switch token.kind {
            case .leftBrace: open.append(Open(range: token.range, line: line.number, indent: line.indent))
            case .rightBrace:
                guard let block = open.last, block.line == line.number || index == 0 else {
                    if !openWithin(line, before: index), open.popLast() == nil { strays += 1 }
                    continue
                }
                open.removeLast()
            default: break
            }
        }
        // A block that goes on in the next line has nothing behind its `{`.
        while let block = open.last, block.line == line.number, block.range.upperBound < line.end {
            insertions.append(Insertion(offset: line.end, opens: false))
            if !line.isTorn {
                missing.append(Missing(opens: false, range: block.range, hint: "add `}` at the end of the line"))
            }
            open.removeLast()
        }
    }

    /// Opens the block that the `}` at `end` closes, where a keyword of this line takes one and has none.
    private mutating func openWithin(_ line: Line, before end: Int) -> Bool {
        var start = 0
        while start < end {
            let next =
                line.tokens[start..<end].firstIndex {
                    $0.kind == .semicolon || $0.kind == .leftBrace || $0.kind == .rightBrace
                } ?? end
            defer { start = next + 1 }
            guard start < next, line.tokens[start].kind == .word,
                next == end || line.tokens[next].kind == .semicolon, let at = opening(line.tokens[start..<next])
            else { continue }
            insertions.append(Insertion(offset: at, opens: true))
            missing.append(
                Missing(
                    opens: true, range: line.tokens[start].range,
                    hint: "add `{` behind `\(source.text(line.tokens[start].range.lowerBound..<at).suffix(40))`"))
            return true
        }
        return false
    }

    /// Where in a statement without a block it would begin: before what only the block knows, or behind the keyword's
    /// own value.
    private func opening(_ statement: ArraySlice<Token>) -> Int? {
        let kinds = blocks(of: statement[statement.startIndex])
        guard !kinds.isEmpty, statement.count > 1 else { return nil }
        for index in statement.indices.dropFirst() where statement[index].kind == .word {
            let word = source.text(statement[index].range)
            let isKnown = kinds.contains { Schema.keyword(word, in: $0) != nil }
            let isSetting = index >= statement.startIndex + 2 && kinds.contains { $0.isFree }
            if isKnown || isSetting { return statement[index - 1].range.upperBound }
        }
        return nil
    }
}
