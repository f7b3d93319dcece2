// SPDX-License-Identifier: Apache-2.0

import Events

/// The head of a request as nearly every program writes it, read where it lies: nothing is copied.
///
/// The grammar is the narrow middle of RFC 9112: HTTP/1.1, a target in origin form, `name: value` in visible ASCII, CR LF at the
/// end of every line, a body of `Content-Length` bytes or none. Every parser reads such a head alike, so that where its
/// request ends is beyond doubt. Whatever is not like that is ``Reading/foreign``, and left to the parser that reads
/// everything.
struct PlainRequest {
    enum Reading: Equatable {
        /// The end of the head is not there yet.
        case partial
        case foreign
        case whole
    }

    private(set) var method = 0..<0
    private(set) var target = 0..<0
    private(set) var fields: [(name: Range<Int>, value: Range<Int>)] = []
    private(set) var headLength = 0
    private(set) var contentLength = 0

    /// Head and body.
    var length: Int { headLength + contentLength }

    /// Reads `bytes` from the first on; what was read before is forgotten.
    mutating func read(_ bytes: UnsafeRawBufferPointer) -> Reading {
        fields.removeAll(keepingCapacity: true)
        contentLength = 0
        var isFramed = false
        var at = 0
        func find(_ end: UInt8, while isAllowed: (UInt8) -> Bool) -> Reading {
            while at < bytes.count, bytes[at] != end {
                guard isAllowed(bytes[at]) else { return .foreign }
                at += 1
            }
            return at < bytes.count ? .whole : .partial
        }
        func skip(_ text: StaticString) -> Reading {
            for index in 0..<text.utf8CodeUnitCount {
                guard at < bytes.count else { return .partial }
                guard bytes[at] == text.utf8Start[index] else { return .foreign }
                at += 1
            }
            return .whole
        }
        var reading = find(Self.space) { UInt8(ascii: "A")...UInt8(ascii: "Z") ~= $0 }
        guard reading == .whole else { return reading }
        method = 0..<at
        at += 1
        let begin = at
        reading = find(Self.space) { 0x21...0x7E ~= $0 && $0 != UInt8(ascii: "#") }
        guard reading == .whole else { return reading }
        target = begin..<at
        guard !method.isEmpty, !target.isEmpty, bytes[begin] == UInt8(ascii: "/") else { return .foreign }
        reading = skip(" HTTP/1.1\r\n")
        guard reading == .whole else { return reading }
        while true {
            guard at < bytes.count else { return .partial }
            if bytes[at] == Self.carriageReturn {
                reading = skip("\r\n")
                headLength = at
                return reading
            }
            let name = at
            reading = find(UInt8(ascii: ":"), while: Self.isOfName)
            guard reading == .whole else { return reading }
            let nameEnd = at
            at += 1
            while at < bytes.count, Self.isBlank(bytes[at]) { at += 1 }
            let value = at
            reading = find(Self.carriageReturn) { 0x20...0x7E ~= $0 || $0 == Self.tab }
            guard reading == .whole else { return reading }
            var valueEnd = at
            while valueEnd > value, Self.isBlank(bytes[valueEnd - 1]) { valueEnd -= 1 }
            reading = skip("\r\n")
            guard reading == .whole else { return reading }
            guard nameEnd > name, fields.count < Limits.headersMax else { return .foreign }
            fields.append((name..<nameEnd, value..<valueEnd))
            let bytesOfName = UnsafeRawBufferPointer(rebasing: bytes[name..<nameEnd])
            if Self.isEqual(bytesOfName, "content-length") {
                guard !isFramed, let length = Self.number(bytes[value..<valueEnd]) else { return .foreign }
                isFramed = true
                contentLength = length
            } else if Self.changesFraming(bytesOfName) {
                return .foreign
            }
        }
    }

    /// Headers with which a message is more than its `Content-Length`, or the connection something else.
    private static func changesFraming(_ name: UnsafeRawBufferPointer) -> Bool {
        switch name.count {
        case 2: isEqual(name, "te")
        case 6: isEqual(name, "expect")
        case 7: isEqual(name, "upgrade") || isEqual(name, "trailer")
        case 16: isEqual(name, "proxy-connection")
        case 17: isEqual(name, "transfer-encoding")
        default: false
        }
    }

    /// Whether `name` is `text`, which is in lower case, but for the case of its letters.
    static func isEqual(_ name: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        guard name.count == text.utf8CodeUnitCount else { return false }
        for index in 0..<name.count where lowercased(name[index]) != text.utf8Start[index] { return false }
        return true
    }

    static func lowercased(_ byte: UInt8) -> UInt8 {
        UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte ? byte | 0x20 : byte
    }

    /// Of digits only, and few enough that it is exact.
    private static func number(_ digits: Slice<UnsafeRawBufferPointer>) -> Int? {
        guard (1...15).contains(digits.count) else { return nil }
        var number = 0
        for digit in digits {
            guard UInt8(ascii: "0")...UInt8(ascii: "9") ~= digit else { return nil }
            number = number * 10 + Int(digit - UInt8(ascii: "0"))
        }
        return number
    }

    private static let space = UInt8(ascii: " ")
    private static let tab = UInt8(ascii: "\t")
    private static let carriageReturn = UInt8(ascii: "\r")

    private static func isBlank(_ byte: UInt8) -> Bool { byte == space || byte == tab }

    /// `tchar` of RFC 9110 section 5.6.2, less what nobody uses.
    private static func isOfName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
            true
        default: false
        }
    }
}
