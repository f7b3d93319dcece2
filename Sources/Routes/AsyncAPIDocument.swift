// SPDX-License-Identifier: Apache-2.0

package import Events
import Filtering

/// What a configuration routes, in AsyncAPI 3.0: topics are channels; each operation is one that Fairlead does, so
/// publishers are who it receives from and subscribers who it sends to.
///
/// System topics appear where somebody takes them. Secrets, credentials in addresses and headers' values don't.
package struct AsyncAPIDocument {
    private let table: RouteTable
    private let version: String

    package init(_ table: RouteTable, version: String) {
        self.table = table
        self.version = version
    }

    package var json: JSONValue {
        .object([
            "asyncapi": .string("3.0.0"),
            "info": .object([
                "title": .string("Fairlead"), "version": .string(version),
                "description": .string("What routes.conf routes: topics, publishers and subscribers."),
            ]),
            "defaultContentType": .string("application/cloudevents+json"),
            "servers": .object(["fairlead": server]),
            "channels": .object(Dictionary(uniqueKeysWithValues: topics.map { ($0.name, channel($0)) })),
            "operations": .object(operations),
            "components": components,
        ])
    }

    private var topics: [TopicRoute] {
        table.topics.filter { topic in
            !Topic.named(topic.name).isSystem || table.subscribers.contains { $0.takes(from: .named(topic.name)) }
        }
    }

    private var server: JSONValue {
        var members: [String: JSONValue] = [
            "host": .string("\(table.server.host):\(table.server.port)"),
            "protocol": .string(table.server.tls == nil ? "http" : "https"),
        ]
        if !table.server.tokens.isEmpty {
            members["security"] = .array([.object(["$ref": .string("#/components/securitySchemes/token")])])
        }
        return .object(members)
    }

    private func channel(_ topic: TopicRoute) -> JSONValue {
        var facts: [String] = []
        if let age = topic.retainAge { facts.append("kept for \(DurationText.format(age))") }
        if let bytes = topic.retainBytes { facts.append("kept up to \(bytes) bytes") }
        switch topic.key {
        case .attribute(let name): facts.append("ordered by \(name)")
        case .data(let path): facts.append("ordered by \(path.canonical)")
        case nil: break
        }
        if let dedupe = topic.dedupe {
            facts.append("the same source and id are accepted once within \(DurationText.format(dedupe))")
        }
        var members: [String: JSONValue] = [
            "address": .string("/v1/topics/\(topic.name)/events"),
            "title": .string(topic.name),
            "servers": .array([.object(["$ref": .string("#/servers/fairlead")])]),
            "messages": .object(["event": .object(["$ref": .string("#/components/messages/event")])]),
        ]
        if !facts.isEmpty { members["description"] = .string("Topic \(topic.name): \(facts.joined(separator: ", ")).") }
        return .object(members)
    }

    // MARK: Operations

    private var operations: [String: JSONValue] {
        var operations: [String: JSONValue] = [:]
        for topic in topics where !Topic.named(topic.name).isSystem {
            operations["publish.\(topic.name)"] = operation(
                "receive", topic.name, "Publish to \(topic.name)", "POST /v1/topics/\(topic.name)/events",
                ["bindings": .literal(#"{"http":{"method":"POST","bindingVersion":"0.3.0"}}"#)])
        }
        for subscriber in table.subscribers {
            for topic in topics where subscriber.takes(from: .named(topic.name)) {
                var extra: [String: JSONValue] = [:]
                if let filter = subscriber.filter { extra["x-where"] = .string(filter.text) }
                if case .run = subscriber.delivery {
                } else {
                    extra["bindings"] = .literal(#"{"http":{"method":"POST","bindingVersion":"0.3.0"}}"#)
                }
                operations["deliver.\(subscriber.name).\(topic.name)"] = operation(
                    "send", topic.name, "\(subscriber.name) gets events of \(topic.name)", describe(subscriber), extra)
            }
            for topic in published(by: subscriber) {
                operations["publish.\(topic).by.\(subscriber.name)"] = operation(
                    "receive", topic, "\(subscriber.name) publishes to \(topic)",
                    "What \(subscriber.name) makes of its events, or gives up on.", [:])
            }
        }
        return operations
    }

    private func operation(
        _ action: String, _ topic: String, _ title: String, _ description: String, _ extra: [String: JSONValue]
    ) -> JSONValue {
        // `~` and `/` would need escapes; names of topics have neither.
        let channel = "#/channels/\(topic)"
        return .object(
            [
                "action": .string(action), "channel": .object(["$ref": .string(channel)]), "title": .string(title),
                "description": .string(description),
                "messages": .array([.object(["$ref": .string("\(channel)/messages/event")])]),
            ].merging(extra) { $1 })
    }

    private func published(by subscriber: SubscriberRoute) -> Set<String> {
        var names: Set<String> = []
        for case .publish(let topic) in subscriber.grants { names.insert(topic) }
        if case .publish(let topic) = subscriber.onDead { names.insert(topic) }
        return names.filter { name in topics.contains { $0.name == name } }
    }

    private func describe(_ subscriber: SubscriberRoute) -> String {
        var facts: [String] = []
        switch subscriber.delivery {
        case .run(let plugin, _, _): facts.append("Run by the plugin \(plugin)")
        case .push(let push): facts.append("Pushed to \(push.shownURL)")
        case .pull(let lease):
            facts.append(
                "Leased for \(DurationText.format(lease)) by POST /v1/subscribers/\(subscriber.name)/pull, settled by POST "
                    + "/v1/subscribers/\(subscriber.name)/settle")
        }
        if let filter = subscriber.filter { facts.append("where \(filter.text)") }
        if subscriber.ordered { facts.append("in order of each key") }
        if let attempts = subscriber.retry.attempts { facts.append("in at most \(attempts) attempts") }
        return facts.joined(separator: ", ") + "."
    }

    private var components: JSONValue {
        var members: [String: JSONValue] = [
            "messages": .literal(
                #"""
                {"event":{"name":"event","title":"A CloudEvent 1.0.2","contentType":"application/cloudevents+json",
                "payload":{"$ref":"#/components/schemas/event"}}}
                """#),
            "schemas": .literal(
                #"""
                {"event":{"type":"object","required":["specversion","id","source","type"],"properties":{
                "specversion":{"const":"1.0"},"id":{"type":"string","minLength":1},
                "source":{"type":"string","minLength":1,"format":"uri-reference"},"type":{"type":"string","minLength":1},
                "subject":{"type":"string"},"time":{"type":"string","format":"date-time"},
                "dataschema":{"type":"string","format":"uri"},"datacontenttype":{"type":"string"},
                "data":{},"data_base64":{"type":"string"}},"additionalProperties":{"type":["string","boolean","integer"]}}}
                """#),
        ]
        if !table.server.tokens.isEmpty {
            members["securitySchemes"] = .literal(#"{"token":{"type":"http","scheme":"bearer"}}"#)
        }
        return .object(members)
    }
}

extension PushRoute {
    /// Without what may be secret in an address: who asks, the query and the fragment.
    package var shownURL: String {
        let bare = url.prefix { $0 != "?" && $0 != "#" }
        guard let start = bare.firstRange(of: "://")?.upperBound else { return "" }
        let authority = bare[start...].prefix { $0 != "/" }
        guard let at = authority.lastIndex(of: "@") else { return String(bare) }
        return String(bare[..<start] + bare[bare.index(after: at)...])
    }
}
