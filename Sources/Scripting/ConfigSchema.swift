// SPDX-License-Identifier: Apache-2.0

import Events

/// A plugin's `config` table: what its settings may be.
struct ConfigSchema {
    struct Field {
        var name: String
        var kind: Kind
        var required: Bool
        var fallback: PackedValue
        var minimum: Double?
        var maximum: Double?
        var pattern: PackedValue
        var values: [String]
    }

    indirect enum Kind: Equatable {
        case string, integer, number, boolean, duration, size, secret, url, topic, choice
        case list(Kind?)
        case map(Kind?)

        static let names = [
            "string", "integer", "number", "boolean", "duration", "size", "secret", "url", "topic", "list", "map",
            "enum",
        ]

        /// `string`, `list`, `list<string>`, `map<integer>`.
        init?(_ text: String) {
            func inner(_ prefix: String) -> Kind?? {
                if text == prefix { return .some(nil) }
                guard text.hasPrefix(prefix + "<"), text.hasSuffix(">") else { return nil }
                guard let kind = Kind(String(text.dropFirst(prefix.count + 1).dropLast())) else { return nil }
                return .some(kind)
            }
            switch text {
            case "string": self = .string
            case "integer": self = .integer
            case "number": self = .number
            case "boolean": self = .boolean
            case "duration": self = .duration
            case "size": self = .size
            case "secret": self = .secret
            case "url": self = .url
            case "topic": self = .topic
            case "enum": self = .choice
            default:
                if let item = inner("list") {
                    self = .list(item)
                } else if let item = inner("map") {
                    self = .map(item)
                } else {
                    return nil
                }
            }
        }

        var description: String {
            switch self {
            case .string: "a string"
            case .integer: "an integer"
            case .number: "a number"
            case .boolean: "true or false"
            case .duration: "a duration such as 30s"
            case .size: "a size such as 10MB"
            case .secret: "a secret such as secret(\"NAME\")"
            case .url: "a URL"
            case .topic: "a topic's name"
            case .choice: "one of its values"
            case .list(nil): "a list"
            case .list(let item?): "a list in which each is \(item.description)"
            case .map(nil): "a block"
            case .map(let item?): "a block in which each is \(item.description)"
            }
        }
    }

    var fields: [Field] = []
    private let file: String

    /// Reads `config` of a manifest; a table that makes no sense is the plugin's fault, with problems to show.
    init(_ table: PackedValue, file: String, problems: inout [PluginProblem]) {
        self.file = file
        guard let pairs = table.pairs else {
            problems.append(
                PluginProblem(file: file, message: "config is a \(table.typeName), not a table of settings"))
            return
        }
        for (name, value) in pairs.sorted(by: { $0.key < $1.key }) {
            guard value.pairs != nil, let type = value["type"].text else {
                problems.append(
                    PluginProblem(
                        file: file, message: "config.\(name) names no type",
                        remedy: "write \(name) = { type = \"string\" }"))
                continue
            }
            guard let kind = Kind(type) else {
                let near = type.nearest(of: Kind.names).map { "; did you mean \"\($0)\"?" } ?? ""
                problems.append(
                    PluginProblem(
                        file: file, message: "config.\(name) has the unknown type \"\(type)\"\(near)",
                        remedy: "types are \(Kind.names.joined(separator: ", "))"))
                continue
            }
            let known = LuaAPI.settingField.names
            for (key, _) in value.pairs ?? [] where !known.contains(key) {
                let near = key.nearest(of: known).map { "; did you mean \"\($0)\"?" } ?? ""
                problems.append(
                    PluginProblem(file: file, message: "config.\(name) has the unknown key \"\(key)\"\(near)"))
            }
            var field = Field(
                name: name, kind: kind, required: value["required"] == .boolean(true), fallback: value["default"],
                pattern: value["pattern"], values: (value["values"].items ?? []).compactMap(\.text))
            field.minimum = ConfigSchema.bound(value["min"])
            field.maximum = ConfigSchema.bound(value["max"])
            if kind == .choice, field.values.isEmpty {
                problems.append(
                    PluginProblem(
                        file: file, message: "config.\(name) is an enum without values",
                        remedy: "write values = { \"a\", \"b\" }"))
            }
            if case .string(let text) = field.fallback {
                // Defaults are written as in routes.conf: "30s", "10MB".
                if kind == .duration, let seconds = ConfigSchema.seconds(String(decoding: text, as: UTF8.self)) {
                    field.fallback = .number(seconds)
                } else if kind == .size, let bytes = ConfigSchema.bytes(String(decoding: text, as: UTF8.self)) {
                    field.fallback = .integer(bytes)
                }
            }
            fields.append(field)
        }
    }

