// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import Synchronization

/// Writes each log entry as one line to standard error: for people (`12:00:01 warning  Delivery is a dead letter
/// subscriber=receipts`) or, with `--log-format json`, for machines.
struct LineLogHandler: LogHandler {
    enum Format: String, CaseIterable, Sendable {
        case text, json
    }

    var format: Format
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { _, new in new } }
        if let own = event.metadata { all.merge(own) { _, new in new } }
        let line: String
        switch format {
        case .text: line = text(event, all)
        case .json: line = json(event, all)
        }
        StandardStream.errors.write(line + "\n")
    }

    private func text(_ event: LogEvent, _ metadata: Logger.Metadata) -> String {
        let time = Date().formatted(.iso8601.time(includingFractionalSeconds: false))
        let level = "\(event.level)".padding(toLength: 8, withPad: " ", startingAt: 0)
        let fields = metadata.sorted { $0.key < $1.key }
            .map { key, value in
                let text = "\(value)"
                // A line stays a line: control characters of a plugin's message are shown, not obeyed.
                let needsQuotes = text.isEmpty || text.contains { $0 == " " || $0 == "\"" || $0.isNewline }
                return "\(key)=\(needsQuotes ? text.debugDescription.replacing("\\'", with: "'") : text)"
            }
        return ([time, level, "\(event.message)"] + fields).joined(separator: " ")
    }

    private func json(_ event: LogEvent, _ metadata: Logger.Metadata) -> String {
        // The entry's own fields come last: a plugin's field of the same name doesn't hide them.
        var object = metadata.mapValues { "\($0)" }
        object["time"] = Date().formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        object["level"] = "\(event.level)"
        object["message"] = "\(event.message)"
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // A dictionary of strings can't fail to encode.
        return (try? encoder.encode(object)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
    }
}
