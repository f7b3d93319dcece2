// SPDX-License-Identifier: Apache-2.0

import Events

/// Settled offsets above a position, as one blob: for each range two LEB128 numbers, the distance from the end of the one
/// before (or from the position), and the count less one.
enum SettledRanges {
    static func encode(_ ranges: [ClosedRange<Offset>], above position: Offset) -> [UInt8] {
        var bytes: [UInt8] = []
        var end = position
        for range in ranges {
            LEB128.append(range.lowerBound &- end, to: &bytes)
            LEB128.append(range.upperBound - range.lowerBound, to: &bytes)
            end = range.upperBound &+ 1
        }
        return bytes
    }

    /// Nil where the bytes aren't such a blob.
    static func decode(_ bytes: some Collection<UInt8>, above position: Offset) -> [ClosedRange<Offset>]? {
        var ranges: [ClosedRange<Offset>] = []
        var rest = bytes[...]
        var end = position
        while !rest.isEmpty {
            guard let distance = LEB128.number(from: &rest), let length = LEB128.number(from: &rest) else { return nil }
            let (lower, overflow) = end.addingReportingOverflow(distance)
            let (upper, beyond) = lower.addingReportingOverflow(length)
            guard !overflow, !beyond, upper < .max else { return nil }
            ranges.append(lower...upper)
            end = upper + 1
        }
        return ranges
    }

    /// Neighbours among rising offsets in one range.
    static func joining(_ offsets: some Sequence<Offset>) -> [ClosedRange<Offset>] {
        var ranges: [ClosedRange<Offset>] = []
        for offset in offsets {
            if let last = ranges.last, offset <= last.upperBound + 1 {
                ranges[ranges.count - 1] = last.lowerBound...max(offset, last.upperBound)
            } else {
                ranges.append(offset...offset)
            }
        }
        return ranges
    }
}
