// SPDX-License-Identifier: Apache-2.0

/// The name that somebody who typed another may have meant.
enum Suggestion {
    /// The nearest of `names`, where it is near enough: one slip in three characters.
    static func nearest(to name: String, in names: some Sequence<String>) -> String? {
        let typed = Array(name.lowercased().unicodeScalars)
        guard !typed.isEmpty, typed.count <= longest else { return nil }
        var best: (name: String, distance: Int)?
        for candidate in names where candidate != name {
            let other = Array(candidate.lowercased().unicodeScalars)
            let bound = min(best?.distance ?? .max, max(1, max(typed.count, other.count) / 3) + 1)
            guard other.count <= longest, abs(other.count - typed.count) < bound else { continue }
            let distance = distance(typed, other)
            if distance < bound { best = (candidate, distance) }
        }
        return best?.name
    }

    private static let longest = 64

    /// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
    private static func distance(_ a: [Unicode.Scalar], _ b: [Unicode.Scalar]) -> Int {
        var before: [Int] = []
        var previous = Array(0...b.count)
        for row in a.indices {
            var current = [row + 1]
            for column in b.indices {
                var cost = min(
                    previous[column + 1] + 1, current[column] + 1, previous[column] + (a[row] == b[column] ? 0 : 1))
                if row > 0, column > 0, a[row] == b[column - 1], a[row - 1] == b[column] {
                    cost = min(cost, before[column - 1] + 1)
                }
                current.append(cost)
            }
            before = previous
            previous = current
        }
        return previous[b.count]
    }
}
