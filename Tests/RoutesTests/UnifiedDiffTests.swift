// SPDX-License-Identifier: Apache-2.0

import Routes
import Testing

@Suite struct UnifiedDiffTests {
    private func diff(_ old: String, _ new: String) -> String {
        unifiedDiff(Array(old.utf8), Array(new.utf8), path: "routes.conf")
    }

    @Test func equalTextsHaveNone() {
        #expect(diff("a\n", "a\n") == "")
        #expect(diff("", "") == "")
    }

    @Test func aChangeHasThreeLinesAroundIt() {
        let old = (1...9).map { "\($0)\n" }.joined()
        #expect(
            diff(old, old.replacing("5\n", with: "five\n")) == """
                --- routes.conf
                +++ routes.conf
                @@ -2,7 +2,7 @@
                 2
                 3
                 4
                -5
                +five
                 6
                 7
                 8

                """)
    }

    @Test func changesFarApartHaveHunksOfTheirOwn() {
        let old = (1...20).map { "\($0)\n" }.joined()
        let new = old.replacing("2\n3\n", with: "3\n").replacing("19\n", with: "19\nmore\n")
        let hunks = diff(old, new).split(separator: "\n").filter { $0.hasPrefix("@@") }
        #expect(hunks == ["@@ -1,5 +1,4 @@", "@@ -17,4 +16,5 @@"])
    }

    @Test func aLineWithoutItsBreakIsSaidSo() {
        #expect(
            diff("a", "a\n") == """
                --- routes.conf
                +++ routes.conf
                @@ -1,1 +1,1 @@
                -a
                \\ No newline at end of file
                +a

                """)
        #expect(diff("", "a\n").contains("@@ -0,0 +1,1 @@\n+a\n"))
        #expect(diff("a\n", "").contains("@@ -1,1 +0,0 @@\n-a\n"))
    }

    @Test func applyingItGivesTheNewText() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SplitMix(state: seed)
        for round in 0..<300 {
            func text() -> String {
                let lines = (0..<Int.random(in: 0...30, using: &random)).map { _ in
                    "abcdefgh".randomElement(using: &random).map(String.init) ?? ""
                }
                return lines.joined(separator: "\n") + (Bool.random(using: &random) ? "\n" : "")
            }
            let (old, new) = (text(), text())
            #expect(patched(old, diff(old, new)) == new, "seed \(seed), round \(round)")
        }
    }

    @Test func textsTooLongToCompareAreReplaced() {
        let old = (0..<6_000).map { "\($0)\n" }.joined()
        let new = (0..<6_000).map { "\($0) \n" }.joined()
        #expect(patched(old, diff(old, new)) == new)
        #expect(diff(old, new).contains("@@ -1,6000 +1,6000 @@"))
    }

    private func patched(_ old: String, _ diff: String) -> String {
        guard !diff.isEmpty else { return old }
        func lines(_ text: String) -> [String] {
            var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { "\($0)\n" }
            // Behind the last line break stands nothing, or a line without one.
            let last = lines.removeLast().dropLast()
            if !last.isEmpty { lines.append(String(last)) }
            return lines
        }
        let source = lines(old)
        var result: [String] = []
        var at = 0
        var sign: Character?
        for line in lines(diff).dropFirst(2) {
            let text = String(line.dropFirst())
            defer { sign = line.first }
            switch line.first {
            case "@":
                let parts = line.split(separator: " ")[1].dropFirst().split(separator: ",").compactMap { Int($0) }
                let start = parts[1] == 0 ? parts[0] : parts[0] - 1
                result += source[at..<start]
                at = start
            case "-": at += 1
            case "+": result.append(text)
            case "\\": if sign == "+" { result[result.count - 1].removeLast() }
            default:
                result.append(source[at])
                at += 1
            }
        }
        return (result + source[at...]).joined()
    }
}
