// SPDX-License-Identifier: Apache-2.0

import CFairlead

/// Attribute values in HTTP headers: CloudEvents 1.0.2, HTTP binding, section 3.1.3.2.
package enum HeaderText {
    /// Percent-encodes space, `"`, `%` and everything outside U+0021 to U+007E, in upper-case hex.
    package static func encode(_ value: String) -> String {
        let hex = Array("0123456789ABCDEF".utf8)
        var text: [UInt8] = []
        for byte in value.utf8 {
            if byte > 0x20, byte < 0x7F, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "%") {
                text.append(byte)
            } else {
                text.append(UInt8(ascii: "%"))
                text.append(hex[Int(byte >> 4)])
                text.append(hex[Int(byte & 15)])
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Undoes a double-quoted string, then one round of percent-encoding.
    ///
    /// - Throws: a text for the sender where a `%` isn't followed by two hexadecimal digits, a quoted string doesn't
    ///   end, or the bytes aren't UTF-8.
    package static func decode(_ text: String) throws(HeaderTextError) -> [UInt8] {
        var bytes = Array(text.utf8)
        if bytes.first == UInt8(ascii: "\"") { bytes = try unquoted(bytes) }
        if bytes.contains(UInt8(ascii: "%")) { bytes = try percentDecoded(bytes) }
        let isUTF8 = bytes.withUnsafeBufferPointer { fl_is_utf8($0.baseAddress, $0.count) != 0 }
        guard isUTF8 else { throw HeaderTextError(reason: "isn't UTF-8 after percent-decoding") }
        return bytes
    }

    private static func unquoted(_ bytes: [UInt8]) throws(HeaderTextError) -> [UInt8] {
        var out: [UInt8] = []
        var at = 1
        while at < bytes.count {
            switch bytes[at] {
            case UInt8(ascii: "\""):
                guard at == bytes.count - 1 else {
                    throw HeaderTextError(reason: "goes on behind its closing quote")
                }
                return out
            case UInt8(ascii: "\\") where at + 1 < bytes.count:
                out.append(bytes[at + 1])
                at += 2
            default:
                out.append(bytes[at])
                at += 1
            }
        }
        throw HeaderTextError(reason: "has no closing quote")
    }

    private static func percentDecoded(_ bytes: [UInt8]) throws(HeaderTextError) -> [UInt8] {
        var out: [UInt8] = []
        var at = 0
        while at < bytes.count {
            guard bytes[at] == UInt8(ascii: "%") else {
                out.append(bytes[at])
                at += 1
                continue
            }
            guard at + 2 < bytes.count, let high = hexValue(bytes[at + 1]), let low = hexValue(bytes[at + 2]) else {
                throw HeaderTextError(
                    reason: "has a \"%\" without two hexadecimal digits; a plain \"%\" is sent as %25")
            }
            out.append(high << 4 | low)
            at += 3
        }
        return out
    }

    private static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

/// Completes a sentence that starts with the header's name.
package struct HeaderTextError: Error, Hashable, Sendable {
    package var reason: String
}
