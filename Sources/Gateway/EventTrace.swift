// SPDX-License-Identifier: Apache-2.0

package import Broker
package import Events
import Filtering
package import Routes

/// What became of one event.
package struct EventTrace: Sendable {
    package var record: Record
    /// The configuration that routed it; nil where the ledger doesn't know.
    package var generation: Int?
    /// Matches are told by the running configuration, as the one that routed it isn't kept.
    package var isRecomputed = false
    package var subscribers: [Subscriber] = []

    package struct Subscriber: Sendable {
        package var explained: RouteExplanation.Subscriber
        /// It was added after the event was routed.
        package var isLater: Bool
        /// nil where the event isn't its.
        package var delivery: DeliveryTrace?
        /// The plugin's version by generation.
        package var versions: [Int: String] = [:]

        package init(_ explained: RouteExplanation.Subscriber, isLater: Bool) {
            self.explained = explained
            self.isLater = isLater
        }
    }

    package init(record: Record, generation: Int?) {
        self.record = record
        self.generation = generation
    }

    func write(to json: inout JSONWriter) {
        writeEvent(to: &json)
        if let generation { json.field("generation", generation) }
        if isRecomputed { json.field("recomputed", true) }
        json.array("subscribers") { json in
            for subscriber in subscribers { json.object { subscriber.write(to: &$0) } }
        }
    }

    func writeEvent(to json: inout JSONWriter) {
        json.field("topic", record.topic.name)
        json.field("offset", record.offset)
        json.field("received", record.time)
        json.field("key", ifPresent: record.key)
        json.field("event", record)
    }
}

extension EventTrace.Subscriber {
    fileprivate func write(to json: inout JSONWriter) {
        json.field("name", explained.name)
        json.field("matched", explained.outcome.isTaken)
        if isLater { json.field("later", true) }
        if explained.pattern == nil {
            json.field("reason", "`from` does not mean this topic")
        } else if let filter = explained.filter {
            json.object("filter") { json in
                json.field("text", filter.text)
                json.field("place", ifPresent: filter.place?.description)
                json.field("verdict", filter.explanation.verdict.text)
                json.array("terms") { json in
                    for leaf in filter.explanation.leaves {
                        json.object { json in
                            json.field("text", leaf.text)
                            json.field("verdict", leaf.verdict.text)
                            json.array("values") { json in for value in leaf.values { json.value(value) } }
                        }
                    }
                }
            }
        }
        guard let delivery else { return }
        json.field("state", delivery.state.rawValue)
        if let due = delivery.due { json.field("due", due) }
        json.field("deadLetter", ifPresent: delivery.deadLetter)
        json.array("attempts") { json in
            for attempt in delivery.attempts {
                json.object { json in
                    attempt.write(to: &json)
                    json.field("version", ifPresent: versions[attempt.generation])
                }
            }
        }
    }
}

/// One loaded configuration, as listed.
package struct GenerationSummary: Hashable, Sendable {
    package var number: Int
    package var hash: String
    package var time: Timestamp
    package var trigger: String
    package var verdict: String
    package var changes: [String]
    package var isRunning: Bool
    /// The version of each subscriber's plugin, where that has one.
    package var versions: [String: String]
    /// The generation whose files it has, where it was gone back to.
    package var origin: Int?

    package init(
        number: Int, hash: String, time: Timestamp, trigger: String, verdict: String, changes: [String],
        isRunning: Bool, versions: [String: String] = [:], origin: Int? = nil
    ) {
        self.number = number
        self.hash = hash
        self.time = time
        self.trigger = trigger
        self.verdict = verdict
        self.changes = changes
        self.isRunning = isRunning
        self.versions = versions
        self.origin = origin
    }
}