    /// Typed and complete settings for `ctx.config`, and the patterns that are still to be tried in Lua.
    func apply(
        _ settings: [PluginSetting], plugin: String, problems: inout [PluginProblem]
    ) -> (config: PackedValue, patterns: [(setting: String, value: String, pattern: String)]) {
        var values: [(key: String, value: PackedValue)] = []
        var patterns: [(setting: String, value: String, pattern: String)] = []
        let names = fields.map(\.name)
        for setting in settings where !names.contains(setting.name) {
            let near = setting.name.nearest(of: names).map { "did you mean \"\($0)\"? " } ?? ""
            let list = names.isEmpty ? "it has no settings" : "its settings are \(names.joined(separator: ", "))"
            problems.append(
                PluginProblem(
                    file: file, message: "plugin \"\(plugin)\" has no setting \"\(setting.name)\"",
                    remedy: near + list, setting: setting.name))
        }
        for field in fields {
            guard let setting = settings.last(where: { $0.name == field.name }) else {
                if field.required, field.fallback.isNone {
                    problems.append(
                        PluginProblem(
                            file: file, message: "plugin \"\(plugin)\" needs the setting \"\(field.name)\"",
                            remedy: "add `\(field.name)` (\(field.kind.description)) to its block", setting: field.name)
                    )
                }
                if !field.fallback.isNone { values.append((field.name, field.fallback)) }
                continue
            }
            guard let value = convert(setting.value, field.kind) else {
                problems.append(
                    PluginProblem(
                        file: file,
                        message:
                            """
                            setting \"\(field.name)\" is \(setting.value.kindDescription), not \
                            \(field.kind.description)
                            """,
                        remedy: "write it as \(field.kind.description)", setting: field.name))
                continue
            }
            if let problem = bounds(value, setting.value, field) { problems.append(problem) }
            if let pattern = field.pattern.text, let text = value.text { patterns.append((field.name, text, pattern)) }
            values.append((field.name, value))
        }
        return (.map(values), patterns)
    }

    private func bounds(_ value: PackedValue, _ written: PluginValue, _ field: Field) -> PluginProblem? {
        if field.kind == .choice, let text = value.text, !field.values.contains(text) {
            let near = text.nearest(of: field.values).map { "did you mean \"\($0)\"? " } ?? ""
            return PluginProblem(
                file: file, message: "setting \"\(field.name)\" can't be \"\(text)\"",
                remedy: near + "its values are \(field.values.joined(separator: ", "))", setting: field.name)
        }
        let (amount, unit): (Double?, String) =
            switch value {
            case .string(let bytes): (Double(bytes.count), " bytes long")
            case .array(let items): (Double(items.count), " items long")
            default: (value.double, field.kind == .duration ? " s" : "")
            }
        guard let amount else { return nil }
        if let minimum = field.minimum, amount < minimum {
            return PluginProblem(
                file: file,
                message: "setting \"\(field.name)\" is \(amount.plain)\(unit); the least is \(minimum.plain)",
                remedy: "raise it", setting: field.name)
        }
        if let maximum = field.maximum, amount > maximum {
            return PluginProblem(
                file: file,
                message: "setting \"\(field.name)\" is \(amount.plain)\(unit); the most is \(maximum.plain)",
                remedy: "lower it", setting: field.name)
        }
        return nil
    }

