// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering

extension Resolver {
    /// Looks at the whole once it is known to be right in its parts.
    func lint(_ checked: [Checked]) {
        var paths: Set<DataPath> = []
        for subscriber in table.subscribers { subscriber.filter?.collectDataPaths(into: &paths) }
        if DataPaths(Array(paths)) == nil {
            diagnostics.add(
                Diagnostic(
                    .error, .badFilter, "the filters' paths combine `[n]` and `[*]` in too many ways",
                    hint: "use fewer of the two in one path"))
        }
        let patterns = Set(table.subscribers.flatMap(\.from))
        let read = patterns.reduce(into: Set<String>()) { $0.formUnion(topicIndex.names(matching: $1)) }
        for entry in checked where entry.keyword.name == "topic" {
            let name = entry.string(0)
            guard !name.hasPrefix("$"), !read.contains(name) else { continue }
            diagnostics.warning(
                .topicUnread, "no subscriber takes from topic \"\(name)\"", hint: "its events are kept all the same",
                in: entry.statement.source, entry.values[0].range)
        }
        refuseOwnFolders(checked)
        refuseDelaysBeyondRetention(checked)
        warnOfLoops(checked)
        warnOfSilence(checked)
        for entry in checked where entry.keyword.name == "subscriber" {
            for statement in entry.statement.block?.statements ?? [] {
                guard let filter = statement.filter, let reason = filter.contradiction else { continue }
                diagnostics.warning(
                    .filterNeverTrue, "this filter is never true", hint: reason, in: statement.source, statement.range)
            }
        }
    }

    /// What is delivered later than its topic keeps it is never delivered.
    private func refuseDelaysBeyondRetention(_ checked: [Checked]) {
        let topics = Dictionary(table.topics.map { ($0.name, $0) }) { first, _ in first }
        for entry in checked where entry.keyword.name == "subscriber" {
            guard let route = subscriberIndex[entry.string(0)].map({ table.subscribers[$0] }),
                let delay = route.deliverAfter,
                let line = entry.statement.block?.statements.first(where: { $0.keyword == "deliver" })
            else { continue }
            let names = route.from.flatMap { topicIndex.names(matching: $0) }
            for topic in Set(names).sorted().compactMap({ topics[$0] }) where !topic.keepsUnsettled {
                guard let kept = topic.retainAge, kept <= delay else { continue }
                let place = topic.retainPlace ?? topic.place
                diagnostics.error(
                    .outOfRange,
                    "topic \"\(topic.name)\" drops its events after \(DurationText.format(kept)), before they would be delivered",
                    hint: "write less than \(DurationText.format(kept)), or raise its `retain`"
                        + (place.map { " (at \($0))" } ?? ""),
                    in: line.source, line.arguments.last?.range ?? line.range)
                break
            }
        }
    }

    /// A plugin that could append to the journal, to plugins or to routes.conf could undo every other promise. Looks at
    /// the paths as they are written, not at links.
    private func refuseOwnFolders(_ checked: [Checked]) {
        let own = [table.server.data, table.server.plugins].map(Self.parts)
        let closed = [own[0] + ["journal"], own[1]]
        for entry in checked where entry.keyword.name == "subscriber" {
            guard let route = subscriberIndex[entry.string(0)].map({ table.subscribers[$0] }) else { continue }
            let folders = route.grants.compactMap { if case .file(let path) = $0 { path } else { nil } }
            let lines = (entry.statement.block?.statements ?? []).filter { line in
                guard line.keyword == "allow", case .word("file") = line.arguments.first?.value else { return false }
                return true
            }
            let places = lines.flatMap { line in line.arguments.dropFirst().map { (line.source, $0.range) } }
            for (folder, place) in zip(folders, places) {
                let parts = Self.parts(folder)
                guard
                    parts.allSatisfy({ $0 == ".." }) || own.contains(where: { $0.starts(with: parts) })
                        || closed.contains(where: { parts.starts(with: $0) })
                else { continue }
                diagnostics.error(
                    .badGrant,
                    "a plugin may not write into \(JSONText.quoted(folder)), which holds files of Fairlead's own",
                    hint: "give it a folder of its own, such as \"\(table.server.data)/exports\"", in: place.0, place.1)
            }
        }
    }

    /// The parts of a path without `.`, and without `..` where something stands before it.
    private static func parts(_ path: String) -> [Substring] {
        var parts: [Substring] = path.hasPrefix("/") ? ["/"] : []
        for part in path.split(separator: "/") where part != "." {
            if part == "..", let last = parts.last, last != ".." {
                if last != "/" { parts.removeLast() }
            } else {
                parts.append(part)
            }
        }
        return parts
    }

    /// A dead letter that comes back to the subscriber it killed dies again, for ever.
    private func warnOfLoops(_ checked: [Checked]) {
        for entry in checked where entry.keyword.name == "subscriber" {
            guard let route = subscriberIndex[entry.string(0)].map({ table.subscribers[$0] }),
                case .publish(let topic) = route.onDead,
                let pattern = route.from.first(where: { $0.matches(topic) }),
                let line = entry.statement.block?.statements.first(where: { $0.form == "on dead" })
            else { continue }
            let from = entry.statement.block?.statements.first { $0.keyword == "from" }
            diagnostics.warning(
                .deadLetterLoop, "a dead letter published to \"\(topic)\" comes back to this subscriber",
                hint: "it takes from \(pattern.text)\(pattern.place.map { " (at \($0))" } ?? "")",
                related: from?.related("where it takes from") ?? [], in: line.source,
                line.arguments.last?.range ?? line.range)
        }
    }

    /// Where tokens say who may publish, a topic that none names, and no subscriber either, stays empty.
    private func warnOfSilence(_ checked: [Checked]) {
        guard !table.server.tokens.isEmpty else { return }
        var published = Set(
            table.subscribers.flatMap { route in
                route.grants.compactMap { if case .publish(let topic) = $0 { topic } else { nil } }
            })
        for case .publish(let topic) in table.subscribers.map(\.onDead) { published.insert(topic) }
        for pattern in Set(table.server.tokens.flatMap(\.publish)) {
            published.formUnion(topicIndex.names(matching: pattern))
        }
        var heard: Set<TopicPattern> = []
        var empty: [TopicPattern: String] = [:]
        for pattern in Set(table.subscribers.flatMap(\.from)) {
            let names = topicIndex.names(matching: pattern)
            if names.contains(where: { $0.hasPrefix("$") || published.contains($0) }) {
                heard.insert(pattern)
            } else {
                empty[pattern] = names.first
            }
        }
        for entry in checked where entry.keyword.name == "subscriber" {
            guard let route = subscriberIndex[entry.string(0)].map({ table.subscribers[$0] }),
                !route.from.contains(where: heard.contains), let topic = route.from.lazy.compactMap({ empty[$0] }).first
            else { continue }
            diagnostics.warning(
                .nothingPublishes, "subscriber \"\(route.name)\" gets no events: nothing may publish to \(topic)",
                hint: "let a token publish there, or a subscriber (allow publish)", in: entry.statement.source,
                entry.values[0].range)
        }
    }
}
