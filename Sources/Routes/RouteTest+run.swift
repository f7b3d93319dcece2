// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering

/// Runs an in-file test through the matching that production uses. Each failure is one text; none means it passed.
package func run(_ test: RouteTest, table: RouteTable) -> [String] {
    let matcher = Matcher(table.subscribers.map(\.filter))
    let scratch = matcher.makeScratch()
    var reached: Set<String> = []
    for (name, event) in test.publications {
        let topic = Topic.named(name)
        let route = table.topics.first { $0.name == name }
        var builder = RecordBatchBuilder(topic: topic, key: route?.keyExtractor, capacity: event.data.bytes.count + 512)
        builder.append(event)
        let record = builder.finish()[0]
        matcher.match(record, scratch) { place in
            if table.subscribers[place].takes(from: topic) { reached.insert(table.subscribers[place].name) }
        }
    }
    var failures: [String] = []
    for name in test.expected where !reached.contains(name) {
        failures.append("\(name) should get an event and gets none: \(reason(name, test, table))")
    }
    for name in test.rejected where reached.contains(name) {
        failures.append("\(name) should get no event and gets one")
    }
    return failures
}

/// Why a subscriber gets nothing of a test's events.
private func reason(_ name: String, _ test: RouteTest, _ table: RouteTable) -> String {
    guard let subscriber = table.subscribers.first(where: { $0.name == name }) else {
        return "there is no such subscriber"
    }
    for (topicName, event) in test.publications {
        let topic = Topic.named(topicName)
        guard subscriber.takes(from: topic), let filter = subscriber.filter else { continue }
        var builder = RecordBatchBuilder(topic: topic, key: nil, capacity: event.data.bytes.count + 512)
        builder.append(event)
        let leaves = filter.explain(builder.finish()[0]).leaves.filter { $0.verdict != .isTrue }
        let shown = leaves.map { "`\($0.text)` is \($0.verdict.text) (\($0.values.joined(separator: ", ")))" }
        return shown.joined(separator: "; ")
    }
    return "it takes from \(subscriber.from.map(\.text).joined(separator: ", "))"
}
