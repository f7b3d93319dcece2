// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What a standard stream goes to.
enum Terminal {
    /// Columns where a terminal doesn't say how many it has.
    static let usualColumns = 80

    /// Columns of the terminal that a stream goes to; nil where it goes to a pipe or a file.
    static func columns(of stream: Int32) -> Int? {
        guard isatty(stream) == 1 else { return nil }
        var size = winsize()
        guard ioctl(stream, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return usualColumns }
        return Int(size.ws_col)
    }

    /// Columns that whoever calls asks for, such as a script that shows what it gets on a terminal.
    static var wantedColumns: Int? {
        ProcessInfo.processInfo.environment["COLUMNS"].flatMap(Int.init).flatMap { $0 > 0 ? $0 : nil }
    }

    /// Colours only for a person: on a terminal that has any, and where NO_COLOR is empty (https://no-color.org).
    static func isColoured(_ stream: Int32) -> Bool {
        let environment = ProcessInfo.processInfo.environment
        return understandsEscapes(stream) && (environment["NO_COLOR"] ?? "").isEmpty
    }

    /// Whether a line can be written anew in its place.
    static func understandsEscapes(_ stream: Int32) -> Bool {
        isatty(stream) == 1 && ProcessInfo.processInfo.environment["TERM"] != "dumb"
    }
}
