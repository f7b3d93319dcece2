// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering

/// Reads statements and blocks. The grammar is generic:
///
///     document  = { statement } ;
///     statement = [ keyword { argument [","] } [ block ] ] ( newline | ";" ) ;       (* the end may be implied by "}" *)
///               | "let" name "=" argument | "where" filter ;
///     block     = "{" { statement } "}" ;
///     argument  = string | word | name "(" [ argument { "," argument } ] ")" | "[" [ argument { "," argument } ] "]" ;
///
/// After an error it goes on with the next line, and where a block was not closed it guesses by what may stand in it.
struct Parser {
    private let source: SourceText
    private var lexer: Lexer
    private var token: Token
    private var depth = 0
    /// Keywords that their block doesn't know. Each will be an error, so enough of them end the run.
    private var unknownKeywords = 0
    private var braceIsMissing = false
    private(set) var diagnostics: Diagnostics

    init(_ source: SourceText, _ diagnostics: Diagnostics) {
        self.source = source
        self.diagnostics = diagnostics
        lexer = Lexer(source)
        token = lexer.next()
    }

    mutating func parse() -> [Statement] {
        let before = self
        let (statements, bracesFit) = document()
        guard !bracesFit else { return statements }
        // Where braces don't pair, what follows is misread. Indentation tells which one is likely missing.
        var repair = BraceRepair(source)
        guard repair.find() else { return statements }
        self = before
        lexer = Lexer(source)
        lexer.repairs = repair.insertions
        for missing in repair.missing {
            error(
                .unclosedBlock, missing.opens ? "`{` is missing here" : "this block is not closed", hint: missing.hint,
                missing.range)
        }
        token = lexer.next()
        return document().statements
    }

    /// All statements, and whether every brace has its other.
    private mutating func document() -> (statements: [Statement], bracesFit: Bool) {
        var isDamaged = false
        let statements = statements(in: .top, open: nil, &isDamaged)
        return (statements, !braceIsMissing)
    }

    private mutating func advance() { token = lexer.next() }

    private mutating func error(_ code: DiagnosticCode, _ message: String, hint: String? = nil, _ range: Range<Int>) {
        diagnostics.error(code, message, hint: hint, in: source, range)
    }

    /// The token as a message names it.
    private var found: String {
        switch token.kind {
        case .newline: "the end of the line"
        case .end: "the end of the file"
        case .string: "a text in quotes"
        default: "`\(source.text(token.range))`"
        }
    }

    private mutating func statements(in context: BlockKind, open: Range<Int>?, _ isDamaged: inout Bool) -> [Statement] {
        var result: [Statement] = []
        while !diagnostics.isFull, unknownKeywords < Limits.routesErrorsMax {
            switch token.kind {
            case .newline, .semicolon: advance()
            case .end:
                if let open {
                    error(.unclosedBlock, "this block is not closed", hint: "add `}`", open)
                    braceIsMissing = true
                    isDamaged = true
                }
                return result
            case .rightBrace:
                if open != nil {
                    advance()
                    return result
                }
                braceIsMissing = true
                error(.strayBrace, "unexpected `}`", hint: "no block is open here", token.range)
                advance()
            case .word:
                if let open, startsNewTopLevelStatement(in: context) {
                    braceIsMissing = true
                    error(
                        .unclosedBlock, "this block is not closed",
                        hint: "add `}` before line \(source.place(of: token.range.lowerBound).line)", open)
                    isDamaged = true
                    return result
                }
                let statement = statement(in: context)
                if statement.isDamaged { isDamaged = true }
                result.append(statement)
            default:
                isDamaged = true
                let hint = token.kind == .leftBrace ? "a block follows its keyword on the same line" : nil
                error(.unexpected, "expected a keyword, found \(found)", hint: hint, token.range)
                if token.kind == .leftBrace {
                    skipBlock()
                } else {
                    skipLine()
                }
            }
        }
        return result
    }

