// SPDX-License-Identifier: Apache-2.0

import Foundation
import Routes
import Testing

@Suite struct DiagnosticTests {
    private func lines(_ text: String) -> [String] { compile(text).diagnostics.map(\.json) }

    @Test func jsonIsOneObjectALine() {
        #expect(
            lines("topic orders\nsubscriber s { from orderz; pull }") == [
                #"{"file":"routes.conf","line":2,"column":21,"endColumn":27,"severity":"error","code":"R034","#
                    + #""message":"unknown topic \"orderz\"","hint":"did you mean \"orders\"? (declared at routes.conf:1)","#
                    + #""related":[{"file":"routes.conf","line":1,"column":7,"message":"\"orders\" is declared here"}]}"#
            ])
    }

    @Test func jsonColumnsAreUTF16Units() throws {
        let diagnostics = compile("\u{FEFF}/*😀é*/ x\nlet a \"😀\" b").diagnostics
        for diagnostic in diagnostics {
            let place = try #require(diagnostic.place)
            let line = try #require(diagnostic.sourceLine)
            let prefix = String(String.UnicodeScalarView(line.unicodeScalars.prefix(place.column - 1)))
            #expect(diagnostic.json.contains("\"column\":\(prefix.utf16.count + 1),"))
        }
        let wide = try #require(compile("topic orders; topic \"😀\" 1").diagnostics.first)
        #expect(wide.place?.column == 21)
        #expect(wide.endColumn == 24)
        #expect(wide.json.contains(#""column":21,"endColumn":25,"#))
        let behind = try #require(compile("let a \"😀\"").diagnostics.first)
        #expect(behind.json.contains(#""column":7,"#))
    }

    @Test func relatedColumnsAreUTF16UnitsToo() throws {
        let text = "let a = \"😀\"; topic orders\ntopic orders"
        let found = compile(text).diagnostics.first { $0.code == .duplicate }
        let related = try #require(found?.related.first)
        #expect(related.place == Place(file: "routes.conf", line: 1, column: 20))
        #expect(related.editorColumn == 21)
        #expect(related.message == "the first")
    }

    @Test func whatHasNoPlaceHasNulls() {
        var sources = MemorySources("")
        sources.files = [:]
        let compiled = RouteCompiler.compile("routes.conf", from: sources, strictEnvironment: false)
        #expect(
            compiled.diagnostics.map(\.json) == [
                #"{"file":null,"line":null,"column":null,"endColumn":null,"severity":"error","code":"R001","#
                    + #""message":"can't read routes.conf: no such file","hint":null,"related":[]}"#
            ])
    }

    @Test func everyJSONIsJSON() throws {
        let text = "topic \"\\\u{1}\u{7F}\t😀\nfoo \u{1}\nlet x = \"a\nsubscriber \u{2028} { }"
        for line in lines(text) {
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
            #expect(
                object?.keys.sorted() == [
                    "code", "column", "endColumn", "file", "hint", "line", "message", "related", "severity",
                ])
        }
    }

    @Test func aLineTooLongHasItsPlace() throws {
        let text = "topic orders\n# " + String(repeating: "x", count: 100_000)
        let diagnostic = try #require(compile(text).diagnostics.first)
        #expect(diagnostic.code == .tooLarge)
        #expect(diagnostic.json.contains(#""file":"routes.conf","line":2,"column":1,"endColumn":2,"#))
    }

    @Test func warningsHaveABoundToo() {
        let compiled = compile((0..<1_000).map { "topic t\($0)" }.joined(separator: "\n"))
        #expect(compiled.table?.topics.count == 1_003)
        #expect(compiled.diagnostics.count == 201)
        #expect(compiled.diagnostics.last?.code == .tooMany)
    }
}
