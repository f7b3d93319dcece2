// SPDX-License-Identifier: Apache-2.0

/// A CloudEvents 1.0 event, taken apart. The paths that handle few events use it: admin calls, tests, dead letters
/// being mended. The hot path reads a ``Record`` instead.
package struct Event: Hashable, Sendable {
    package var id: String
    package var source: String
    package var type: String
    /// Every other attribute, extensions included, in the order received: `subject`, `time`, `datacontenttype`, …
    package var attributes: [Attribute]
    package var data: EventData

    package init(id: String, source: String, type: String, attributes: [Attribute] = [], data: EventData = .none) {
        self.id = id
        self.source = source
        self.type = type
        self.attributes = attributes
        self.data = data
    }

    package struct Attribute: Hashable, Sendable {
        package var name: String
        package var value: AttributeValue

        package init(_ name: String, _ value: AttributeValue) {
            self.name = name
            self.value = value
        }
    }

    /// The value of an attribute other than `id`, `source` and `type`, as its canonical string.
    package subscript(name: String) -> String? {
        attributes.first { $0.name == name }?.value.canonical
    }
}

/// What the JSON format can tell apart; URIs, timestamps and binary are strings there.
package enum AttributeValue: Hashable, Sendable {
    case string(String)
    case boolean(Bool)
    case integer(Int32)

    package var canonical: String {
        switch self {
        case .string(let value): value
        case .boolean(let value): value ? "true" : "false"
        case .integer(let value): String(value)
        }
    }
}

package enum EventData: Hashable, Sendable {
    /// No `data` at all, which is not the same as a JSON null.
    case none
    /// One JSON value, byte for byte as received.
    case json([UInt8])
    /// Text of a media type that isn't JSON.
    case text([UInt8])
    case binary([UInt8])

    package var bytes: [UInt8] {
        switch self {
        case .none: []
        case .json(let bytes), .text(let bytes), .binary(let bytes): bytes
        }
    }
}
