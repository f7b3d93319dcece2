// SPDX-License-Identifier: Apache-2.0

/// Why a plugin can't be used, or what is wrong with one that was only checked.
package struct PluginProblem: Hashable, Sendable, CustomStringConvertible {
    /// In the plugin's sources, as `Plugins/slack.lua`; nil where the fault isn't there.
    package var file: String?
    /// From 1.
    package var line: Int?
    /// What was refused and why; lower case, no full stop.
    package var message: String
    /// What to do about it.
    package var remedy: String?
    /// The setting it is about, as a path: `webhook`, `template.order`.
    package var setting: String?
    package var trace: String?

    package init(
        file: String? = nil, line: Int? = nil, message: String, remedy: String? = nil, setting: String? = nil,
        trace: String? = nil
    ) {
        self.file = file
        self.line = line
        self.message = message
        self.remedy = remedy
        self.setting = setting
        self.trace = trace
    }

    /// Whoever wanted the plugin has no more time.
    static let outOfTime = PluginProblem(
        message: "not loaded: the time for loading the new configuration is over")

    /// Takes `file:line:` off the front of an error of Lua's.
    init(luaError text: String, trace: String) {
        var file: String?
        var line: Int?
        var message = text
        if let colon = text.range(of: ".lua:") {
            let rest = text[colon.upperBound...]
            if let end = rest.firstIndex(of: ":"), let number = Int(rest[..<end]) {
                file = String(text[..<colon.lowerBound]) + ".lua"
                line = number
                message = String(rest[rest.index(after: end)...].drop { $0 == " " })
            }
        }
        self.init(file: file, line: line, message: message, trace: trace.isEmpty ? nil : trace)
    }

    package var description: String {
        var text = ""
        if let file { text += file + (line.map { ":\($0)" } ?? "") + ": " }
        text += message
        if let remedy { text += "; " + remedy }
        return text
    }
}

/// A plugin that was refused. Nothing of it runs.
package struct PluginError: Error, Hashable, Sendable, CustomStringConvertible {
    /// At least one.
    package var problems: [PluginProblem]

    package init(_ problems: [PluginProblem]) {
        self.problems = problems
    }

    package init(_ problem: PluginProblem) {
        self.problems = [problem]
    }

    package var description: String { problems.map(\.description).joined(separator: "\n") }
}

extension String {
    /// Where `text` is found first; like Foundation's, without it.
    func range(of text: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }

    /// Of `candidates`, the one that is a slip or two away from this name.
    func nearest(of candidates: [String]) -> String? {
        let scored = candidates.map { (name: $0, distance: distance(to: $0)) }
        guard let best = scored.min(by: { ($0.distance, $0.name) < ($1.distance, $1.name) }) else { return nil }
        return best.distance <= Swift.max(1, count / 3) ? best.name : nil
    }

    /// Levenshtein's, with a swap of neighbours counted as one.
    private func distance(to other: String) -> Int {
        let a = Array(utf8)
        let b = Array(other.utf8)
        var rows = [[Int]](repeating: [Int](repeating: 0, count: b.count + 1), count: a.count + 1)
        for i in 0...a.count { rows[i][0] = i }
        for j in 0...b.count { rows[0][j] = j }
        for i in 0..<a.count {
            for j in 0..<b.count {
                var best = Swift.min(rows[i][j + 1] + 1, rows[i + 1][j] + 1, rows[i][j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { best = Swift.min(best, rows[i - 1][j - 1] + 1) }
                rows[i + 1][j + 1] = best
            }
        }
        return rows[a.count][b.count]
    }
}
