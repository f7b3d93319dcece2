// SPDX-License-Identifier: Apache-2.0

/// Syntax files for editors, with the keywords of the table that files are checked against.
package enum EditorSupport {
    /// Every keyword once, sorted.
    private static var keywords: [String] { Set(Schema.keywords.map(\.name)).sorted() }

    /// Keywords that stand for the kind of thing they declare.
    private static var declarations: [String] {
        Schema.keywords(in: .top).filter { $0.block != nil || $0.name == "let" || $0.name == "include" }.map(\.name)
            .sorted()
    }

    /// Words that shapes have among their arguments, such as `earliest` or `jitter`.
    private static var words: [String] {
        Set(Schema.keywords.flatMap { words(in: $0.shape) }).subtracting(keywords).sorted()
    }

    private static func words(in shape: Shape) -> [String] {
        switch shape {
        case .word(let word): [word]
        case .one, .many: []
        case .optional(let shape): words(in: shape)
        case .sequence(let shapes), .choice(let shapes): shapes.flatMap { words(in: $0) }
        }
    }

    /// Of the filter language (FilterParser). Neither kind of file sees what stands on the line before, so a line that
    /// begins with `and` or `or` is taken for a filter's.
    private static let operators = [
        "and", "contains", "endswith", "exists", "in", "is", "like", "not", "or", "startswith",
    ]
    private static let filterFunctions = ["length", "lower", "num", "str"]
    private static let functions = ["env", "file", "secret"]
    private static let kinds = ["array", "boolean", "missing", "null", "number", "object", "string"]
    private static let units = "ms|s|m|h|d|B|KB|MB|GB|TB|KiB|MiB|GiB|TiB|%|/s|/m|/h|/d"

    // MARK: TextMate

    /// `Editors/vscode/syntaxes/routes.tmLanguage.json`
    package static var textMate: String {
        let notTop = Set(keywords).subtracting(declarations).sorted()
        return #"""
            {
              "name": "Fairlead routes",
              "scopeName": "source.fairlead-routes",
              "fileTypes": ["routes.conf"],
              "patterns": [
                { "include": "#comment" },
                { "include": "#filter" },
                { "include": "#keyword" },
                { "include": "#value" }
              ],
              "repository": {
                "comment": { "name": "comment.line.number-sign", "match": "#.*$" },
                "filter": {
                  "begin": "(?<=^|[{;])\\s*(where|and|or)\\b",
                  "beginCaptures": { "1": { "name": "keyword.control" } },
                  "end": "(?=[;{}])|$",
                  "patterns": [
                    { "include": "#comment" },
                    { "name": "string.quoted.single", "match": "'(?:[^'\\n]|''|\\\\')*'" },
                    { "name": "string.quoted.double", "match": "\"(?:[^\"\\n]|\"\"|\\\\\")*\"" },
                    { "name": "keyword.operator.word", "match": "\\b(?i:\#(operators.joined(separator: "|")))\\b" },
                    { "name": "support.function", "match": "\\b(?i:\#(filterFunctions.joined(separator: "|")))(?=\\s*\\()" },
                    { "name": "constant.language", "match": "(?<![.\\w])(?i:true|false|\#(kinds.joined(separator: "|")))\\b" },
                    { "name": "variable.other", "match": "\\b(?:data|meta|attr)\\b(?:\\.[\\w-]+|\\[[^\\]\\n]*\\])*" },
                    { "name": "keyword.operator", "match": "[=<>!]+" },
                    { "name": "constant.numeric", "match": "-?\\b\\d+(?:\\.\\d+)?(?:[eE][+-]?\\d+)?\\b" }
                  ]
                },
                "keyword": {
                  "patterns": [
                    {
                      "match": "(?<=^|[{;])\\s*(\#(declarations.joined(separator: "|")))(?=\\s|$)(?:\\s+([^\\s{};#\"]+))?",
                      "captures": { "1": { "name": "keyword.control" }, "2": { "name": "entity.name" } }
                    },
                    {
                      "match": "(?<=^|[{;])\\s*(\#(notTop.joined(separator: "|")))(?=[\\s;}]|$)",
                      "captures": { "1": { "name": "keyword.other" } }
                    }
                  ]
                },
                "value": {
                  "patterns": [
                    {
                      "name": "string.quoted.double", "begin": "\"", "end": "\"|$",
                      "patterns": [
                        { "name": "constant.character.escape", "match": "\\\\(?:[\"\\\\nt]|u\\{[0-9A-Fa-f]+\\})" },
                        { "name": "invalid.illegal", "match": "\\\\." }
                      ]
                    },
                    { "name": "support.function", "match": "\\b(?:\#(functions.joined(separator: "|")))(?=\\s*\\()" },
                    { "name": "constant.language", "match": "(?<=\\s)(?:true|false|\#(words.joined(separator: "|")))(?=[\\s,;}\\])]|$)" },
                    { "name": "constant.numeric", "match": "(?<=[\\s\\[(,])-?\\d[\\d_.]*(?:\#(units))*(?:\\d[\\d_]*(?:ms|s|m|h|d))*(?=[\\s,;}\\])]|$)" }
                  ]
                }
              }
            }

            """#
    }

    // MARK: Vim

    /// `Editors/vim/syntax/fairlead.vim`
    package static var vim: String {
        #"""
        " Vim syntax of Fairlead's routes.conf. Generated: see Editors/README.md.
        if exists("b:current_syntax")
          finish
        endif
        syntax case match
        setlocal iskeyword=@,48-57,_

        syntax match fairleadStart /\%(^\|[{;]\)\s*\zs\k\+/ contains=fairleadDeclaration,fairleadKeyword
        syntax keyword fairleadDeclaration contained \#(declarations.joined(separator: " "))
        syntax keyword fairleadKeyword contained \#(Set(keywords).subtracting(declarations).sorted().joined(separator: " "))
        syntax keyword fairleadWord true false \#(words.joined(separator: " "))
        syntax match fairleadFunction /\<\%(\#(functions.joined(separator: "\\|"))\)\>\ze\s*(/
        syntax match fairleadNumber /\%(^\|[ \t,(\[]\)\zs-\?\d[0-9_.]*\%(\#(vimUnits)\)*\%(\d[0-9_]*\%(ms\|s\|m\|h\|d\)\)*\ze\%([ \t,;)}\]]\|$\)/
        syntax region fairleadText start=/"/ skip=/\\./ end=/"/ oneline contains=fairleadEscape
        syntax match fairleadEscape contained /\\\%(["\\nt]\|u{\x\+}\)/

        syntax region fairleadFilter matchgroup=fairleadKeyword start=/\%(^\|[{;]\)\s*\zs\%(where\|and\|or\)\>/ end=/\ze[;{}]/ end=/$/ contains=fairleadOperator,fairleadFilterFunction,fairleadQuoted,fairleadPath,fairleadKind,fairleadNumber,fairleadComment
        syntax case ignore
        syntax match fairleadOperator contained /\<\%(\#(operators.joined(separator: "\\|"))\)\>/
        syntax match fairleadOperator contained /[=<>!]\+/
        syntax keyword fairleadKind contained true false \#(kinds.joined(separator: " "))
        syntax match fairleadFilterFunction contained /\<\%(\#(filterFunctions.joined(separator: "\\|"))\)\>\ze\s*(/
        syntax case match
        syntax match fairleadPath contained /\<\%(data\|meta\|attr\)\>\%(\.[0-9A-Za-z_-]\+\|\[[^]]*\]\)*/
        syntax region fairleadQuoted contained start=/'/ skip=/''\|\\'/ end=/'/ oneline
        syntax region fairleadQuoted contained start=/"/ skip=/""\|\\"/ end=/"/ oneline
        syntax match fairleadComment /#.*$/

        highlight default link fairleadDeclaration Structure
        highlight default link fairleadKeyword Statement
        highlight default link fairleadWord Constant
        highlight default link fairleadFunction Function
        highlight default link fairleadFilterFunction Function
        highlight default link fairleadNumber Number
        highlight default link fairleadText String
        highlight default link fairleadQuoted String
        highlight default link fairleadEscape SpecialChar
        highlight default link fairleadOperator Operator
        highlight default link fairleadPath Identifier
        highlight default link fairleadKind Constant
        highlight default link fairleadComment Comment

        setlocal commentstring=#\ %s shiftwidth=2 expandtab
        let b:current_syntax = "fairlead"

        """#
    }

    private static var vimUnits: String {
        units.split(separator: "|").map { $0.replacing("/", with: "\\/") }.joined(separator: "\\|")
    }
}
