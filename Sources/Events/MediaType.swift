// SPDX-License-Identifier: Apache-2.0

/// What a Content-Type says about how events are packed and whether data is JSON. Compared without regard to case.
package struct MediaType: Hashable, Sendable {
    /// `type/subtype` in lower case, without parameters.
    package var essence: String
    /// In lower case, without quotes.
    package var charset: String?

    private static let common: Set<String> = [
        "application/json", "application/x-ndjson", "application/cloudevents+json",
        "application/cloudevents-batch+json",
    ]

    /// nil where `text` isn't `type/subtype` with tokens of RFC 9110 section 5.6.2 on both sides.
    package init?(_ text: String) {
        // By far the most common, and taking text apart costs more than reading a small event.
        if Self.common.contains(text) {
            essence = text
            return
        }
        let parts = text.split(separator: ";", omittingEmptySubsequences: false)
        guard let first = parts.first else { return nil }
        let essence = Self.trimmed(first).lowercased()
        let halves = essence.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2, halves.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy(Self.isToken) }) else {
            return nil
        }
        self.essence = essence
        for parameter in parts.dropFirst() {
            let pair = parameter.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, Self.trimmed(pair[0]).lowercased() == "charset" else { continue }
            let value = Self.trimmed(pair[1]).lowercased()
            charset = value.hasPrefix("\"") && value.hasSuffix("\"") ? String(value.dropFirst().dropLast()) : value
        }
    }

    /// `*/json` or `*/*+json`: what CloudEvents 1.0.2 (JSON format, section 3.1) takes for JSON.
    package var declaresJSON: Bool { essence.hasSuffix("/json") || essence.hasSuffix("+json") }

    /// Whether data of this type is readable text, to be kept as text and not as base64.
    package var isText: Bool {
        essence.hasPrefix("text/") || essence == "application/xml" || essence.hasSuffix("+xml")
    }

    package var isUTF8: Bool { charset.map { ["utf-8", "utf8", "us-ascii"].contains($0) } ?? true }

    private static func trimmed(_ text: some StringProtocol) -> String {
        var text = Substring(text)
        while let c = text.first, c == " " || c == "\t" { text.removeFirst() }
        while let c = text.last, c == " " || c == "\t" { text.removeLast() }
        return String(text)
    }

    private static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }
}
