// SPDX-License-Identifier: Apache-2.0

/// The reference of routes.conf, out of the table that files are checked against.
package enum RouteManual {
    /// Markdown: what stands for an argument, then a table of keywords for each kind of block.
    package static var keywords: String {
        let contexts = BlockKind.allCases.filter { !Schema.keywords(in: $0).isEmpty }
        return ([arguments] + contexts.map(section)).joined(separator: "\n")
    }

    private static func section(_ context: BlockKind) -> String {
        let title = context == .top ? "At the top level" : "In \(context.name)"
        var text = "### \(title)\n\n| keyword | default | |\n|---|---|---|\n"
        for keyword in Schema.keywords(in: context) {
            let usage = cell(usage(of: keyword))
            let defaultText = keyword.defaultText.map { cell($0) } ?? ""
            text += "| \(usage) | \(defaultText) | \(([keyword.doc] + notes(on: keyword)).joined(separator: " ")) |\n"
        }
        return text
    }

    /// As it is written, with symbols for the arguments.
    static func usage(of keyword: Keyword) -> String {
        var words = [keyword.name]
        if keyword.takesFilter {
            words.append("FILTER")
        } else if keyword.name == "let", case .sequence(let shapes) = keyword.shape {
            words.append(shapes.map { text(of: $0, isInner: true) }.joined(separator: " = "))
        } else {
            words.append(text(of: keyword.shape, isInner: keyword.block != nil))
        }
        if keyword.block != nil { words.append(keyword.needsBlock ? "{ … }" : "[{ … }]") }
        return words.filter { !$0.isEmpty }.joined(separator: " ")
    }

    /// `isInner`: whether other arguments may stand beside it, so that a choice needs brackets.
    private static func text(of shape: Shape, isInner: Bool) -> String {
        switch shape {
        case .one, .many, .word: return shape.text
        case .sequence(let shapes): return shapes.map { text(of: $0, isInner: true) }.joined(separator: " ")
        case .optional(let shape): return "[\(text(of: shape, isInner: false))]"
        case .choice(let shapes):
            let choice = shapes.map { text(of: $0, isInner: false) }.joined(separator: " | ")
            return isInner && shapes.count > 1 ? "(\(choice))" : choice
        }
    }

    private static func notes(on keyword: Keyword) -> [String] {
        var notes: [String] = []
        for range in bounds(in: keyword.shape) {
            let upper = range.upperBound == .max ? "" : " to \(range.upperBound)"
            notes.append("NUMBER: \(range.lowerBound)\(upper.isEmpty ? " or more" : upper).")
        }
        if keyword.isRepeatable, keyword.context != .top { notes.append("May stand several times.") }
        if keyword.isRestartOnly { notes.append("*A change needs a restart.*") }
        return notes
    }

    private static func bounds(in shape: Shape) -> [ClosedRange<Int>] {
        types(in: shape).compactMap { if case .integer(let range) = $0 { range } else { nil } }
    }

    private static func types(in shape: Shape) -> [ArgumentType] {
        switch shape {
        case .one(let type), .many(let type): [type]
        case .word: []
        case .optional(let shape): types(in: shape)
        case .sequence(let shapes), .choice(let shapes): shapes.flatMap { types(in: $0) }
        }
    }

    private static var arguments: String {
        var text = "| symbol | stands for |\n|---|---|\n"
        var seen: Set<String> = []
        for type in Schema.keywords.flatMap({ types(in: $0.shape) }) where seen.insert(type.symbol).inserted {
            text += "| `\(type.symbol)` | \(type.name) |\n"
        }
        return text + "| `FILTER` | which events: see the grammar |\n"
    }

    /// A table's cell; `|` would end it even within code.
    private static func cell(_ code: String) -> String { "`\(code.replacing("|", with: "\\|"))`" }
}
