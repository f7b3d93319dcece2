// SPDX-License-Identifier: Apache-2.0

import CFairlead
package import Events

/// An attribute's canonical string.
package struct AttributeKey: KeyExtractor {
    private let name: [UInt8]

    /// `name` in lower case.
    package init(_ name: String) {
        self.name = Array(name.utf8)
    }

    package func withKey(of record: UnsafeRawPointer, _ body: (UnsafeRawBufferPointer) -> Void) {
        let span = name.withUnsafeBytes { fl_record_attribute(record, $0.baseAddress, $0.count) }
        if let bytes = UnsafeRawBufferPointer(span: span) { body(bytes) }
    }
}

/// A scalar of the data: text as it is, numbers and booleans as their canonical text. Null, arrays and objects are no
/// key. Any number of threads may use it: each has a parser of its own.
package struct DataKey: KeyExtractor {
    private let paths: DataPaths

    /// nil where there is no memory.
    package init?(_ path: DataPath) {
        guard let paths = DataPaths([path]) else { return nil }
        self.paths = paths
    }

    package func withKey(of record: UnsafeRawPointer, _ body: (UnsafeRawBufferPointer) -> Void) {
        guard fl_record_data_kind(record) == UInt8(FL_DATA_JSON),
            let data = UnsafeRawBufferPointer(span: fl_record_data(record))
        else { return }
        let reader = DataReader.ofThread
        var value = fl_value()
        paths.extract(from: data, with: reader, into: &value)
        let text: String
        switch Int(value.kind) {
        case FL_VALUE_STRING:
            return body(UnsafeRawBufferPointer(start: value.bytes, count: Int(value.length)))
        case FL_VALUE_INTEGER: text = String(value.integer)
        case FL_VALUE_NUMBER: text = DecimalText.canonical(value.number)
        case FL_VALUE_BOOLEAN: text = value.integer != 0 ? "true" : "false"
        default: return
        }
        var copy = text
        copy.withUTF8 { body(UnsafeRawBufferPointer($0)) }
    }
}
