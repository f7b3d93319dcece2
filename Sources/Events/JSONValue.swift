// SPDX-License-Identifier: Apache-2.0

import CFairlead

/// A JSON text taken apart, for requests that aren't events. Numbers keep their text.
package indirect enum JSONValue: Hashable, Sendable {
    case null
    case boolean(Bool)
    case number(String)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    /// `text` has ``FL_RECORD_PADDING`` readable bytes behind it: ``PaddedBytes``.
    package init(_ text: UnsafeRawBufferPointer) throws(Failure) {
        let verdict = fl_json_check(text.asBytes, text.count, Limits.jsonDepthMax)
        if verdict.status != FL_JSON_OK { throw EventDecoder.failure(verdict, index: nil, at: 0) }
        try self.init(checked: trimmed(text))
    }

    /// The value with `patch` merged into it, as RFC 7396 has it.
    package func merging(_ patch: JSONValue) -> JSONValue {
        guard case .object(let changes) = patch else { return patch }
        var members: [String: JSONValue] = [:]
        if case .object(let own) = self { members = own }
        for (name, change) in changes {
            members[name] = change == .null ? nil : (members[name] ?? .null).merging(change)
        }
        return .object(members)
    }

    /// Both patches in one: unlike ``merging(_:)``, a null stays.
    package func deepening(_ patch: JSONValue) -> JSONValue {
        guard case .object(let changes) = patch, case .object(var members) = self else { return patch }
        for (name, change) in changes { members[name] = members[name]?.deepening(change) ?? change }
        return .object(members)
    }

    /// The patch that ``merging(_:)`` makes `other` from this one with; what became null can't be told from what was removed.
    package func mergePatch(to other: JSONValue) -> JSONValue {
        guard case .object(let before) = self, case .object(let after) = other else { return other }
        var changes: [String: JSONValue] = [:]
        for (name, value) in after where before[name] != value {
            changes[name] = before[name]?.mergePatch(to: value) ?? value
        }
        for name in before.keys where after[name] == nil { changes[name] = .null }
        return .object(changes)
    }

    /// Appends the value as JSON text, members in order of name.
    package func append(to out: inout [UInt8]) {
        switch self {
        case .null: out += "null".utf8
        case .boolean(let flag): out += (flag ? "true" : "false").utf8
        case .number(let text): out += text.utf8
        case .string(let text): JSONText.append(text, to: &out)
        case .array(let elements):
            out.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { out.append(UInt8(ascii: ",")) }
                element.append(to: &out)
            }
            out.append(UInt8(ascii: "]"))
        case .object(let members):
            out.append(UInt8(ascii: "{"))
            for (index, member) in members.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { out.append(UInt8(ascii: ",")) }
                JSONText.append(member.key, to: &out)
                out.append(UInt8(ascii: ":"))
                member.value.append(to: &out)
            }
            out.append(UInt8(ascii: "}"))
        }
    }

    private init(checked text: UnsafeRawBufferPointer) throws(Failure) {
        switch text.first {
        case UInt8(ascii: "{"):
            // Copied, because what is inside is taken apart with the same scratch space.
            let members = try JSONMembers(of: text, index: nil, at: 0).list.map { member in
                (name: String(span: member.name) ?? "", raw: member.raw)
            }
            var object: [String: JSONValue] = [:]
            for member in members {
                let value = try JSONValue(checked: UnsafeRawBufferPointer(span: member.raw)!)
                guard object.updateValue(value, forKey: member.name) == nil else {
                    throw Failure(.malformed, "member \"\(member.name)\" occurs twice")
                }
            }
            self = .object(object)
        case UInt8(ascii: "["):
            var elements: [JSONValue] = []
            var array = fl_json_array_of(text.asBytes, text.count)
            var element = fl_span()
            while fl_json_array_next(&array, &element) > 0 {
                elements.append(try JSONValue(checked: UnsafeRawBufferPointer(span: element)!))
            }
            self = .array(elements)
        case UInt8(ascii: "\""):
            let inside = UnsafeRawBufferPointer(rebasing: text.dropFirst().dropLast())
            if inside.contains(UInt8(ascii: "\\")) {
                self = .string(try Self.unescaped(text))
            } else {
                self = .string(String(decoding: inside, as: UTF8.self))
            }
        case UInt8(ascii: "t"): self = .boolean(true)
        case UInt8(ascii: "f"): self = .boolean(false)
        case UInt8(ascii: "n"): self = .null
        default: self = .number(String(decoding: text, as: UTF8.self))
        }
    }

    /// Escapes are undone in one place only, which wants an object around the string.
    private static func unescaped(_ text: UnsafeRawBufferPointer) throws(Failure) -> String {
        var object = PaddedBytes(capacity: text.count + 8)
        for part in [Array("{\"\":".utf8), Array(text), Array("}".utf8)] { part.withUnsafeBytes { object.append($0) } }
        return try object.withBytes { (bytes) throws(Failure) in
            String(span: try JSONMembers(of: bytes, index: nil, at: 0).list[0].text) ?? ""
        }
    }
}
