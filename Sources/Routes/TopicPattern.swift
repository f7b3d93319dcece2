// SPDX-License-Identifier: Apache-2.0

extension TopicPattern {
    /// Whether the topic called `name` is meant: `*` is one segment, `**` at the end one or more, and a system topic
    /// is meant by its own name alone.
    package func matches(_ name: String) -> Bool {
        if !isWildcard { return text == name }
        guard !name.hasPrefix("$") else { return false }
        let wanted = text.split(separator: ".", omittingEmptySubsequences: false)
        let segments = name.split(separator: ".", omittingEmptySubsequences: false)
        for (index, segment) in wanted.enumerated() {
            if segment == "**" { return index < segments.count }
            guard index < segments.count, segment == "*" || segment == segments[index] else { return false }
        }
        return wanted.count == segments.count
    }

    package var isWildcard: Bool { text.utf8.contains(UInt8(ascii: "*")) }
}
