// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// What commands print: results to standard output, complaints to standard error.
enum Console {
    private static let isColoured = Terminal.isColoured(STDOUT_FILENO)
    private static let areComplaintsColoured = Terminal.isColoured(STDERR_FILENO)

    static func say(_ text: String, terminator: String = "\n") {
        say(Array((text + terminator).utf8))
    }

    /// Ends a command whose results nobody gets: as the signal would where the reader has gone, such as `head`.
    static func say(_ bytes: [UInt8]) {
        switch StandardStream.output.write(bytes) {
        case nil: return
        case EPIPE: exit(128 + SIGPIPE)
        case let error?:
            complain("can't write the results: \(String(cString: strerror(error)))")
            exit(ExitCode.failure.rawValue)
        }
    }

    /// What a server has to say on the way, whether or not anybody reads it.
    static func tell(_ text: String) {
        StandardStream.output.write(text + "\n")
    }

    static func complain(_ text: String) {
        let shown = areComplaintsColoured ? coloured(complaint: text) : text
        StandardStream.errors.write(shown + "\n")
    }

    /// What stands before the place of a diagnostic, `error[R034]`, is how bad it is.
    private static func coloured(complaint text: String) -> String {
        for (word, style) in [("error", Style.red), ("warning", Style.yellow)] where text.hasPrefix(word + "[") {
            guard let end = text.firstIndex(of: "]") else { continue }
            return escaped(String(text[...end]), style) + text[text.index(after: end)...]
        }
        return text
    }

    enum Style: String {
        case bold = "1"
        case dim = "2"
        case red = "31"
        case green = "32"
        case yellow = "33"
    }

    static func styled(_ text: String, _ style: Style) -> String {
        isColoured ? escaped(text, style) : text
    }

    private static func escaped(_ text: String, _ style: Style) -> String {
        "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m"
    }

    /// JSON for people.
    static func pretty(_ object: Any) throws -> String {
        let data = try JSONSerialization.data(
            withJSONObject: object, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes, .fragmentsAllowed])
        return String(decoding: data, as: UTF8.self)
    }

    /// Shows how far long work is, on a terminal only, in the place of what it said before; nil takes it away.
    static func progress(_ text: String?) {
        guard Terminal.understandsEscapes(STDERR_FILENO) else { return }
        // A line that went on in the next one couldn't be taken away.
        let width = (Terminal.columns(of: STDERR_FILENO) ?? Terminal.usualColumns) - 1
        StandardStream.errors.write("\r\u{1B}[K" + (text ?? "").prefix(width))
    }

    private static let barWidth = 24

    /// The same with a bar.
    static func progress(_ done: Int, of total: Int, _ text: String) {
        let part = total > 0 ? min(1, max(0, Double(done) / Double(total))) : 0
        let filled = Int(part * Double(barWidth))
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: barWidth - filled)
        progress("\(bar) \(Int(part * 100)) %  \(text)")
    }

    /// A table as wide as the terminal at most; where the output goes elsewhere, as $COLUMNS says, or as wide as it is.
    static func table(_ heading: [String], _ rows: [[String]]) -> String {
        TextTable(heading: heading, rows: rows)
            .text(width: Terminal.columns(of: STDOUT_FILENO) ?? Terminal.wantedColumns) { styled($0, .bold) }
    }
}
