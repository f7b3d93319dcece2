// SPDX-License-Identifier: Apache-2.0

/// A table with a heading: columns as wide as their widest cell, numbers to the right.
///
/// Where it is wider than the terminal, nothing is cut off: headings go on two lines, the last cell on several, or the last
/// cells of a row beneath it, with their names.
struct TextTable {
    var heading: [String]
    var rows: [[String]]

    private static let gap = 2
    /// The last column is broken into lines where it has as many columns; where it has fewer, its cells go beneath.
    private static let wrapMin = 24
    private static let indentation = "    "

    /// - Parameter width: that of the terminal; nil doesn't limit it.
    /// - Parameter bold: marks the heading.
    func text(width: Int?, bold: (String) -> String = { $0 }) -> String {
        guard let width, Self.total(widths(headings: heading.map { [$0] })) > width else {
            return lines(headings: heading.map { [$0] }, beneath: 0, last: nil, width: .max, bold)
        }
        let headings = heading.map { $0.split(separator: " ").map(String.init) }
        let widths = widths(headings: headings)
        if Self.total(widths) <= width { return lines(headings: headings, beneath: 0, last: nil, width: width, bold) }
        let left = width - Self.total(widths.dropLast()) - Self.gap
        let isText = rows.contains { !Self.isNumber($0.last ?? "") && !($0.last ?? "").isEmpty }
        if isText, widths.count > 1, left >= Self.wrapMin {
            return lines(headings: headings, beneath: 0, last: left, width: width, bold)
        }
        var beneath = 1
        while beneath < heading.count - 1, Self.total(widths.dropLast(beneath)) > width { beneath += 1 }
        return lines(headings: headings, beneath: min(beneath, heading.count - 1), last: nil, width: width, bold)
    }

    private func widths(headings: [[String]]) -> [Int] {
        var widths = headings.map { $0.map(\.count).max() ?? 0 }
        for row in rows {
            for (column, cell) in row.enumerated() { widths[column] = max(widths[column], cell.count) }
        }
        return widths
    }

    private static func total(_ widths: some Collection<Int>) -> Int {
        widths.reduce(0, +) + gap * max(0, widths.count - 1)
    }

    private static func isNumber(_ cell: String) -> Bool {
        !cell.isEmpty && cell.allSatisfy { $0.isNumber || $0 == "," || $0 == "." }
    }

    /// - Parameter beneath: how many of the last columns go below their row.
    /// - Parameter last: the width of the last column, where it is broken into lines.
    private func lines(
        headings: [[String]], beneath: Int, last: Int?, width: Int, _ bold: (String) -> String
    ) -> String {
        let shown = heading.count - beneath
        let headings = headings.prefix(shown)
        var widths = Array(widths(headings: Array(headings) + self.heading.dropFirst(shown).map { [$0] }).prefix(shown))
        if let last { widths[shown - 1] = last }
        var out: [String] = []
        let height = headings.map(\.count).max() ?? 1
        for line in 0..<height {
            // The last words of all headings stand in one line, above their cells.
            let cells = headings.map { words in
                let index = line - (height - words.count)
                return index >= 0 ? words[index] : ""
            }
            out.append(bold(Self.line(cells, widths, alignsNumbers: false)))
        }
        for row in rows {
            var cells = Array(row.prefix(shown))
            var more: [String] = []
            if let last, cells.count == shown {
                let wrapped = Self.wrapped(cells[shown - 1], last)
                cells[shown - 1] = wrapped.first ?? ""
                let blank = String(repeating: " ", count: Self.total(widths.dropLast()) + Self.gap)
                more = wrapped.dropFirst().map { blank + $0 }
            }
            out.append(Self.line(cells, widths, alignsNumbers: true))
            out += more
            let below = zip(heading, row).dropFirst(shown)
                .filter { !$0.1.isEmpty && $0.1 != "-" }.map { "\($0.lowercased()): \($1)" }
            out += Self.wrapped(below.joined(separator: "; "), max(Self.wrapMin, width - Self.indentation.count))
                .map { Self.indentation + $0 }
        }
        return out.joined(separator: "\n")
    }

    private static func line(_ cells: [String], _ widths: [Int], alignsNumbers: Bool) -> String {
        var line = ""
        for (column, cell) in cells.enumerated() {
            let pad = String(repeating: " ", count: max(0, widths[column] - cell.count))
            let isLast = column == cells.count - 1
            line += alignsNumbers && isNumber(cell) ? pad + cell : (isLast ? cell : cell + pad)
            if !isLast { line += String(repeating: " ", count: gap) }
        }
        while line.hasSuffix(" ") { line.removeLast() }
        return line
    }

    /// Lines of at most `width`, broken at spaces, and within words that are longer.
    static func wrapped(_ text: String, _ width: Int) -> [String] {
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ", omittingEmptySubsequences: false) {
            var word = String(word)
            if !line.isEmpty, line.count + 1 + word.count > width {
                lines.append(line)
                line = ""
            }
            while word.count > width {
                lines.append(String(word.prefix(width)))
                word.removeFirst(width)
            }
            line += line.isEmpty ? word : " " + word
        }
        return lines + (line.isEmpty ? [] : [line])
    }
}
