// SPDX-License-Identifier: Apache-2.0

/// Finds the topics that a pattern means without looking at each: by the rarest of the pattern's plain segments. Remembers
/// what it found, which is why it is a class: a value behind a lazy property is copied by each change.
final class TopicIndex {
    private let names: [String]
    private var positions: [Segment: [Int]] = [:]
    private var exact: Set<String>
    private var known: [String: [String]] = [:]

    private struct Segment: Hashable {
        var position: Int
        var text: Substring
    }

    init(_ names: [String]) {
        self.names = names
        exact = Set(names)
        for (index, name) in names.enumerated() where !name.hasPrefix("$") {
            for (position, text) in Self.segments(name) {
                positions[Segment(position: position, text: text), default: []].append(index)
            }
        }
    }

    func names(matching pattern: TopicPattern) -> [String] {
        guard pattern.isWildcard else { return exact.contains(pattern.text) ? [pattern.text] : [] }
        if let known = known[pattern.text] { return known }
        let plain = Self.segments(pattern.text).filter { !$0.element.hasPrefix("*") }
        let candidates = plain.map { positions[Segment(position: $0.offset, text: $0.element)] ?? [] }
        let found =
            candidates.min { $0.count < $1.count }.map { $0.map { names[$0] }.filter(pattern.matches) }
            ?? names.filter(pattern.matches)
        known[pattern.text] = found
        return found
    }

    private static func segments(_ text: String) -> EnumeratedSequence<[Substring]> {
        text.split(separator: ".", omittingEmptySubsequences: false).enumerated()
    }
}
