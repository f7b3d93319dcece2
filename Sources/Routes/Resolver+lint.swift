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
        for entry in checked where entry.keyword.name == "topic" {
            let name = entry.string(0)
            guard !name.hasPrefix("$"), !table.subscribers.contains(where: { $0.from.contains { $0.matches(name) } })
            else {
                continue
            }
            diagnostics.warning(
                .topicUnread, "no subscriber takes from topic \"\(name)\"", hint: "its events are kept all the same",
                in: entry.statement.source, entry.values[0].range)
        }
        for entry in checked where entry.keyword.name == "subscriber" {
            for statement in entry.statement.block?.statements ?? [] {
                guard let filter = statement.filter, let reason = filter.contradiction else { continue }
                diagnostics.warning(
                    .filterNeverTrue, "this filter is never true", hint: reason, in: statement.source, statement.range)
            }
        }
    }
}
