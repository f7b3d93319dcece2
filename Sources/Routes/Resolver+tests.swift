// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering

extension Resolver {
    func resolveTest(_ entry: Checked) {
        var test = RouteTest(name: entry.string(0), publications: [], expected: [], rejected: [])
        test.place = entry.statement.place
        let block = entry.statement.block ?? Block(statements: [], open: entry.statement.range)
        let lines = check(block.statements, in: .test)
        for line in lines {
            let source = line.statement.source
            switch line.keyword.name {
            case "publish":
                let topic = line.string(0)
                guard isKnown(topic: topic, line.values[0].range, source) else { continue }
                test.publications.append((topic, event(line, topic: topic, number: test.publications.count + 1)))
            default:
                for value in line.values {
                    guard case .name(let name) = value.value else { continue }
                    guard isKnown(subscriber: name, value.range, source) else { continue }
                    if line.keyword.name == "expect" { test.expected.append(name) } else { test.rejected.append(name) }
                }
            }
        }
        if !block.isDamaged, lines.count == block.statements.count {
            let has = { (name: String) in lines.contains { $0.keyword.name == name } }
            if !has("publish") || !has("expect") && !has("reject") {
                let what = has("publish") ? "`expect` or `reject`" : "`publish`"
                diagnostics.error(
                    .missingStatement, "this test needs \(what)", hint: "or it can't fail", in: entry.statement.source,
                    entry.values[0].range)
            }
        }
        table.tests.append(test)
    }

    private func event(_ line: Checked, topic: String, number: Int) -> Event {
        var event = Event(id: "test-\(number)", source: "test", type: topic)
        var data: JSONTree?
        guard hasFewMembers(line.statement.block) else { return event }
        for statement in line.statement.block?.statements ?? [] where !statement.isDamaged && !diagnostics.isFull {
            let source = statement.source
            guard let (path, end) = try? FilterParser.path(source.bytes, from: statement.range.lowerBound),
                end == statement.range.upperBound
            else {
                diagnostics.error(
                    .wrongArgument,
                    "`\(Self.shortened(statement.keyword))` is neither an attribute nor a path into the data",
                    hint:
                        "attributes have letters and digits only; in the data: data.\(Self.shortened(statement.keyword))",
                    in: source, statement.range)
                continue
            }
            guard let value = json(statement) else { continue }
            switch path {
            case .attribute(let name):
                guard statement.block == nil, let value = value.attribute else {
                    diagnostics.error(
                        .wrongArgument, "an attribute is text, a whole number, true or false", in: source,
                        statement.range)
                    continue
                }
                switch name {
                case "id": event.id = value.canonical
                case "source": event.source = value.canonical
                case "type": event.type = value.canonical
                default: event.attributes.append(Event.Attribute(name, value))
                }
            case .data(let path):
                let keys = path.steps.compactMap { if case .key(let key) = $0 { key } else { nil } }
                guard keys.count == path.steps.count else {
                    diagnostics.error(
                        .wrongArgument, "an element can't be set by itself",
                        hint: "write the whole list: data.items [1, 2]",
                        in: source, statement.range)
                    continue
                }
                var tree = data ?? .object([])
                if tree.set(keys[...], to: value) {
                    data = tree
                } else {
                    diagnostics.error(
                        .repeated, "`\(statement.keyword)` is set already", in: source, statement.range)
                }
            case .topic, .received:
                diagnostics.error(.wrongArgument, "`meta` is the broker's", in: source, statement.range)
            }
        }
        if let data { event.data = .json(Array(data.text.utf8)) }
        return event
    }

    private func hasFewMembers(_ block: Block?) -> Bool {
        guard let first = block?.statements.dropFirst(Limits.routesTestMembersMax).first else { return true }
        diagnostics.error(
            .tooLarge, "more than \(Limits.routesTestMembersMax) values in one block of an event",
            hint: "test with a smaller event", in: first.source, first.range)
        return false
    }

    private func json(_ statement: Statement) -> JSONTree? {
        if let block = statement.block {
            var members: [(String, JSONTree)] = []
            guard hasFewMembers(block) else { return nil }
            for inner in block.statements where !inner.isDamaged {
                guard let value = json(inner) else { continue }
                if members.contains(where: { $0.0 == inner.keyword }) {
                    diagnostics.error(
                        .repeated, "`\(inner.keyword)` is set already", in: inner.source, inner.range)
                    continue
                }
                members.append((inner.keyword, value))
            }
            return .object(members)
        }
        guard statement.arguments.count == 1 else {
            diagnostics.error(
                .missingArgument, "`\(Self.shortened(statement.keyword))` needs one value",
                hint: "several values: [a, b]", in: statement.source, statement.range)
            return nil
        }
        let argument = statement.arguments[0]
        if case .word("null") = argument.value { return .literal("null") }
        guard let value = settingValue(argument, statement.source) else { return nil }
        guard let tree = JSONTree(value) else {
            diagnostics.error(
                .wrongArgument, "\(shown(argument)) is no JSON value",
                hint: "text stands in double quotes", in: statement.source, argument.range)
            return nil
        }
        return tree
    }
}

/// The data of a test's event.
enum JSONTree {
    case literal(String)
    case string(String)
    indirect case array([JSONTree])
    indirect case object([(String, JSONTree)])

    /// nil for what JSON doesn't have: durations, sizes, bare words.
    init?(_ value: SettingValue) {
        switch value {
        case .string(let text): self = .string(text)
        case .integer(let number): self = .literal(String(number))
        case .number(let number): self = .literal(number.description)
        case .boolean(let truth): self = .literal(truth ? "true" : "false")
        case .name("null"): self = .literal("null")
        case .read(_, let value): self.init(value)
        case .list(let values):
            let items = values.compactMap { JSONTree($0) }
            guard items.count == values.count else { return nil }
            self = .array(items)
        default: return nil
        }
    }

    var attribute: AttributeValue? {
        switch self {
        case .string(let text): .string(text)
        case .literal("true"): .boolean(true)
        case .literal("false"): .boolean(false)
        case .literal(let text): Int32(text).map { .integer($0) }
        default: nil
        }
    }

    /// Puts `value` at `keys`, making objects on the way; false where something is there already.
    mutating func set(_ keys: ArraySlice<String>, to value: JSONTree) -> Bool {
        guard case .object(var members) = self else { return false }
        guard let key = keys.first else {
            guard members.isEmpty else { return false }
            self = value
            return true
        }
        if let at = members.firstIndex(where: { $0.0 == key }) {
            guard keys.count > 1, members[at].1.set(keys.dropFirst(), to: value) else { return false }
        } else {
            var fresh = keys.count > 1 ? JSONTree.object([]) : value
            if keys.count > 1, !fresh.set(keys.dropFirst(), to: value) { return false }
            members.append((key, fresh))
        }
        self = .object(members)
        return true
    }

    var text: String {
        switch self {
        case .literal(let text): text
        case .string(let text): Self.quoted(text)
        case .array(let items): "[\(items.map(\.text).joined(separator: ","))]"
        case .object(let members):
            "{\(members.map { "\(Self.quoted($0.0)):\($0.1.text)" }.joined(separator: ","))}"
        }
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\":
                result += "\\"
                result.unicodeScalars.append(scalar)
            case _ where scalar.value < 0x20:
                let hex = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
