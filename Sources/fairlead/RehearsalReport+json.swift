// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Scripting

extension RehearsalReport {
    /// For machines: the same, with nothing cut off.
    func json() throws -> String {
        try Console.pretty([
            "candidate": candidate, "baseline": baseline, "events": result.events,
            "state": startsEmpty ? "empty" : "now",
            "requests": ["stubbed": result.answers.stubbed, "recorded": result.answers.recorded],
            "failedOn": reasonsToFail.map(\.rawValue),
            "unchanged": result.unchanged,
            "subscribers": result.subscribers.map(object(of:)),
        ])
    }

    private func object(of subscriber: Rehearsal.Subscriber) -> [String: Any] {
        let tally = subscriber.tally
        return [
            "name": subscriber.name,
            "change": subscriber.isAdded ? "added" : subscriber.isRemoved ? "removed" : "changed",
            "same": !subscriber.isAdded && !subscriber.isRemoved && tally.isSame,
            "reasons": subscriber.reasons, "notes": subscriber.notes,
            "matches": [
                "before": tally.takenBefore, "now": tally.takenNow, "new": object(of: tally.newlyMatched),
                "gone": object(of: tally.noLongerMatched),
            ],
            "outcomes": [
                "same": named(tally.sameEndings), "newlyMatched": named(tally.newEndings),
                "changed": tally.transitions.sorted { $0.value.count > $1.value.count }.map { transition, group in
                    object(of: group).merging(
                        ["before": transition.before.rawValue, "now": transition.now.rawValue]
                    ) { $1 }
                },
            ],
            "errors": tally.failures.map { failure in
                var object = object(of: failure.now)
                object["reason"] = failure.reason
                object["trace"] = failure.trace
                object["before"] = failure.before
                object["now"] = failure.now.count
                return object
            },
            "effects": tally.effects.sorted {
                ($0.key.kind.rawValue, $0.key.group) < ($1.key.kind.rawValue, $1.key.group)
            }
            .map(object(of:)),
            "cpu": ["before": object(of: tally.costBefore), "now": object(of: tally.costNow)],
            "really": [
                "outcomes": named(tally.recorded.endings), "retried": tally.recorded.retried,
                "unknown": tally.recorded.unknown,
            ],
        ]
    }

    private func object(of group: RehearsalTally.Group) -> [String: Any] {
        [
            "count": group.count,
            "examples": group.examples.map { example in
                var object = object(of: example.subject)
                object["detail"] = example.detail
                return object
            },
        ]
    }

    private func object(of subject: RehearsalTally.Subject) -> [String: Any] {
        var object: [String: Any] = ["id": subject.id, "topic": subject.topic, "offset": subject.offset]
        if subject.count > 1 { object["batch"] = subject.count }
        return object
    }

    private func object(_ key: RehearsalTally.EffectKey, _ effects: RehearsalTally.Effects) -> [String: Any] {
        [
            "kind": key.kind.rawValue, "group": key.group, "before": effects.before, "now": effects.now,
            "changed": effects.changed.count, "added": object(of: effects.added), "gone": object(of: effects.gone),
            "fields": effects.fields.sorted { $0.key < $1.key }.map { path, change in
                var object: [String: Any] = [
                    "path": path, "count": change.count, "example": self.object(of: change.subject),
                ]
                object["before"] = change.before
                object["now"] = change.now
                return object
            },
        ]
    }

    private func object(of entry: (key: RehearsalTally.EffectKey, value: RehearsalTally.Effects)) -> [String: Any] {
        object(entry.key, entry.value)
    }

    private func object(of cost: RehearsalTally.Cost) -> [String: Any] {
        var object: [String: Any] = ["events": cost.count, "stopped": cost.kills]
        object["medianMilliseconds"] = cost.quantile(0.5).map { $0.seconds * 1_000 }
        object["p99Milliseconds"] = cost.quantile(0.99).map { $0.seconds * 1_000 }
        return object
    }

    private func named(_ endings: [RehearsedResult.Ending: Int]) -> [String: Int] {
        Dictionary(uniqueKeysWithValues: endings.map { ($0.key.rawValue, $0.value) })
    }
}
