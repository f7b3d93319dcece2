// SPDX-License-Identifier: Apache-2.0

import Events

/// What `diff -u` says of two texts, with three lines around each change; empty where they are equal. `path` names both.
package func unifiedDiff(_ old: [UInt8], _ new: [UInt8], path: String) -> String {
    guard old != new else { return "" }
    let steps = lineSteps(from: lines(of: old), to: lines(of: new))
    var text = "--- \(path)\n+++ \(path)\n"
    var at = 0
    // Lines of each text before step `at`.
    var (oldLine, newLine) = (0, 0)
    while let change = steps[at...].firstIndex(where: { $0.sign != " " }) {
        let start = max(at, change - contextLines)
        oldLine += start - at
        newLine += start - at
        var end = change
        // Changes whose surroundings touch share a hunk.
        while let next = steps[end...].firstIndex(where: { $0.sign != " " }), next - end <= 2 * contextLines {
            end = next + 1
        }
        end = min(steps.count, end + contextLines)
        let hunk = steps[start..<end]
        let (oldCount, newCount) = (hunk.count { $0.sign != "+" }, hunk.count { $0.sign != "-" })
        // A range without lines is named by the line before it.
        func range(_ line: Int, _ count: Int) -> String { "\(count == 0 ? line : line + 1),\(count)" }
        text += "@@ -\(range(oldLine, oldCount)) +\(range(newLine, newCount)) @@\n"
        for step in hunk {
            text += step.sign + String(decoding: step.line, as: UTF8.self)
            if step.line.last != newline { text += "\n\\ No newline at end of file\n" }
        }
        oldLine += oldCount
        newLine += newCount
        at = end
    }
    return text
}

/// As `diff -u` has it.
private let contextLines = 3

private let newline = UInt8(ascii: "\n")

private struct LineStep {
    /// " ", "-" or "+"
    var sign: String
    var line: ArraySlice<UInt8>
}

/// With their line breaks; only the last one may lack it.
private func lines(of text: [UInt8]) -> [ArraySlice<UInt8>] {
    var lines: [ArraySlice<UInt8>] = []
    var start = 0
    while start < text.count {
        let end = text[start...].firstIndex(of: newline).map { $0 + 1 } ?? text.count
        lines.append(text[start..<end])
        start = end
    }
    return lines
}

private func lineSteps(from old: [ArraySlice<UInt8>], to new: [ArraySlice<UInt8>]) -> [LineStep] {
    var head = 0
    while head < min(old.count, new.count), old[head] == new[head] { head += 1 }
    var tail = 0
    while tail < min(old.count, new.count) - head, old[old.count - 1 - tail] == new[new.count - 1 - tail] { tail += 1 }
    let (from, to) = (Array(old[head..<old.count - tail]), Array(new[head..<new.count - tail]))
    var removed = [Bool](repeating: true, count: from.count)
    var added = [Bool](repeating: true, count: to.count)
    if max(from.count, to.count) <= Limits.diffLinesMax {
        removed = [Bool](repeating: false, count: from.count)
        added = [Bool](repeating: false, count: to.count)
        for change in to.difference(from: from) {
            switch change {
            case .remove(let offset, _, _): removed[offset] = true
            case .insert(let offset, _, _): added[offset] = true
            }
        }
    }
    var steps = old[..<head].map { LineStep(sign: " ", line: $0) }
    var (oldAt, newAt) = (0, 0)
    while oldAt < from.count || newAt < to.count {
        if oldAt < from.count, removed[oldAt] {
            steps.append(LineStep(sign: "-", line: from[oldAt]))
            oldAt += 1
        } else if newAt < to.count, added[newAt] {
            steps.append(LineStep(sign: "+", line: to[newAt]))
            newAt += 1
        } else {
            steps.append(LineStep(sign: " ", line: from[oldAt]))
            oldAt += 1
            newAt += 1
        }
    }
    return steps + old[(old.count - tail)...].map { LineStep(sign: " ", line: $0) }
}