    /// Whether the word here begins a line without indentation and belongs to the file's top level alone.
    private func startsNewTopLevelStatement(in context: BlockKind) -> Bool {
        let start = token.range.lowerBound
        guard start == 0 || source.bytes[start - 1] == UInt8(ascii: "\n") else { return false }
        return Schema.belongsToTopLevel(source.text(token.range), notTo: context)
    }

    private mutating func statement(in context: BlockKind) -> Statement {
        let word = source.text(token.range)
        var statement = Statement(source: source, keyword: word, range: token.range)
        let keyword = Schema.keyword(word, in: context)
        if keyword == nil, !context.isFree { unknownKeywords += 1 }
        if keyword?.takesFilter == true {
            filter(&statement)
            return statement
        }
        let errorsBefore = diagnostics.errorCount
        advance()
        if word == "let", context == .top, token.kind == .word {
            statement.arguments.append(Argument(value: .word(source.text(token.range)), range: token.range))
            advance()
            if token.kind == .equals {
                advance()
            } else {
                error(.unexpected, "expected `=`, found \(found)", hint: "write: let name = value", token.range)
                skipLine()
                statement.isDamaged = true
                return statement
            }
        }
        arguments(&statement, in: context)
        if token.kind == .leftBrace, !diagnostics.isFull {
            block(&statement, keyword?.block ?? (context.isFree ? context : .unknown))
        }
        if diagnostics.errorCount > errorsBefore { statement.isDamaged = true }
        return statement
    }

    private mutating func arguments(_ statement: inout Statement, in context: BlockKind) {
        var followsComma = false
        while !diagnostics.isFull {
            switch token.kind {
            case .newline where followsComma: advance()
            case .newline, .semicolon, .end, .leftBrace, .rightBrace:
                if followsComma {
                    error(.unexpected, "expected a value after `,`, found \(found)", token.range)
                }
                return
            case .word where context.sharesLines && !statement.arguments.isEmpty && !followsComma: return
            case .comma:
                if followsComma || statement.arguments.isEmpty {
                    error(.unexpected, "unexpected `,`", hint: "a comma stands between two values", token.range)
                    skipLine()
                    return
                }
                followsComma = true
                advance()
            default:
                guard var argument = argument() else {
                    skipLine()
                    return
                }
                argument.followsComma = followsComma
                followsComma = false
                statement.arguments.append(argument)
                if statement.arguments.count > Limits.routesArgumentsMax {
                    error(
                        .tooLarge, "`\(statement.keyword)` has more than \(Limits.routesArgumentsMax) values",
                        argument.range)
                    skipLine()
                    return
                }
            }
        }
    }

    private mutating func argument() -> Argument? {
        let start = token
        switch token.kind {
        case .string:
            let text = string(token)
            advance()
            return text.map { Argument(value: .string($0), range: start.range) }
        case .word:
            let word = source.text(token.range)
            advance()
            guard token.kind == .leftParenthesis else { return Argument(value: .word(word), range: start.range) }
            guard let (items, end) = items(closing: .rightParenthesis, ")") else { return nil }
            return Argument(value: .call(word, items), range: start.range.lowerBound..<end)
        case .leftBracket:
            guard let (items, end) = items(closing: .rightBracket, "]") else { return nil }
            return Argument(value: .list(items), range: start.range.lowerBound..<end)
        case .equals:
            error(.unexpected, "unexpected `=`", hint: "write the value after its keyword, without `=`", token.range)
            return nil
        case .unknown:
            let text = source.text(token.range)
            let hint =
                text == "'" ? "text stands in double quotes here" : text == "\\" ? "a statement is one line" : nil
            let isControl = source.bytes[token.range.lowerBound] < 0x20
            let shown = isControl ? "control character" : "`\(text)`"
            error(.unexpected, "unexpected \(shown)", hint: hint, token.range)
            return nil
        default:
            error(.unexpected, "expected a value, found \(found)", token.range)
            return nil
        }
    }

