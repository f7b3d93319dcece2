// SPDX-License-Identifier: Apache-2.0

/// Makes ids for events that come without one: ULIDs, 48 bits of milliseconds and 80 random bits in 26 letters of
/// Crockford's base32, that rise within one generator (https://github.com/ulid/spec).
package struct ULIDGenerator: Sendable {
    package static let length = 26

    private var high: UInt64
    private var low: UInt64

    package init(time: Timestamp) {
        var random = SystemRandomNumberGenerator()
        // The random part's top bit starts as 0, so that counting up never runs over.
        high = UInt64(truncatingIfNeeded: time.milliseconds) << 16 | UInt64.random(in: 0...0x7FFF, using: &random)
        low = random.next()
    }

    /// Calls `body` with the next id's 26 letters.
    package mutating func next<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        low &+= 1
        if low == 0 { high &+= 1 }
        return withUnsafeTemporaryAllocation(byteCount: Self.length, alignment: 1) { text in
            var high = high
            var low = low
            for at in stride(from: Self.length - 1, through: 0, by: -1) {
                text[at] = Self.letter(UInt8(truncatingIfNeeded: low & 31))
                low = low >> 5 | high << 59
                high >>= 5
            }
            return body(UnsafeRawBufferPointer(text))
        }
    }

    package mutating func next() -> String {
        next { String(decoding: $0, as: UTF8.self) }
    }

    /// Crockford's alphabet: the digits, then the letters without I, L, O and U.
    private static func letter(_ value: UInt8) -> UInt8 {
        switch value {
        case 0..<10: UInt8(ascii: "0") + value
        case 10..<18: UInt8(ascii: "A") + value - 10
        case 18..<20: UInt8(ascii: "J") + value - 18
        case 20..<22: UInt8(ascii: "M") + value - 20
        case 22..<27: UInt8(ascii: "P") + value - 22
        default: UInt8(ascii: "V") + value - 27
        }
    }
}
