// SPDX-License-Identifier: Apache-2.0

package import CFairlead

/// One event as stored: a view of its bytes in a ``RecordBatch``, which it keeps alive. The layout is in `fl_record.h`.
package struct Record: Sendable {
    package let batch: RecordBatch
    /// Where the record starts in the batch's bytes.
    package let start: Int

    package init(batch: RecordBatch, start: Int) {
        self.batch = batch
        self.start = start
    }

    package var topic: Topic { batch.topic }
    /// Valid while this record, or its batch, is alive. At least ``FL_RECORD_PADDING`` bytes after the record can be read.
    package var bytes: UnsafeRawPointer { UnsafeRawPointer(batch.bytes.baseAddress!) + start }
    package var byteCount: Int { Int(fl_record_length(bytes)) }
    package var offset: Offset { fl_record_offset(bytes) }
    package var time: Timestamp { Timestamp(milliseconds: fl_record_time(bytes)) }
    /// The ledger's outbox row that caused this event, where a plugin published it.
    package var outbox: UInt64? {
        let row = fl_record_outbox(bytes)
        return row == 0 ? nil : row
    }

    package var id: String { string(attribute: 0) }
    package var source: String { string(attribute: 1) }
    package var type: String { string(attribute: 2) }
    package var subject: String? { attribute("subject") }

    /// Whether `bytes` are its id; makes no string.
    package func hasID(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var at: UInt32 = 0
        var attribute = fl_attribute()
        _ = fl_record_next_attribute(self.bytes, &at, &attribute)
        guard let own = UnsafeRawBufferPointer(span: attribute.value) else { return bytes.isEmpty }
        return own.elementsEqual(bytes)
    }

    package var key: String? { String(span: fl_record_key(bytes)) }

    /// The key's bytes, valid while this record is alive.
    package var keyBytes: UnsafeRawBufferPointer? { UnsafeRawBufferPointer(span: fl_record_key(bytes)) }

    package var dataKind: UInt8 { fl_record_data_kind(bytes) }

    /// The data's bytes as received, valid while this record is alive; at least ``FL_RECORD_PADDING`` more can be read.
    package var data: UnsafeRawBufferPointer {
        let span = fl_record_data(bytes)
        return UnsafeRawBufferPointer(start: span.bytes, count: span.length)
    }

    /// An attribute's canonical string; `name` in lower case.
    package func attribute(_ name: String) -> String? {
        var name = name
        return name.withUTF8 { String(span: fl_record_attribute(bytes, $0.baseAddress, $0.count)) }
    }

    private func string(attribute index: Int) -> String {
        var at: UInt32 = 0
        var attribute = fl_attribute()
        for _ in 0...index { _ = fl_record_next_attribute(bytes, &at, &attribute) }
        return String(span: attribute.value) ?? ""
    }

    /// The event taken apart, for the paths that handle few.
    package var event: Event {
        var at: UInt32 = 0
        var attribute = fl_attribute()
        var attributes: [Event.Attribute] = []
        while fl_record_next_attribute(bytes, &at, &attribute) != 0 {
            let name = String(span: attribute.name) ?? ""
            let value = String(span: attribute.value) ?? ""
            switch Int(attribute.type) {
            case FL_ATTRIBUTE_BOOLEAN: attributes.append(.init(name, .boolean(value == "true")))
            case FL_ATTRIBUTE_INTEGER: attributes.append(.init(name, .integer(Int32(value) ?? 0)))
            default: attributes.append(.init(name, .string(value)))
            }
        }
        let data: EventData =
            switch Int(dataKind) {
            case FL_DATA_JSON: .json(Array(self.data))
            case FL_DATA_TEXT: .text(Array(self.data))
            case FL_DATA_BINARY: .binary(Array(self.data))
            default: .none
            }
        return Event(
            id: attributes[0].value.canonical, source: attributes[1].value.canonical,
            type: attributes[2].value.canonical, attributes: Array(attributes.dropFirst(3)), data: data)
    }
}

extension UnsafeRawBufferPointer {
    package init?(span: fl_span) {
        guard let bytes = span.bytes else { return nil }
        self.init(start: bytes, count: span.length)
    }
}

extension String {
    init?(span: fl_span) {
        guard let bytes = UnsafeRawBufferPointer(span: span) else { return nil }
        self.init(decoding: bytes, as: UTF8.self)
    }
}
