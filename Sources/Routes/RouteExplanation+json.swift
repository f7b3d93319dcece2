// SPDX-License-Identifier: Apache-2.0

package import Events
import Filtering

extension RouteExplanation {
    /// For machines: every subscriber with its filter's terms and all settings.
    package var json: JSONValue {
        func text(_ text: String?) -> JSONValue { text.map { .string($0) } ?? .null }
        func setting(_ setting: Effective) -> JSONValue {
            .object([
                "name": .string(setting.name), "value": .string(setting.value),
                "from": .string(setting.origin.description),
            ])
        }
        func filter(_ filter: Filtered) -> JSONValue {
            .object([
                "text": .string(filter.text), "verdict": .string(filter.explanation.verdict.text),
                "terms": .array(
                    filter.explanation.leaves.map { leaf in
                        .object([
                            "text": .string(leaf.text), "verdict": .string(leaf.verdict.text),
                            "values": .array(leaf.values.map { .string($0) }),
                        ])
                    }),
            ])
        }
        return .object([
            "topic": .string(topic), "declared": .boolean(isDeclared), "type": .string(type), "key": text(key),
            "retain": retain.map(setting) ?? .null,
            "subscribers": .array(
                subscribers.map { subscriber in
                    .object([
                        "name": .string(subscriber.name), "place": text(subscriber.place?.description),
                        "taken": .boolean(subscriber.outcome.isTaken), "outcome": .string(subscriber.outcome.rawValue),
                        "from": .array(subscriber.patterns.map { .string($0.text) }),
                        "matched": text(subscriber.pattern?.text),
                        "where": subscriber.filter.map(filter) ?? .null,
                        "settings": .array(subscriber.settings.map(setting)),
                    ])
                }),
        ])
    }
}
