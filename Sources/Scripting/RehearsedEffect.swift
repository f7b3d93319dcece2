// SPDX-License-Identifier: Apache-2.0

import Events

/// One thing that a subscriber did to the outside, in a form in which two can be compared field by field.
package struct RehearsedEffect: Hashable, Sendable {
    package enum Kind: String, CaseIterable, Sendable {
        case http, mail, publish, state, file
    }

    package var kind: Kind
    /// What it was done to: `POST https://hooks.slack.com/…`, an address, a topic, a key, a file.
    package var target: String
    /// Effects of one group are counted together: `POST https://hooks.slack.com`, `stock:…`.
    package var group: String
    /// Values as JSON or text, by path: `json.text`, `subject`. Random identifiers stand as `(random id)`.
    package var fields: [String: String]

    package init(_ kind: Kind, _ target: String, group: String? = nil, fields: [String: String] = [:]) {
        self.kind = kind
        self.target = Self.withoutRandom(target)
        self.group = Self.withoutRandom(group ?? target)
        self.fields = fields.mapValues(Self.withoutRandom)
    }

    /// UUIDs are made anew in each run, and would make every two effects differ.
    package static func withoutRandom(_ text: String) -> String {
        guard text.utf8.count >= 36, text.utf8.count(where: { $0 == UInt8(ascii: "-") }) >= 4 else { return text }
        let uuid = #/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/#.ignoresCase()
        return text.replacing(uuid, with: "(random id)")
    }

    /// The leaves of a JSON text by their paths; the whole under `name` where it is none.
    package static func flatten(_ bytes: [UInt8], as name: String, into fields: inout [String: String]) {
        guard !bytes.isEmpty else { return }
        let parsed = try? PaddedBytes(bytes).withBytes { (bytes) throws(Failure) in try JSONValue(bytes) }
        guard let parsed else {
            fields[name] = String(decoding: bytes, as: UTF8.self)
            return
        }
        flatten(parsed, name, &fields)
    }

    private static func flatten(_ value: JSONValue, _ path: String, _ fields: inout [String: String]) {
        switch value {
        case .object(let members) where !members.isEmpty:
            for (name, member) in members { flatten(member, "\(path).\(name)", &fields) }
        case .array(let elements) where !elements.isEmpty:
            for (index, element) in elements.enumerated() { flatten(element, "\(path)[\(index)]", &fields) }
        default:
            var text: [UInt8] = []
            value.append(to: &text)
            fields[path] = String(decoding: text, as: UTF8.self)
        }
    }

    /// Whether at least half of the data's leaves are the same.
    func isAlike(_ other: RehearsedEffect) -> Bool {
        let paths = Set(fields.keys).union(other.fields.keys).filter { $0.hasPrefix("data") }
        return paths.count { fields[$0] == other.fields[$0] } * 2 >= paths.count
    }

    /// In one line, without what every effect of its kind has.
    package var shown: String {
        let told = fields.sorted { $0.key < $1.key }.filter { path, _ in
            !path.hasPrefix("header ") && !["id", "source", "time", "from"].contains(path)
        }
        return ([target] + told.map { "\($0.key) \($0.value)" }).joined(separator: "  ")
    }
}

extension PluginTrial {
    /// What it did that somebody outside would notice; state and publications only where they would be committed. Log
    /// lines and metrics are none.
    package var rehearsedEffects: [RehearsedEffect] {
        var effects: [RehearsedEffect] = []
        for act in acts {
            switch act {
            case .http(let request): effects.append(RehearsedEffect(request))
            case .mail(let message): effects.append(RehearsedEffect(message))
            case .file(let addition):
                effects.append(
                    RehearsedEffect(
                        .file, "\(addition.folder)/\(addition.name)",
                        fields: ["text": String(decoding: addition.bytes, as: UTF8.self)]))
            case .log, .metric, .sleep: break
            }
        }
        for publication in self.effects.publications { effects.append(RehearsedEffect(publication)) }
        for write in self.effects.state { effects.append(RehearsedEffect(write)) }
        return effects
    }
}

extension RehearsedEffect {
    package init(_ request: PluginTrial.Request) {
        var fields: [String: String] = [:]
        var isJSON = false
        for (name, value) in request.headers {
            let name = name.lowercased()
            if name == "content-type" { isJSON = value.contains("json") }
            fields["header \(name)"] = value
        }
        if isJSON {
            Self.flatten(Array(request.body.utf8), as: "json", into: &fields)
        } else if !request.body.isEmpty {
            fields["body"] = request.body
        }
        // A URL's origin only: the rest may differ from event to event.
        let origin = URLParts(request.url)?.origin ?? request.url
        self.init(.http, "\(request.method) \(request.url)", group: "\(request.method) \(origin)", fields: fields)
    }

    fileprivate init(_ message: MailMessage) {
        var fields = ["subject": message.subject]
        if !message.cc.isEmpty { fields["cc"] = message.cc.joined(separator: ", ") }
        fields["from"] = message.from
        fields["reply_to"] = message.replyTo
        fields["text"] = message.text
        fields["html"] = message.html
        self.init(.mail, "to " + message.to.joined(separator: ", "), group: "", fields: fields)
    }

    fileprivate init(_ publication: Publication) {
        let event = publication.event
        var fields: [String: String] = ["id": event.id, "source": event.source]
        for attribute in event.attributes { fields[attribute.name] = attribute.value.canonical }
        Self.flatten(event.data.bytes, as: "data", into: &fields)
        let target = event.type == publication.topic ? publication.topic : "\(event.type) to \(publication.topic)"
        self.init(.publish, target, fields: fields)
    }

    fileprivate init(_ write: StateWrite) {
        var fields: [String: String] = [:]
        let verb: String
        switch write {
        case .put(_, let value, let expires):
            verb = "put"
            Self.flatten(value, as: "value", into: &fields)
            if let expires { fields["expires"] = expires.rfc3339 }
        case .add(_, let delta):
            verb = "add"
            fields["amount"] = String(decoding: delta.json, as: UTF8.self)
        case .delete: verb = "delete"
        }
        // Keys are made of a name and what it is of: `stock:MAP-88`, `seen/o-1`.
        let name = write.key.prefix { !"/:.|#".contains($0) }
        let isCompound = name.utf8.count < write.key.utf8.count
        self.init(
            .state, "\(verb) \(write.key)",
            group: isCompound ? "\(name)\(write.key.dropFirst(name.count).prefix(1))…" : write.key,
            fields: fields)
    }
}
