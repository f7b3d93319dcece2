// SPDX-License-Identifier: Apache-2.0

import Foundation
import Routes
import Testing

/// The manual and the editors' files say what the table of keywords says. `UPDATE_FIXTURES=1` writes them anew.
@Suite struct ManualTests {
    private static let repository = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..")
    private static let isUpdating = ProcessInfo.processInfo.environment["UPDATE_FIXTURES"] == "1"
    private static let advice: Comment = "run the tests with UPDATE_FIXTURES=1 to write it anew"

    private func text(_ path: String) throws -> String {
        try String(contentsOf: Self.repository.appending(path: path), encoding: .utf8)
    }

    private func check(_ path: String, is expected: String) throws {
        if Self.isUpdating {
            try expected.write(to: Self.repository.appending(path: path), atomically: true, encoding: .utf8)
        } else {
            #expect(try text(path) == expected, Self.advice)
        }
    }

    @Test func theManualHasTheTablesKeywordsAndTheGrammar() throws {
        var manual = try text("docs/routes.md")
        for (name, section) in [
            ("keywords", "\n\(RouteManual.keywords)\n"), ("grammar", "\n```ebnf\n\(RouteManual.grammar)\n```\n\n"),
        ] {
            let start = try #require(manual.range(of: "<!-- generated: \(name) -->\n")).upperBound
            let end = try #require(manual[start...].range(of: "<!-- end -->")).lowerBound
            manual.replaceSubrange(start..<end, with: section)
        }
        try check("docs/routes.md", is: manual)
    }

    @Test func theManualsExamplesAreRightAndFormatted() throws {
        let manual = try text("docs/routes.md")
        let blocks = manual.components(separatedBy: "\n```\n")
        let topics = try #require(blocks.first { $0.hasPrefix("topic orders {") }) + "\n"
        #expect(compile(topics).table != nil)
        #expect(String(decoding: RouteFormatter.format(Array(topics.utf8)).bytes, as: UTF8.self) == topics)
        let filter = try #require(blocks.first { $0.hasPrefix("where ") })
        let compiled = compile("topic orders\nsubscriber s {\nfrom orders\npull\n\(filter)\n}\n")
        #expect(compiled.diagnostics.map(\.description) == [])
    }

    @Test func editorsKnowTheTablesKeywords() throws {
        try check("Editors/vscode/syntaxes/routes.tmLanguage.json", is: EditorSupport.textMate)
        try check("Editors/vim/syntax/fairlead.vim", is: EditorSupport.vim)
    }

    @Test func theEditorsFilesAreJSONWithPatternsThatCompile() throws {
        let grammar = try JSONSerialization.jsonObject(with: Data(EditorSupport.textMate.utf8))
        var patterns = 0
        func visit(_ value: Any) throws {
            if let object = value as? [String: Any] {
                for (key, value) in object {
                    if let pattern = value as? String, ["match", "begin", "end"].contains(key) {
                        _ = try NSRegularExpression(pattern: pattern)
                        patterns += 1
                    }
                    try visit(value)
                }
            } else if let array = value as? [Any] {
                for value in array { try visit(value) }
            }
        }
        try visit(grammar)
        #expect(patterns > 10)
        for path in ["package.json", "language-configuration.json"] {
            _ = try JSONSerialization.jsonObject(with: Data(text("Editors/vscode/\(path)").utf8))
        }
    }
}
