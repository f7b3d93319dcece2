// SPDX-License-Identifier: Apache-2.0

package import Events
package import Filtering

/// What a table does with one event: which subscribers get it, why the others don't, and how it is delivered.
package struct RouteExplanation: Hashable, Sendable {
    package var topic: String
    /// Whether routes.conf declares the topic; where it doesn't, publishing there is refused.
    package var isDeclared: Bool
    package var type: String
    /// As the topic's `key` line finds it.
    package var key: String?
    /// How long the topic keeps it, where routes.conf says.
    package var retain: Effective?
    /// As in the table.
    package var subscribers: [Subscriber]

    package struct Subscriber: Hashable, Sendable {
        package var name: String
        package var place: Place?
        package var outcome: Outcome
        /// The first of ``patterns`` that means the topic; nil where none does.
        package var pattern: TopicPattern?
        /// Its whole `from` line.
        package var patterns: [TopicPattern]
        /// nil where it has no `where`.
        package var filter: Filtered?
        /// In a fixed order; plugin settings are called `run NAME`.
        package var settings: [Effective]
    }

    package enum Outcome: String, Hashable, Sendable {
        /// Given to a plugin or a URL.
        case delivered
        /// Kept until a client takes it.
        case kept = "kept until pulled"
        /// Kept until the subscriber is resumed.
        case held = "held: the subscriber is paused"
        /// A pattern means the topic, but the filter is not true.
        case filtered = "not delivered: `where` is not true"
        case unmatched = "not delivered: `from` does not mean this topic"

        /// Whether the event is this subscriber's, now or later.
        package var isTaken: Bool { self != .filtered && self != .unmatched }
    }

    package struct Filtered: Hashable, Sendable {
        /// The filter's canonical text.
        package var text: String
        package var place: Place?
        /// Also for a topic that no pattern means.
        package var explanation: Explanation
    }

    /// A setting as it holds, written or not.
    package struct Effective: Hashable, Sendable {
        package var name: String
        package var value: String
        package var origin: SettingOrigin
    }

    /// - Parameter received: what `meta.received` is.
    package init(_ table: RouteTable, topic name: String, event: Event, received: Timestamp) {
        let route = table.topics.first { $0.name == name }
        var builder = RecordBatchBuilder(
            topic: .named(name), key: route?.keyExtractor, capacity: event.data.bytes.count + 512)
        builder.append(event)
        let batch = builder.finish()
        batch.stamp(first: 0, time: received)
        self.init(table, batch[0])
    }

    package init(_ table: RouteTable, _ record: Record) {
        topic = record.topic.name
        let topicRoute = table.topics.first { $0.name == record.topic.name }
        isDeclared = topicRoute != nil
        retain = topicRoute.flatMap { route in
            route.retainPlace.map { Effective(name: "retain", value: route.retainText, origin: .line($0)) }
        }
        type = record.type
        key = record.key
        subscribers = table.subscribers.map { Subscriber($0, record) }
    }
}

extension RouteExplanation.Subscriber {
    fileprivate init(_ route: SubscriberRoute, _ record: Record) {
        name = route.name
        place = route.place
        patterns = route.from
        pattern = route.from.first { $0.matches(record.topic.name) }
        filter = route.filter.map {
            RouteExplanation.Filtered(
                text: $0.text, place: route.origins["where"]?.place, explanation: $0.explain(record))
        }
        outcome =
            if pattern == nil {
                .unmatched
            } else if let filter, filter.explanation.verdict != .isTrue {
                .filtered
            } else if route.paused {
                .held
            } else if case .pull = route.delivery {
                .kept
            } else {
                .delivered
            }
        settings = route.effectiveSettings
    }
}

extension SettingOrigin {
    var place: Place? {
        switch self {
        case .standard: nil
        case .line(let place), .policy(_, let place): place
        }
    }
}

extension SubscriberRoute {
    /// Every setting as it holds, defaults too, and where it comes from.
    package var effectiveSettings: [RouteExplanation.Effective] {
        var result: [RouteExplanation.Effective] = []
        func add(_ name: String, _ value: String, _ keyword: String? = nil) {
            let origin = origins[keyword ?? name] ?? .standard
            result.append(RouteExplanation.Effective(name: name, value: value, origin: origin))
        }
        switch delivery {
        case .run(let plugin, let settings, let batch):
            add("run", plugin)
            for setting in settings {
                let origin = setting.place.map { SettingOrigin.line($0) } ?? .standard
                result.append(
                    RouteExplanation.Effective(name: "run \(setting.name)", value: setting.value.text, origin: origin))
            }
            if let batch { add("batch", batch.text) }
            add("cpu", DurationText.format(limits.cpu))
            add("memory", SettingValue.size(limits.memory).text)
            if grants.isEmpty { add("allow", "nothing") }
            for grant in grants { add("allow", grant.text, "allow \(grant.text)") }
        case .push(let push):
            add("push", JSONText.quoted(push.url))
            for secret in push.signing { add("sign", secret.description) }
            for (name, value) in push.headers.sorted(by: { $0.key < $1.key }) {
                add("header \(JSONText.quoted(name))", value.text, "header \(name)")
            }
            if let batch = push.batch {
                add("batch", batch.text)
            } else {
                add("mode", push.mode.rawValue)
            }
            add("handshake", push.handshake.map { $0.origin.map(JSONText.quoted) ?? "yes" } ?? "no")
            add("breaker", push.breaker?.text ?? "off")
        case .pull(let lease):
            add("pull", "yes")
            add("lease", DurationText.format(lease))
        }
        add("attempts", retry.attempts.map(String.init) ?? "unlimited")
        add("backoff", retry.backoffText)
        add("timeout", DurationText.format(retry.timeout))
        add("on dead", onDead.text)
        if case .pull = delivery {} else { add("on bad_reload", onBadReload.rawValue) }
        add("concurrency", String(concurrency))
        add("rate", rate.map { SettingValue.rate($0).text } ?? "unlimited")
        add("ordered", ordered ? "yes" : "no")
        if let deliverAfter { add("deliver after", DurationText.format(deliverAfter), "deliver") }
        if let ttl { add("ttl", DurationText.format(ttl)) }
        add("start", start.text)
        add("pause", paused ? "yes" : "no")
        add("replay", refusesReplay ? "deny" : "allowed")
        if let was { add("was", was) }
        return result
    }
}

extension TopicRoute {
    /// As routes.conf writes it.
    var retainText: String {
        let bounds = [retainAge.map { DurationText.format($0) }, retainBytes.map { SettingValue.size($0).text }]
            .compactMap { $0 }
        if bounds.isEmpty { return "forever" }
        return (bounds + (keepsUnsettled ? ["unless unsettled"] : [])).joined(separator: " ")
    }
}
