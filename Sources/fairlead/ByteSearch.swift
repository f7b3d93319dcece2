// SPDX-License-Identifier: Apache-2.0

/// Finds a text in bytes, skipping what can't hold it (Horspool, "Practical fast searching in strings", 1980).
struct ByteSearch {
    private let text: [UInt8]
    /// How far to go on, by the byte that stands under the text's last.
    private let skips: [Int]

    init(_ text: String) {
        self.text = Array(text.utf8)
        var skips = [Int](repeating: self.text.count, count: 256)
        for (place, byte) in self.text.dropLast().enumerated() { skips[Int(byte)] = self.text.count - 1 - place }
        self.skips = skips
    }

    var count: Int { text.count }

    /// Where the text stands first at `from` or after it.
    func place(in bytes: UnsafeRawBufferPointer, from: Int = 0) -> Int? {
        text.withUnsafeBufferPointer { text in
            skips.withUnsafeBufferPointer { skips in
                let last = text.count - 1
                var at = from
                while at + last < bytes.count {
                    let byte = bytes[at + last]
                    if byte == text[last], bytes[at..<(at + last)].elementsEqual(text[..<last]) { return at }
                    at += skips[Int(byte)]
                }
                return nil
            }
        }
    }
}
