// SPDX-License-Identifier: Apache-2.0

/// Names a lease: the answer to a pull that granted it, and its place in that answer. As text `6f3k2m-17`.
package struct LeaseID: Hashable, Sendable {
    package var batch: UInt64
    package var index: Int

    package init(batch: UInt64, index: Int) {
        self.batch = batch
        self.index = index
    }

    /// nil where it is nothing that a pull would have given.
    package init?(_ text: String) {
        var text = text
        let parsed: LeaseID? = text.withUTF8 { bytes in
            var batch: UInt64 = 0
            var at = 0
            while at < bytes.count, bytes[at] != UInt8(ascii: "-") {
                let digit: UInt64
                switch bytes[at] {
                case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = UInt64(bytes[at] - UInt8(ascii: "0"))
                case UInt8(ascii: "a")...UInt8(ascii: "z"): digit = UInt64(bytes[at] - UInt8(ascii: "a")) + 10
                default: return nil
                }
                // Twelve digits of base 36 fit with room.
                guard at < 12 else { return nil }
                batch = batch * 36 + digit
                at += 1
            }
            let digits = bytes.dropFirst(at + 1)
            guard at > 0, (1...8).contains(digits.count) else { return nil }
            var index = 0
            for byte in digits {
                guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
                index = index * 10 + Int(byte - UInt8(ascii: "0"))
            }
            return LeaseID(batch: batch, index: index)
        }
        guard let parsed else { return nil }
        self = parsed
    }

    package var text: String { "\(String(batch, radix: 36))-\(index)" }
}
