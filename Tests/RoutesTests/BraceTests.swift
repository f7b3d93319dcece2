// SPDX-License-Identifier: Apache-2.0

import Foundation
import Routes
import Testing

/// One brace too few is one error, where the brace belongs.
@Suite struct BraceTests {
    static let shop: String = {
        let url = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/shop.conf")
        return (try? String(contentsOf: url, encoding: .utf8)) ?? ""
    }()

    /// The braces that are none of a comment, by offset.
    static let braces: [Int] = {
        var inComment = false
        return shop.utf8.enumerated().compactMap { offset, byte in
            if byte == UInt8(ascii: "\n") { inComment = false }
            // A `#` in a text is followed by its name.
            if byte == UInt8(ascii: "#"), shop.utf8.dropFirst(offset + 1).first == UInt8(ascii: " ") {
                inComment = true
            }
            return !inComment && (byte == UInt8(ascii: "{") || byte == UInt8(ascii: "}")) ? offset : nil
        }
    }()

    @Test(arguments: braces) func aMissingBraceIsNamedWhereItBelongs(_ offset: Int) throws {
        var bytes = Array(Self.shop.utf8)
        let removed = bytes.remove(at: offset)
        let line = bytes[..<offset].count { $0 == UInt8(ascii: "\n") } + 1
        let errors = errors(String(decoding: bytes, as: UTF8.self))
        let first = try #require(errors.first?.place)
        let said = errors.map(\.description).joined(separator: "\n")
        #expect(errors.count <= 2, "\(said)")
        let isNear = abs(first.line - line) <= 2
        let namesTheBlock = removed == UInt8(ascii: "}") && first.line == Self.lineOfBlock(endingAt: offset)
        #expect(isNear || namesTheBlock, "line \(line):\n\(said)")
    }

    @Test func thereAreBracesToRemove() {
        #expect(Self.braces.count >= 40)
    }

    private func errors(_ text: String) -> [Diagnostic] {
        compile(text).diagnostics.filter { $0.severity == .error }
    }

    /// The line of the `{` whose `}` is at `offset`.
    private static func lineOfBlock(endingAt offset: Int) -> Int {
        let bytes = Array(shop.utf8)
        var depth = 0
        for brace in braces.reversed() where brace < offset {
            depth += bytes[brace] == UInt8(ascii: "}") ? 1 : -1
            if depth < 0 { return bytes[..<brace].count { $0 == UInt8(ascii: "\n") } + 1 }
        }
        return 0
    }

    @Test func fittingBracesMayBeIndentedAsOneLikes() {
        let text = """
                topic orders {
            retain 1d
                }
            subscriber s {
                from orders
            where data.text = '}' and data.other = '{'
              pull { lease 10s
            } }
              topic stock {
              }
            subscriber t {
                from stock; pull }
            """
        #expect(compile(text).diagnostics.isEmpty)
    }

    @Test func twoMissingBracesAreTwoErrors() {
        let errors = errors(
            """
            topic orders {
              retain 1d

            subscriber s {
              from orders
              pull  lease 10s }
            }
            """)
        #expect(errors.map(\.place?.line) == [1, 6])
        #expect(errors.map(\.code) == [.unclosedBlock, .unclosedBlock])
    }

    @Test func aTornTextThatHidesABraceIsOneError() {
        let errors = errors(
            """
            topic orders
            subscriber s {
              from orders
              run p { from "a@example.com }
              allow mail
            }
            """)
        #expect(errors.map(\.code) == [.unclosedString])
    }
}
