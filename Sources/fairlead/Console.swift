// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What commands print: results to standard output, complaints to standard error.
enum Console {
    /// Colours only for a person: on a terminal, and where NO_COLOR isn't set (https://no-color.org).
    static let isColoured = isatty(STDOUT_FILENO) == 1 && ProcessInfo.processInfo.environment["NO_COLOR"] == nil

    static func say(_ text: String, terminator: String = "\n") {
        FileHandle.standardOutput.write(Data((text + terminator).utf8))
    }

    static func complain(_ text: String) {
        FileHandle.standardError.write(Data((text + "\n").utf8))
    }

    enum Style: String {
        case bold = "1"
        case dim = "2"
        case red = "31"
        case green = "32"
        case yellow = "33"
    }

    static func styled(_ text: String, _ style: Style) -> String {
        isColoured ? "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m" : text
    }

    /// JSON for people.
    static func pretty(_ object: Any) throws -> String {
        let data = try JSONSerialization.data(
            withJSONObject: object, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes, .fragmentsAllowed])
        return String(decoding: data, as: UTF8.self)
    }

    /// Shows how far long work is, on a terminal only, in the place of what it said before; nil takes it away.
    static func progress(_ text: String?) {
        guard isatty(STDERR_FILENO) == 1 else { return }
        FileHandle.standardError.write(Data(("\r\u{1B}[K" + (text ?? "")).utf8))
    }

    /// A table with a heading, columns as wide as their widest cell; numbers to the right.
    static func table(_ heading: [String], _ rows: [[String]]) -> String {
        var widths = heading.map(\.count)
        for row in rows {
            for (column, cell) in row.enumerated() { widths[column] = max(widths[column], cell.count) }
        }
        func line(_ cells: [String], isHeading: Bool) -> String {
            var line = ""
            for (column, cell) in cells.enumerated() {
                let pad = String(repeating: " ", count: widths[column] - cell.count)
                let isNumber = !isHeading && !cell.isEmpty && cell.allSatisfy { $0.isNumber || $0 == "," || $0 == "." }
                let isLast = column == cells.count - 1
                line += isNumber ? pad + cell : (isLast ? cell : cell + pad)
                if !isLast { line += "  " }
            }
            return line
        }
        let top = styled(line(heading, isHeading: true), .bold)
        return ([top] + rows.map { line($0, isHeading: false) }).joined(separator: "\n")
    }
}
