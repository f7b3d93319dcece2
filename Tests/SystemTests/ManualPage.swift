// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// A page of the documentation, and the code blocks in it.
struct ManualPage: CustomTestStringConvertible {
    /// Relative to the repository.
    var path: String
    var lines: [String]
    var blocks: [Block] = []
    /// Commands that readers don't see, by the line they stand in: `<!-- run: … -->`.
    var hidden: [Int: String] = [:]
    /// Whether its commands are run in a copy of the repository's shop, `<!-- walk: shop -->`, or in an empty folder.
    var isInShop = false

    var testDescription: String { path }

    struct Block {
        /// A session: commands behind `$ ` and what they print; or commands that must end well, one on a line; or neither.
        enum Kind { case session, commands, other }
        var kind: Kind
        /// Of its content, without fences.
        var range: Range<Int>
        /// Why it isn't run: `<!-- not run: … -->` before it.
        var excuse: String?

        var isRun: Bool { kind != .other && excuse == nil }
    }

    static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    var url: URL { Self.repository.appendingPathComponent(path) }

    /// Every page that people read.
    static var all: [ManualPage] {
        get throws {
            var paths = ["README.md", "CONTRIBUTING.md", "Editors/README.md"]
            let docs = FileManager.default.enumerator(atPath: repository.appendingPathComponent("docs").path)
            for case let name as String in docs ?? .init() where name.hasSuffix(".md") { paths.append("docs/\(name)") }
            return try paths.sorted().map { try ManualPage($0) }
        }
    }

    /// What is walked one after the other, each part in a folder of its own: `<!-- walk: afresh -->` begins another.
    var parts: [ManualPage] {
        var parts: [[String]] = [[]]
        for line in lines {
            if line == "<!-- walk: afresh -->" { parts.append([]) }
            parts[parts.count - 1].append(line)
        }
        return parts.map { ManualPage(path, lines: $0) }
    }

    init(_ path: String) throws {
        let text = try String(contentsOf: Self.repository.appendingPathComponent(path), encoding: .utf8)
        self.init(path, lines: text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init))
    }

    private init(_ path: String, lines: [String]) {
        self.path = path
        self.lines = lines
        isInShop = lines.contains("<!-- walk: shop -->")
        var excuse: String?
        var at = 0
        while at < lines.count {
            let line = lines[at]
            if let match = line.wholeMatch(of: /<!-- not run: (.+) -->/) {
                excuse = String(match.1)
            } else if let match = line.wholeMatch(of: /<!-- run: (.+) -->/) {
                hidden[at] = String(match.1)
            } else if line.hasPrefix("```") {
                let end = lines[(at + 1)...].firstIndex(of: "```") ?? lines.count
                let kind: Block.Kind = line == "```console" ? .session : line == "```sh" ? .commands : .other
                blocks.append(Block(kind: kind, range: at + 1..<end, excuse: excuse))
                excuse = nil
                at = end
            } else if line.hasPrefix("    "), at > 0, lines[at - 1].isEmpty || lines[at - 1].hasPrefix("<!--") {
                let end = lines[at...].firstIndex { !$0.hasPrefix("    ") && !$0.isEmpty } ?? lines.count
                blocks.append(Block(kind: .other, range: at..<end, excuse: excuse))
                excuse = nil
                at = end - 1
            } else if !line.isEmpty {
                excuse = nil
            }
            at += 1
        }
    }

    /// Lines of blocks that look like commands and that nothing runs.
    var commandsNotRun: [String] {
        blocks.filter { !$0.isRun && $0.excuse == nil }.flatMap { block in
            lines[block.range].filter { $0.contains(Self.command) }.map { "\(path): \($0)" }
        }
    }

    private nonisolated(unsafe) static let command =
        /^\s*(\$ |(fairlead|make|curl|sudo|docker|kill|swift|git|apt|systemctl|promtool|mkdir|ln|cat|echo|cd) [^─])/
}