    /// Values between brackets, with the byte after the closing one. Line breaks are free within.
    private mutating func items(closing: Token.Kind, _ sign: String) -> ([Argument], Int)? {
        let open = token.range
        depth += 1
        defer { depth -= 1 }
        guard depth <= Limits.routesDepthMax else {
            error(.tooDeep, "nested deeper than \(Limits.routesDepthMax)", open)
            return nil
        }
        advance()
        var items: [Argument] = []
        var needsComma = false
        while true {
            switch token.kind {
            case closing:
                let end = token.range.upperBound
                advance()
                return (items, end)
            case .newline: advance()
            case .comma where needsComma:
                needsComma = false
                advance()
            case .end, .leftBrace, .rightBrace, .semicolon:
                error(.unexpected, "`\(source.text(open))` is not closed", hint: "add `\(sign)`", open)
                return nil
            default:
                if needsComma {
                    error(.unexpected, "expected `,` or `\(sign)`, found \(found)", token.range)
                    return nil
                }
                guard items.count < Limits.routesArgumentsMax else {
                    error(.tooLarge, "more than \(Limits.routesArgumentsMax) values", open)
                    return nil
                }
                guard let item = argument() else { return nil }
                items.append(item)
                needsComma = true
            }
        }
    }

    private mutating func block(_ statement: inout Statement, _ context: BlockKind) {
        let open = token.range
        guard depth < Limits.routesDepthMax else {
            error(.tooDeep, "blocks nest deeper than \(Limits.routesDepthMax)", open)
            skipBlock()
            return
        }
        depth += 1
        advance()
        var isDamaged = false
        let statements = statements(in: context, open: open, &isDamaged)
        depth -= 1
        statement.block = Block(statements: statements, open: open, isDamaged: isDamaged)
        switch token.kind {
        case .newline, .semicolon, .rightBrace, .end: break
        case .word where isDamaged: break
        default:
            error(
                .unexpected, "expected the end of the line after `}`, found \(found)", hint: "start a new line",
                token.range)
            skipLine()
        }
    }

    private mutating func filter(_ statement: inout Statement) {
        var parser = FilterParser(source.bytes, from: token.range.upperBound, isStatement: true)
        do {
            statement.filter = Filter(try parser.parse())
            for warning in parser.warnings {
                diagnostics.warning(warning.kind.code, warning.message, hint: warning.hint, in: source, warning.range)
            }
            lexer.at = parser.end
        } catch {
            statement.isDamaged = true
            self.error(.badFilter, error.message, hint: error.hint, error.range)
            // A token that starts its line is more likely the next statement than a part of the filter.
            let start = error.range.lowerBound
            let lineStart = source.bytes[..<start].lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
            let startsLine = source.bytes[lineStart..<start].allSatisfy {
                $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t")
            }
            lexer.at = max(start, token.range.upperBound)
            if !startsLine || lineStart <= statement.range.lowerBound {
                while lexer.at < source.bytes.count, source.bytes[lexer.at] != UInt8(ascii: "\n") { lexer.at += 1 }
            }
        }
        advance()
    }

    /// To the end of the line, over whole blocks that start in it.
    private mutating func skipLine() {
        while true {
            switch token.kind {
            case .newline, .end, .rightBrace: return
            case .leftBrace:
                skipBlock()
                return
            default: advance()
            }
        }
    }

    /// From `{` to behind the `}` that belongs to it.
    private mutating func skipBlock() {
        var open = 0
        while true {
            switch token.kind {
            case .leftBrace: open += 1
            case .rightBrace: open -= 1
            case .end: return
            default: break
            }
            advance()
            if open == 0 { return }
        }
    }

    // MARK: strings

    /// The text of a string token, or nil where it has been reported as bad.
    private mutating func string(_ token: Token) -> String? {
        do throws(QuotedText.Problem) {
            return String(decoding: try QuotedText(source.bytes, at: token.range.lowerBound).text, as: UTF8.self)
        } catch {
            let code: DiagnosticCode = error.kind == .unclosed ? .unclosedString : .badEscape
            self.error(code, error.message, hint: error.hint, error.range)
            return nil
        }
    }
}

extension FilterWarning.Kind {
    fileprivate var code: DiagnosticCode {
        switch self {
        case .mixedConnectives: .mixedConnectives
        case .looseNot: .looseNot
        case .attributeTypes: .attributeTypes
        }
    }
}
