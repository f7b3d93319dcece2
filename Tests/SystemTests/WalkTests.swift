// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The sessions in the documentation: their commands are run, and must print what the pages say.
struct WalkTests {
    static var walked: [ManualPage] {
        get throws { try ManualPage.all.filter { $0.blocks.contains(where: \.isRun) } }
    }

    @Test(.timeLimit(.minutes(5)), arguments: try WalkTests.walked)
    func theSessionsOfAPageAreReal(_ page: ManualPage) async throws {
        var real: [String] = []
        for part in page.parts { real += try await Walk(part).lines() }
        if ProcessInfo.processInfo.environment["UPDATE_FIXTURES"] == "1", real != page.lines {
            try real.joined(separator: "\n").write(to: page.url, atomically: true, encoding: .utf8)
        }
        let first = zip(real, page.lines).enumerated().first { $1.0 != $1.1 }
        #expect(
            real == page.lines,
            """
            \(page.path):\((first?.offset ?? 0) + 1): "\(first?.element.1 ?? "")" is now "\(first?.element.0 ?? "")"; to write \
            the page anew: UPDATE_FIXTURES=1 swift test --filter WalkTests
            """)
    }

    @Test func everyCommandInTheDocumentationIsRunOrSaysWhyNot() throws {
        let pages = try ManualPage.all
        #expect(pages.count > 15)
        #expect(pages.flatMap(\.commandsNotRun) == [])
    }

    @Test func everyLinkToAFileLeadsToOne() throws {
        for page in try ManualPage.all {
            var isCode = false
            for (number, line) in page.lines.enumerated() {
                if line.hasPrefix("```") { isCode.toggle() }
                if isCode || line.hasPrefix("    ") { continue }
                for match in line.matches(of: /\]\(([^)#\s]+)(#[^)]*)?\)/) where !match.1.contains("://") {
                    let target = page.url.deletingLastPathComponent().appendingPathComponent(String(match.1))
                    #expect(
                        FileManager.default.fileExists(atPath: target.path),
                        "\(page.path):\(number + 1): there is no \(match.1)")
                }
            }
        }
    }
}