    private func convert(_ value: PluginValue, _ kind: Kind) -> PackedValue? {
        switch (kind, value) {
        case (.string, .string(let text)), (.string, .name(let text)): return .text(text)
        case (.choice, .string(let text)), (.choice, .name(let text)): return .text(text)
        case (.topic, .string(let text)), (.topic, .name(let text)): return .text(text)
        case (.integer, .integer(let number)): return .integer(number)
        case (.number, .integer(let number)): return .integer(number)
        case (.number, .number(let number)): return .number(number)
        case (.number, .percent(let number)): return .number(Double(number) / 100)
        case (.boolean, .boolean(let flag)): return .boolean(flag)
        case (.duration, .duration(let duration)): return .number(duration.seconds)
        case (.duration, .string(let text)): return Self.seconds(text).map { .number($0) }
        case (.size, .string(let text)): return Self.bytes(text).map { .integer($0) }
        case (.size, .size(let bytes)): return .integer(Int64(bytes))
        // A secret from the environment may stand where text is expected, and stays a secret.
        case (.secret, .secret(let name, let text)), (.string, .secret(let name, let text)):
            return .secret(name: name, value: Array(text.utf8))
        case (.url, .secret(let name, let text)): return .secret(name: name, value: Array(text.utf8))
        // While a secret is being tried out it may be written down, so it is kept like one all the same.
        case (.secret, .string(let text)): return .secret(name: "setting", value: Array(text.utf8))
        case (.url, .string(let text)): return URLParts(text) == nil ? nil : .text(text)
        case (.list(let item), .list(let values)):
            var items: [PackedValue] = []
            for value in values {
                guard let converted = item.map({ convert(value, $0) }) ?? value.untyped else { return nil }
                items.append(converted)
            }
            return .array(items)
        // One value is a list of one.
        case (.list(let item), _):
            guard case .block = value else {
                return (item.map { convert(value, $0) } ?? value.untyped).map { .array([$0]) }
            }
            return nil
        case (.map(let item), .block(let settings)):
            var pairs: [(key: String, value: PackedValue)] = []
            for setting in settings {
                guard let converted = item.map({ convert(setting.value, $0) }) ?? setting.value.untyped else {
                    return nil
                }
                pairs.append((setting.name, converted))
            }
            return .map(pairs)
        default: return nil
        }
    }

    private static func bound(_ value: PackedValue) -> Double? {
        value.double ?? value.text.flatMap { seconds($0) ?? bytes($0).map(Double.init) }
    }

    /// Seconds of `30s`, `500ms`, `1h30m`.
    static func seconds(_ text: String) -> Double? {
        var total = 0.0
        var rest = Substring(text)
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isNumber || $0 == "." }
            let unit = rest.dropFirst(digits.count).prefix { $0.isLetter }
            guard let amount = Double(digits), let scale = durationUnits[String(unit)] else { return nil }
            total += amount * scale
            rest = rest.dropFirst(digits.count + unit.count)
        }
        return total
    }

    private static let durationUnits: [String: Double] = ["ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400]

    /// Bytes of `10MB`, `64KiB`.
    static func bytes(_ text: String) -> Int64? {
        let digits = text.prefix { $0.isNumber }
        guard let amount = Int64(digits), let scale = sizeUnits[String(text.dropFirst(digits.count))] else {
            return nil
        }
        let (product, overflow) = amount.multipliedReportingOverflow(by: scale)
        return overflow ? nil : product
    }

    private static let sizeUnits: [String: Int64] = [
        "B": 1, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
    ]
}

extension PluginValue {
    /// For a plugin without a `config` table: as it is written.
    var untyped: PackedValue? {
        switch self {
        case .string(let text), .name(let text): .text(text)
        case .integer(let value): .integer(value)
        case .number(let value): .number(value)
        case .boolean(let value): .boolean(value)
        case .duration(let value): .number(value.seconds)
        case .size(let value): .integer(Int64(value))
        case .rate(let count, let per):
            .map([("count", .integer(Int64(count))), ("per", .number(per.seconds))])
        case .percent(let value): .number(Double(value) / 100)
        case .secret(let name, let value): .secret(name: name, value: Array(value.utf8))
        case .list(let values): .array(values.compactMap(\.untyped))
        case .block(let settings):
            .map(settings.compactMap { setting in setting.value.untyped.map { (setting.name, $0) } })
        }
    }

    var kindDescription: String {
        switch self {
        case .string(let text): "the string \"\(text)\""
        case .name(let text): "the word \(text)"
        case .integer(let value): "the number \(value)"
        case .number(let value): "the number \(value.plain)"
        case .boolean(let value): "\(value)"
        case .duration(let value): "the duration \(value.seconds.plain)s"
        case .size(let value): "the size \(value)B"
        case .rate: "a rate"
        case .percent(let value): "\(value)%"
        case .secret(let name, _): "secret(\"\(name)\")"
        case .list: "a list"
        case .block: "a block"
        }
    }
}

extension Double {
    /// Without a needless `.0`.
    var plain: String { self == rounded() && abs(self) < 1e15 ? String(Int64(self)) : String(self) }
}
