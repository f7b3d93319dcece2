// SPDX-License-Identifier: Apache-2.0

import CFairlead

/// A value on its way into or out of Lua, in the layout of `fl_lua.h`.
indirect enum PackedValue: Hashable, Sendable {
    case none
    case boolean(Bool)
    case integer(Int64)
    case number(Double)
    case string([UInt8])
    case array([PackedValue])
    case map([(key: String, value: PackedValue)])
    case secret(name: String, value: [UInt8])
    case null
    /// Something that can't be packed: its type.
    case other(String)
    /// JSON text, decoded when it arrives in Lua.
    case json([UInt8])

    static func text(_ string: String) -> PackedValue { .string(Array(string.utf8)) }

    static func == (a: PackedValue, b: PackedValue) -> Bool { a.packed() == b.packed() }

    func hash(into hasher: inout Hasher) { hasher.combine(packed()) }

    /// A string's text; a secret is none.
    var text: String? {
        if case .string(let bytes) = self { String(decoding: bytes, as: UTF8.self) } else { nil }
    }

    var items: [PackedValue]? {
        switch self {
        case .array(let items): items
        // An empty table may be either.
        case .map(let pairs) where pairs.isEmpty: []
        default: nil
        }
    }

    var pairs: [(key: String, value: PackedValue)]? {
        switch self {
        case .map(let pairs): pairs
        case .array(let items) where items.isEmpty: []
        default: nil
        }
    }

    subscript(name: String) -> PackedValue {
        pairs?.first { $0.key == name }?.value ?? .none
    }

    var isNone: Bool { if case .none = self { true } else { false } }

    var double: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }

    /// The version that a plugin's table gives itself; nil where it says none, or nothing that could be one.
    var pluginVersion: String? {
        switch self["version"] {
        case .string(let bytes): String(decoding: bytes, as: UTF8.self)
        case .integer(let number): "\(number)"
        case .number(let number): "\(number)"
        default: nil
        }
    }

    /// What Lua calls it.
    var typeName: String {
        switch self {
        case .none: "nil"
        case .boolean: "boolean"
        case .integer, .number: "number"
        case .string, .json: "string"
        case .array, .map: "table"
        case .secret: "secret"
        case .null: "null"
        case .other(let type): type
        }
    }
}

extension PackedValue {
    func packed() -> [UInt8] {
        var bytes: [UInt8] = []
        pack(into: &bytes)
        return bytes
    }

    private func pack(into bytes: inout [UInt8]) {
        func tag(_ value: some BinaryInteger) { bytes.append(UInt8(value)) }
        func raw(_ value: some FixedWidthInteger) {
            withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        }
        func block(_ value: some Collection<UInt8>) {
            raw(UInt32(value.count))
            bytes.append(contentsOf: value)
        }
        switch self {
        case .none: tag(FL_PACK_NIL)
        case .boolean(let value): tag(value ? FL_PACK_TRUE : FL_PACK_FALSE)
        case .integer(let value):
            tag(FL_PACK_INTEGER)
            raw(value)
        case .number(let value):
            tag(FL_PACK_NUMBER)
            raw(value.bitPattern)
        case .string(let value):
            tag(FL_PACK_STRING)
            block(value)
        case .array(let items):
            tag(FL_PACK_ARRAY)
            raw(UInt32(items.count))
            for item in items { item.pack(into: &bytes) }
        case .map(let pairs):
            tag(FL_PACK_MAP)
            raw(UInt32(pairs.count))
            for (key, value) in pairs {
                block(key.utf8)
                value.pack(into: &bytes)
            }
        case .secret(let name, let value):
            tag(FL_PACK_SECRET)
            block(name.utf8)
            block(value)
        case .null: tag(FL_PACK_NULL)
        case .other(let type):
            tag(FL_PACK_OTHER)
            block(type.utf8)
        case .json(let text):
            tag(FL_PACK_JSON)
            block(text)
        }
    }

    /// From bytes that C has packed; nil where they are cut off, which would be a fault of ours.
    init?(_ bytes: UnsafeRawBufferPointer) {
        var at = 0
        guard let value = PackedValue.read(bytes, &at) else { return nil }
        self = value
    }

    private static func read(_ bytes: UnsafeRawBufferPointer, _ at: inout Int) -> PackedValue? {
        func raw<T: FixedWidthInteger>(_: T.Type, _ at: inout Int) -> T? {
            guard bytes.count - at >= MemoryLayout<T>.size else { return nil }
            defer { at += MemoryLayout<T>.size }
            return T(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: T.self))
        }
        func block(_ at: inout Int) -> [UInt8]? {
            guard let count = raw(UInt32.self, &at), bytes.count - at >= Int(count) else { return nil }
            defer { at += Int(count) }
            return Array(bytes[at..<at + Int(count)])
        }
        guard let tag = raw(UInt8.self, &at) else { return nil }
        switch Int(tag) {
        case FL_PACK_NIL: return PackedValue.none
        case FL_PACK_FALSE: return .boolean(false)
        case FL_PACK_TRUE: return .boolean(true)
        case FL_PACK_INTEGER: return raw(Int64.self, &at).map { .integer($0) }
        case FL_PACK_NUMBER: return raw(UInt64.self, &at).map { .number(Double(bitPattern: $0)) }
        case FL_PACK_STRING: return block(&at).map { .string($0) }
        case FL_PACK_JSON: return block(&at).map { .json($0) }
        case FL_PACK_NULL: return .null
        case FL_PACK_OTHER: return block(&at).map { .other(String(decoding: $0, as: UTF8.self)) }
        case FL_PACK_SECRET:
            guard let name = block(&at), let value = block(&at) else { return nil }
            return .secret(name: String(decoding: name, as: UTF8.self), value: value)
        case FL_PACK_ARRAY:
            guard let count = raw(UInt32.self, &at) else { return nil }
            var items: [PackedValue] = []
            for _ in 0..<count {
                guard let item = read(bytes, &at) else { return nil }
                items.append(item)
            }
            return .array(items)
        case FL_PACK_MAP:
            guard let count = raw(UInt32.self, &at) else { return nil }
            var pairs: [(key: String, value: PackedValue)] = []
            for _ in 0..<count {
                guard let key = block(&at), let value = read(bytes, &at) else { return nil }
                pairs.append((String(decoding: key, as: UTF8.self), value))
            }
            return .map(pairs)
        default: return nil
        }
    }
}
