// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering

extension RouteExplanation {
    /// As a terminal shows it; lines end in line breaks:
    ///
    ///     event order.placed on topic orders, key "o-1"
    ///
    ///     slack (routes.conf:7:1): delivered
    ///       from orders                                        routes.conf:8:18
    ///       where type = 'order.placed' and data.total >= 100  routes.conf:9:3
    ///         true     type = 'order.placed'  type = 'order.placed'
    ///         true     data.total >= 100      data.total = 250
    ///       attempts 20                                        routes.conf:13:20
    ///       timeout 30s                                        retry standard, routes.conf:5:3
    ///       ordered no                                         default
    ///
    /// A subscriber that doesn't get the event is shown without its settings unless `isFull`.
    package func text(isFull: Bool = false) -> String {
        var lines = ["event \(type) on topic \(topic)" + (key.map { ", key \(JSONText.quoted($0))" } ?? "")]
        if !isDeclared { lines.append("no such topic: publishing to it is refused") }
        if let retain { lines.append("retain \(retain.value)  \(retain.origin)") }
        if subscribers.isEmpty { lines.append("there are no subscribers") }
        for subscriber in subscribers {
            lines += ["", subscriber.heading]
            lines += Self.aligned(subscriber.rows(isFull: isFull))
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Puts the second parts of rows below each other, where that is not too far to the right.
    private static func aligned(_ rows: [Row]) -> [String] {
        let width = rows.filter { !$0.isTerm }.map(\.text.count).filter { $0 <= columnMax }.max() ?? 0
        let termWidth = rows.filter(\.isTerm).map(\.text.count).filter { $0 <= columnMax }.max() ?? 0
        return rows.map { row in
            let padding = max(0, (row.isTerm ? termWidth : width) - row.text.count)
            return row.behind.isEmpty ? row.text : row.text + String(repeating: " ", count: padding + 2) + row.behind
        }
    }

    private static let columnMax = 70

    fileprivate struct Row {
        var text: String
        var behind: String
        /// A part of a filter, which has its own columns.
        var isTerm = false
    }
}

extension RouteExplanation.Subscriber {
    fileprivate var heading: String {
        var reason = outcome.rawValue
        if outcome == .filtered, let filter { reason = "not delivered: `where` is \(filter.explanation.verdict.text)" }
        return "\(name)\(place.map { " (\($0))" } ?? ""): \(reason)"
    }

    fileprivate func rows(isFull: Bool) -> [RouteExplanation.Row] {
        var rows: [RouteExplanation.Row] = []
        let shown = pattern.map { [$0] } ?? patterns
        let place = (pattern ?? patterns.first)?.place?.description ?? ""
        rows.append(.init(text: "  from \(shown.map(\.text).joined(separator: ", "))", behind: place))
        if let filter, isFull || pattern != nil {
            rows.append(.init(text: "  where \(filter.text)", behind: filter.place?.description ?? ""))
            for leaf in filter.explanation.leaves {
                let verdict = leaf.verdict.text + String(repeating: " ", count: 7 - leaf.verdict.text.count)
                rows.append(
                    .init(
                        text: "    \(verdict)  \(leaf.text)", behind: leaf.values.joined(separator: ", "), isTerm: true)
                )
            }
        }
        guard isFull || outcome.isTaken else { return rows }
        return rows + settings.map { .init(text: "  \($0.name) \($0.value)", behind: $0.origin.description) }
    }
}
