// SPDX-License-Identifier: Apache-2.0

/// Numbers of seven bits a byte, the lowest first; the eighth bit says that more follow.
enum LEB128 {
    static func append(_ number: UInt64, to bytes: inout [UInt8]) {
        var rest = number
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    static func number<Bytes: Collection<UInt8>>(from bytes: inout Bytes) -> UInt64?
    where Bytes.SubSequence == Bytes {
        var number: UInt64 = 0
        var shift = 0
        while let byte = bytes.popFirst() {
            guard shift < 64, shift < 63 || byte <= 1 else { return nil }
            number |= UInt64(byte & 0x7F) << UInt64(shift)
            if byte & 0x80 == 0 { return number }
            shift += 7
        }
        return nil
    }
}
