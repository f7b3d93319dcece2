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
