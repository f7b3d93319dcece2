// SPDX-License-Identifier: Apache-2.0

/// What a reload from one table to another changes.
package struct RouteDiff: Hashable, Sendable {
    /// Names, in the order of the table they come from.
    package var addedSubscribers: [String] = []
    package var removedSubscribers: [String] = []
    package var changedSubscribers: [String] = []
    package var unchangedSubscribers: [String] = []
    package var addedTopics: [String] = []
    package var removedTopics: [String] = []
    package var changedTopics: [String] = []
    /// Keywords whose change needs a restart, as `listen 127.0.0.1:8080 → 127.0.0.1:9090`.
    package var restartOnly: [String] = []
    /// Keywords of the top level that changed and need no restart: `plugins`, `mail`, `event max`, `keep`,
    /// `token`.
    package var settings: [String] = []

    package init(from old: RouteTable, to new: RouteTable) {
        let before = Dictionary(old.subscribers.map { ($0.name, $0.fingerprint) }) { first, _ in first }
        for subscriber in new.subscribers {
            switch before[subscriber.name] {
            case nil: addedSubscribers.append(subscriber.name)
            case subscriber.fingerprint: unchangedSubscribers.append(subscriber.name)
            default: changedSubscribers.append(subscriber.name)
            }
        }
        let after = Set(new.subscribers.map(\.name))
        removedSubscribers = old.subscribers.map(\.name).filter { !after.contains($0) }
        let topicsBefore = Dictionary(old.topics.map { ($0.name, $0) }) { first, _ in first }
        for topic in new.topics {
            guard var known = topicsBefore[topic.name] else {
                addedTopics.append(topic.name)
                continue
            }
            known.place = topic.place
            known.retainPlace = topic.retainPlace
            if known != topic { changedTopics.append(topic.name) }
        }
        let topicsAfter = Set(new.topics.map(\.name))
        removedTopics = old.topics.map(\.name).filter { !topicsAfter.contains($0) }
        if (old.server.host, old.server.port) != (new.server.host, new.server.port) {
            restartOnly.append(
                "listen \(old.server.host):\(old.server.port) → \(new.server.host):\(new.server.port)")
        }
        if old.server.data != new.server.data {
            restartOnly.append("data \"\(old.server.data)\" → \"\(new.server.data)\"")
        }
        if old.server.insecure != new.server.insecure {
            restartOnly.append("insecure \(old.server.insecure ? "yes → no" : "no → yes")")
        }
        if old.server.tls != new.server.tls {
            restartOnly.append("tls \(Self.text(old.server.tls)) → \(Self.text(new.server.tls))")
        }
        if old.server.plugins != new.server.plugins { settings.append("plugins") }
        if old.mail != new.mail { settings.append("mail") }
        if old.server.eventBytesMax != new.server.eventBytesMax { settings.append("event max") }
        if old.keep != new.keep { settings.append("keep") }
        if Self.withoutPlaces(old.server.tokens) != Self.withoutPlaces(new.server.tokens) { settings.append("token") }
    }

    private static func text(_ tls: TLSRoute?) -> String {
        tls.map { "\"\($0.certificate)\", \"\($0.key)\"" } ?? "off"
    }

    private static func withoutPlaces(_ tokens: [TokenRoute]) -> [TokenRoute] {
        tokens.map { token in
            var token = token
            token.place = nil
            return token
        }
    }

    package var isEmpty: Bool {
        addedSubscribers.isEmpty && removedSubscribers.isEmpty && changedSubscribers.isEmpty && addedTopics.isEmpty
            && removedTopics.isEmpty && changedTopics.isEmpty && restartOnly.isEmpty && settings.isEmpty
    }
}
