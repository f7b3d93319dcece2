// SPDX-License-Identifier: Apache-2.0

import CFairlead

/// Finds an event's key among its attributes and data; made from a topic's `key` line.
package protocol KeyExtractor: Sendable {
    /// Calls `body` once with the key's UTF-8 bytes, or not at all where the event has no key.
    /// `record` is complete but for its key.
    func withKey(of record: UnsafeRawPointer, _ body: (UnsafeRawBufferPointer) -> Void)
}

/// Builds a ``RecordBatch`` in place: `begin`, then `attribute` for `id`, `source`, `type` and the others, then `end`.
///
/// A record that was begun and turns out to be bad is taken back with ``abandon()``.
package struct RecordBatchBuilder: ~Copyable {
    private let topic: Topic
    private let key: (any KeyExtractor)?
    private var storage: UnsafeMutableRawBufferPointer
    private var used = 0
    private var starts: [UInt32] = []
    private var begun = 0
    private var attributeCount = 0

    /// `capacity` in bytes is a guess that saves growing: the request's body and some more.
    package init(topic: Topic, key: (any KeyExtractor)?, capacity: Int) {
        self.topic = topic
        self.key = key
        storage = .allocate(byteCount: max(capacity, 256) + Int(FL_RECORD_PADDING), alignment: 8)
    }

    deinit {
        storage.deallocate()
    }

    package var count: Int { starts.count }

    package mutating func begin() {
        begun = used
        attributeCount = 0
        reserve(Int(FL_RECORD_HEADER_BYTES))
        used += Int(FL_RECORD_HEADER_BYTES)
    }

    /// Adds an attribute; the caller has checked name and value against ``Limits`` and the CloudEvents rules.
    package mutating func attribute(
        _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, type: Int = FL_ATTRIBUTE_STRING
    ) {
        reserve(Int(FL_ATTRIBUTE_HEADER_BYTES) + name.count + value.count)
        let at = storage.baseAddress! + used
        at.storeBytes(of: UInt8(name.count), as: UInt8.self)
        at.storeBytes(of: UInt8(type), toByteOffset: 1, as: UInt8.self)
        at.storeBytes(of: UInt32(value.count), toByteOffset: 2, as: UInt32.self)
        copy(name, to: at + Int(FL_ATTRIBUTE_HEADER_BYTES))
        copy(value, to: at + Int(FL_ATTRIBUTE_HEADER_BYTES) + name.count)
        used += Int(FL_ATTRIBUTE_HEADER_BYTES) + name.count + value.count
        attributeCount += 1
    }

    package mutating func attribute(_ name: StaticString, _ value: UnsafeRawBufferPointer) {
        attribute(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), value)
    }

    package mutating func attribute(_ name: String, _ value: String, type: Int = FL_ATTRIBUTE_STRING) {
        var name = name
        var value = value
        name.withUTF8 { name in
            value.withUTF8 { value in
                attribute(UnsafeRawBufferPointer(name), UnsafeRawBufferPointer(value), type: type)
            }
        }
    }

    /// Completes the record. `kind` is one of `FL_DATA_*`; `outbox` the ledger's row that caused it, or 0.
    package mutating func end(data: UnsafeRawBufferPointer, kind: Int, outbox: UInt64 = 0) {
        let attributesEnd = used
        reserve(data.count)
        copy(data, to: storage.baseAddress! + used)
        used += data.count
        let record = storage.baseAddress! + begun
        fl_record_set_length(record, UInt32(used - begun))
        fl_record_set_crc(record, 0)
        fl_record_set_offset(record, 0)
        fl_record_set_time(record, 0)
        fl_record_set_outbox(record, outbox)
        fl_record_set_attributes_length(record, UInt32(attributesEnd - begun - Int(FL_RECORD_HEADER_BYTES)))
        fl_record_set_data_length(record, UInt32(data.count))
        fl_record_set_key_length(record, UInt16(FL_RECORD_NO_KEY))
        fl_record_set_data_kind(record, UInt8(kind))
        fl_record_set_attribute_count(record, UInt8(attributeCount))
        if let key {
            // The key may lie inside the record, which growing would move: copied out first.
            var found: [UInt8]?
            key.withKey(of: record) { found = Array($0.prefix(Limits.keyBytesMax)) }
            if let found { found.withUnsafeBytes { appendKey($0) } }
        }
        starts.append(UInt32(begun))
    }

    private mutating func appendKey(_ key: UnsafeRawBufferPointer) {
        reserve(key.count)
        copy(key, to: storage.baseAddress! + used)
        used += key.count
        let record = storage.baseAddress! + begun
        fl_record_set_key_length(record, UInt16(key.count))
        fl_record_set_length(record, UInt32(used - begun))
    }

    /// Forgets the record begun last, complete or not.
    package mutating func abandon() {
        if starts.last == UInt32(begun) { starts.removeLast() }
        used = begun
    }

    package mutating func append(_ event: Event, outbox: UInt64 = 0) {
        begin()
        attribute("id", event.id)
        attribute("source", event.source)
        attribute("type", event.type)
        for other in event.attributes {
            let type =
                switch other.value {
                case .string: FL_ATTRIBUTE_STRING
                case .boolean: FL_ATTRIBUTE_BOOLEAN
                case .integer: FL_ATTRIBUTE_INTEGER
                }
            attribute(other.name, other.value.canonical, type: type)
        }
        let kind =
            switch event.data {
            case .none: FL_DATA_NONE
            case .json: FL_DATA_JSON
            case .text: FL_DATA_TEXT
            case .binary: FL_DATA_BINARY
            }
        event.data.bytes.withUnsafeBytes { end(data: $0, kind: kind, outbox: outbox) }
    }

    /// Hands the records over; the builder is empty after that.
    package mutating func finish() -> RecordBatch {
        let batch = RecordBatch(topic: topic, storage: storage, byteCount: used, starts: starts)
        storage = UnsafeMutableRawBufferPointer(start: nil, count: 0)
        used = 0
        starts = []
        return batch
    }

    private mutating func reserve(_ more: Int) {
        let needed = used + more + Int(FL_RECORD_PADDING)
        guard needed > storage.count else { return }
        let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: max(needed, storage.count * 2), alignment: 8)
        if let old = storage.baseAddress { larger.baseAddress!.copyMemory(from: old, byteCount: used) }
        storage.deallocate()
        storage = larger
    }

    private func copy(_ bytes: UnsafeRawBufferPointer, to destination: UnsafeMutableRawPointer) {
        if let source = bytes.baseAddress { destination.copyMemory(from: source, byteCount: bytes.count) }
    }
}
