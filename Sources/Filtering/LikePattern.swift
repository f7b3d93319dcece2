// SPDX-License-Identifier: Apache-2.0

/// SQL's pattern, compiled to bytes and two signs.
enum LikePattern {
    static let one: UInt16 = 256
    static let run: UInt16 = 257

    static func compile(_ text: String) -> [UInt16] {
        let bytes = Array(text.utf8)
        var pattern: [UInt16] = []
        var at = 0
        while at < bytes.count {
            switch bytes[at] {
            case UInt8(ascii: "%"):
                if pattern.last != run { pattern.append(run) }
            case UInt8(ascii: "_"): pattern.append(one)
            case UInt8(ascii: "\\")
            where at + 1 < bytes.count && (bytes[at + 1] == UInt8(ascii: "%") || bytes[at + 1] == UInt8(ascii: "_")):
                at += 1
                pattern.append(UInt16(bytes[at]))
            default: pattern.append(UInt16(bytes[at]))
            }
            at += 1
        }
        return pattern
    }

    /// Going back to the last `%` only is enough, so the cost is at most the product of the lengths.
    static func matches(_ pattern: UnsafeBufferPointer<UInt16>, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
        var at = 0
        var place = 0
        var lastRun = -1
        var resume = 0
        while at < text.count {
            if place < pattern.count, pattern[place] == run {
                lastRun = place
                resume = at
                place += 1
            } else if place < pattern.count, pattern[place] == one {
                at = afterCharacter(text, at)
                place += 1
            } else if place < pattern.count, pattern[place] == UInt16(text[at]) {
                at += 1
                place += 1
            } else if lastRun >= 0 {
                resume = afterCharacter(text, resume)
                at = resume
                place = lastRun + 1
            } else {
                return false
            }
        }
        while place < pattern.count, pattern[place] == run { place += 1 }
        return place == pattern.count
    }

    private static func afterCharacter(_ text: UnsafeBufferPointer<UInt8>, _ at: Int) -> Int {
        var next = at + 1
        while next < text.count, text[next] & 0xC0 == 0x80 { next += 1 }
        return next
    }
}
