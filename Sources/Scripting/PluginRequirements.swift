// SPDX-License-Identifier: Apache-2.0

/// `requires` of a plugin's table: what it needs `allow` to grant.
package struct PluginRequirements: Sendable {
    package struct Item: Sendable {
        let key: String
        /// A host, a topic, a variable; `$name` stands for what the setting of that name says. Empty where the key alone
        /// says it.
        let name: String

        /// For people: as `allow` has it, or the setting that will say it.
        package var description: String {
            switch key {
            case "http" where !name.hasPrefix("$"): PluginGrant.http(name).description
            case "file": PluginGrant.file("").description
            case _ where name.isEmpty: key
            default: name.hasPrefix("$") ? "\(key), as the setting \(name.dropFirst()) says" : "\(key) \(name)"
            }
        }

        /// What is to be granted where the settings are these; nil where that is nothing, as the setting it goes by isn't set.
        package func grant(with settings: [PluginSetting]) -> PluginGrant? {
            guard let value = value(settings) else { return nil }
            switch key {
            case "http":
                if !name.hasPrefix("$") { return .http(value) }
                return URLParts(value).map { .http($0.authority) }
            case "publish": return .publish(value)
            case "env": return .env(value)
            case "mail": return .mail
            case "file": return .file("")
            default: return nil
            }
        }

        private func value(_ settings: [PluginSetting]) -> String? {
            guard name.hasPrefix("$") else { return name }
            switch settings.last(where: { $0.name == name.dropFirst() })?.value {
            case .string(let text), .name(let text), .secret(_, let text): return text
            default: return nil
            }
        }
    }

    package private(set) var items: [Item] = []

    init(_ manifest: PackedValue) {
        let required = manifest["requires"]
        for key in LuaAPI.requirements.names {
            if required[key] == .boolean(true) {
                items.append(Item(key: key, name: ""))
            } else {
                let names = required[key].text.map { [$0] } ?? (required[key].items ?? []).compactMap(\.text)
                items += names.map { Item(key: key, name: $0) }
            }
        }
    }

    package init() {}

    package func grants(with settings: [PluginSetting]) -> [PluginGrant] {
        items.compactMap { $0.grant(with: settings) }
    }
}
