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

    /// A dead letter that comes back to the subscriber it killed dies again, for ever.
    private func warnOfLoops(_ checked: [Checked]) {
        for entry in checked where entry.keyword.name == "subscriber" {
            guard let route = subscriberIndex[entry.string(0)].map({ table.subscribers[$0] }),
                case .publish(let topic) = route.onDead,
                let pattern = route.from.first(where: { $0.matches(topic) }),
                let line = entry.statement.block?.statements.first(where: { $0.keyword == "on" })
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
