// SPDX-License-Identifier: Apache-2.0

/// One file's bytes, and where its lines start.
final class SourceText: Sendable {
    let path: String
    let bytes: [UInt8]
    private let lineStarts: [Int]
    /// The continuation bytes of UTF-8 before each ``blockBytes``, so that a column costs the same in any line.
    private let continuations: [Int]
    private static let blockBytes = 1 << 6

    init(path: String, bytes: [UInt8]) {
        self.path = path
        self.bytes = bytes
        var starts = [0]
        var continuations: [Int] = []
        bytes.withUnsafeBufferPointer { bytes in
            var at = 0
            var sum = 0
            while at < bytes.count {
                if at % Self.blockBytes == 0 { continuations.append(sum) }
                if bytes[at] == UInt8(ascii: "\n") { starts.append(at + 1) }
                if bytes[at] & 0xC0 == 0x80 { sum += 1 }
                at += 1
            }
            continuations.append(sum)
        }
        lineStarts = starts
        self.continuations = continuations
    }

    /// The first line longer than `bound` bytes, from 1.
    func firstLine(longerThan bound: Int) -> Int? {
        for index in lineStarts.indices where lineRange(index).count > bound { return index + 1 }
        return nil
    }

    func place(of offset: Int) -> Place {
        let line = lineIndex(of: offset)
        let column =
            scalars(before: max(lineStarts[line], min(offset, bytes.count))) - scalars(before: lineStarts[line])
        // A byte-order mark is no character of the line.
        let mark = line == 0 && bytes.starts(with: Self.byteOrderMark) && offset >= 3 ? 1 : 0
        return Place(file: path, line: line + 1, column: column + 1 - mark)
    }

    private func scalars(before offset: Int) -> Int {
        let block = offset / Self.blockBytes
        var count = offset - continuations[min(block, continuations.count - 1)]
        for byte in bytes[min(block * Self.blockBytes, offset)..<offset] where byte & 0xC0 == 0x80 { count -= 1 }
        return count
    }

    /// The line that `offset` is in, without its line break and without a byte-order mark.
    func line(of offset: Int) -> String {
        var range = lineRange(lineIndex(of: offset))
        if range.lowerBound == 0, bytes.starts(with: Self.byteOrderMark) { range = 3..<max(3, range.upperBound) }
        return text(range)
    }

    func text(_ range: Range<Int>) -> String {
        String(decoding: bytes[range.clamped(to: 0..<bytes.count)], as: UTF8.self)
    }

    static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]

    private func lineIndex(of offset: Int) -> Int {
        var low = 0
        var high = lineStarts.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if lineStarts[middle] <= offset { low = middle } else { high = middle }
        }
        return low
    }

    private func lineRange(_ index: Int) -> Range<Int> {
        let start = lineStarts[index]
        var end = index + 1 < lineStarts.count ? lineStarts[index + 1] - 1 : bytes.count
        if end > start, bytes[end - 1] == UInt8(ascii: "\r") { end -= 1 }
        return start..<end
    }
}
