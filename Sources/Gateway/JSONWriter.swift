// SPDX-License-Identifier: Apache-2.0

import Events

/// Writes one JSON value; events are copied in as they are.
struct JSONWriter {
    private(set) var bytes: [UInt8] = []
    /// Whether the next member or element has one before it.
    private var follows = false

    init(capacity: Int = 256) {
        bytes.reserveCapacity(capacity)
    }

    static func object(_ body: (inout JSONWriter) -> Void) -> [UInt8] {
        var writer = JSONWriter()
        writer.object(body)
        return writer.bytes
    }

    mutating func object(_ body: (inout JSONWriter) -> Void) { nested("{", "}", body) }
    mutating func array(_ body: (inout JSONWriter) -> Void) { nested("[", "]", body) }

    mutating func object(_ name: StaticString, _ body: (inout JSONWriter) -> Void) {
        key(name)
        object(body)
    }

    mutating func array(_ name: StaticString, _ body: (inout JSONWriter) -> Void) {
        key(name)
        array(body)
    }

    mutating func field(_ name: StaticString, _ value: String) {
        key(name)
        self.value(value)
    }

    /// Leaves the member out where there is no value.
    mutating func field(_ name: StaticString, ifPresent value: String?) {
        if let value { field(name, value) }
    }

    mutating func field(_ name: StaticString, _ value: some BinaryInteger) {
        key(name)
        self.value(value)
    }

    mutating func field(_ name: StaticString, ifPresent value: (some BinaryInteger)?) {
        if let value { field(name, value) }
    }

    mutating func field(_ name: StaticString, _ value: Bool) {
        key(name)
        separate()
        bytes.append(contentsOf: (value ? "true" : "false").utf8)
    }

    mutating func field(_ name: StaticString, _ time: Timestamp) { field(name, RFC3339.format(time)) }

    mutating func field(_ name: StaticString, _ record: Record) {
        key(name)
        separate()
        EventEncoder.append(record, to: &bytes)
    }

    mutating func field(_ name: StaticString, _ event: Event) {
        key(name)
        separate()
        EventEncoder.append(event, to: &bytes)
    }

    /// `json` is JSON text, put in as it is.
    mutating func field(_ name: StaticString, json: [UInt8]) {
        key(name)
        separate()
        bytes += json
    }

    mutating func value(_ text: String) {
        separate()
        JSONText.append(text, to: &bytes)
    }

    mutating func value(_ number: some BinaryInteger) {
        separate()
        bytes.append(contentsOf: String(number).utf8)
    }

    private mutating func key(_ name: StaticString) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        bytes.append(contentsOf: UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
        bytes.append(contentsOf: "\":".utf8)
        follows = false
    }

    private mutating func separate() {
        if follows { bytes.append(UInt8(ascii: ",")) }
        follows = true
    }

    private mutating func nested(_ open: Unicode.Scalar, _ close: Unicode.Scalar, _ body: (inout JSONWriter) -> Void) {
        separate()
        bytes.append(UInt8(ascii: open))
        follows = false
        body(&self)
        bytes.append(UInt8(ascii: close))
        follows = true
    }
}
