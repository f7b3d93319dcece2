// SPDX-License-Identifier: Apache-2.0

import Foundation
import Routes
import Testing

/// Each file of `Fixtures/Bad` is a configuration, a line of ten dashes, and all that is said of it. A section headed
/// by dashes and a path is another file, which can't be read where `(unreadable)` stands behind it. `UPDATE_FIXTURES=1` writes what is said now.
@Suite struct BadConfigurationTests {
    static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/Bad")
    static let names =
        (try? FileManager.default.contentsOfDirectory(atPath: folder.path()).filter { $0.hasSuffix(".txt") }.sorted())
        ?? []
    static let dashes = "----------"

    @Test(arguments: names) func saysWhatIsWrong(_ name: String) throws {
        let url = Self.folder.appending(path: name)
        let text = try String(contentsOf: url, encoding: .utf8)
        var sections: [(path: String, lines: [String])] = [("routes.conf", [])]
        // Not by characters: "\r\n" is one.
        for bytes in text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            let line = String(decoding: bytes, as: UTF8.self)
            if line.hasPrefix(Self.dashes) {
                sections.append((line.dropFirst(Self.dashes.count).trimmingCharacters(in: .whitespaces), []))
            } else {
                sections[sections.count - 1].lines.append(line)
            }
        }
        let input = sections.filter { !$0.path.isEmpty }
        let expected = sections.first { $0.path.isEmpty }.map { $0.lines.joined(separator: "\n") }
        var files: [String: String] = [:]
        var unreadable: Set<String> = []
        for section in input {
            let path = section.path.replacing(" (unreadable)", with: "")
            files[path] = section.lines.joined(separator: "\n")
            if path != section.path { unreadable.insert(path) }
        }
        var sources = MemorySources(
            files["routes.conf"] ?? "", files.filter { $0.key != "routes.conf" },
            variables: ["WORD": "soon", "EMPTY": ""],
            secrets: ["CI_TOKEN": "one", "SAME_TOKEN": "one", "OTHER_TOKEN": "two"])
        sources.unreadable = unreadable
        let compiled = RouteCompiler.compile("routes.conf", from: sources, strictEnvironment: false)
        let said = compiled.diagnostics.map { $0.description + "\n" }.joined()
        #expect((compiled.table == nil) == compiled.diagnostics.contains { $0.severity == .error })
        if ProcessInfo.processInfo.environment["UPDATE_FIXTURES"] == "1" {
            let kept =
                expected == nil ? text : String(text.prefix(upTo: text.range(of: "\(Self.dashes)\n")!.lowerBound))
            try "\(kept)\(Self.dashes)\n\(said)".write(to: url, atomically: true, encoding: .utf8)
        } else {
            #expect(said == expected)
        }
        #expect(!said.isEmpty)
        for diagnostic in compiled.diagnostics { #expect(!diagnostic.json.contains("\n")) }
    }

    @Test(arguments: DiagnosticCode.allCases.filter { $0.rawValue.hasPrefix("R") }) func everyCodeIsShownByOne(
        _ code: DiagnosticCode
    ) throws {
        #expect(
            try Self.names.contains {
                let text = try String(contentsOf: Self.folder.appending(path: $0), encoding: .utf8)
                return text.contains("[\(code.rawValue)]")
            })
    }

    @Test func thereAreEnough() {
        #expect(Self.names.count >= 130)
    }
}
