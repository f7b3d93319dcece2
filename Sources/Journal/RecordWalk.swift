// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events

/// Walks the records of a segment in order, through a window of its bytes, and checks each.
/// Used by one thread at a time.
final class RecordWalk {
    struct Found: Hashable {
        var offset: Offset
        var time: Timestamp
        var position: Int
        var byteCount: Int
    }

    enum Step: Hashable {
        case record(Found)
        /// The bytes at `position` are no whole, right record with an offset of at least `expected`.
        case bad
        case end
    }

    /// Where the next record starts.
    private(set) var position: Int
    /// The lowest offset that the next record may have.
    private(set) var expected: Offset
    private let file: any StorageFile
    private let limit: Int
    private var window = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    private var windowStart = 0
    private var windowCount = 0
    private static let windowBytes = 64 << 10

    /// Bytes at `limit` and beyond are never looked at.
    init(_ file: any StorageFile, from position: Int, expecting expected: Offset, limit: Int) {
        self.file = file
        self.position = position
        self.expected = expected
        self.limit = limit
    }

    deinit {
        window.deallocate()
    }

    func next() throws(StorageError) -> Step {
        guard position < limit else { return .end }
        guard let found = try peek() else { return .bad }
        position += found.byteCount
        expected = found.offset + 1
        return .record(found)
    }

    /// The next record, if it is right; the walk stays where it is.
    func peek() throws(StorageError) -> Found? {
        guard position < limit, let found = try record(at: position), found.offset >= expected else { return nil }
        return found
    }

    /// After a ``Step/bad``: goes on to the next right record whose offset is below `bound`; false where there is none,
    /// and the walk is at its end.
    func skipDamage(before bound: Offset = .max) throws(StorageError) -> Bool {
        let acceptable = { [expected] (found: Found) in found.offset >= expected && found.offset < bound }
        // The length alone is often right: then the next record lies where it says.
        if let length = try plausibleLength(at: position) {
            if position + length == limit {
                position = limit
                return false
            }
            if let found = try record(at: position + length), acceptable(found) {
                position = found.position
                return true
            }
        }
        var at = position + 1
        while at + Int(FL_RECORD_HEADER_BYTES) <= limit {
            if let found = try record(at: at), acceptable(found) {
                position = at
                return true
            }
            at += 1
        }
        position = limit
        return false
    }

    /// Goes on at a place known to be the start of a record that isn't before `expected`.
    func jump(to position: Int, expecting expected: Offset) {
        self.position = position
        self.expected = expected
    }

    /// Whether only zeros lie between the walk's place and its limit.
    func isZeroToEnd() throws(StorageError) -> Bool {
        var at = position
        while at < limit {
            let count = min(limit - at, Self.windowBytes)
            guard let bytes = try bytes(at: at, count: count) else { return true }
            if bytes.contains(where: { $0 != 0 }) { return false }
            at += count
        }
        return true
    }

    private func plausibleLength(at position: Int) throws(StorageError) -> Int? {
        let headerBytes = Int(FL_RECORD_HEADER_BYTES)
        guard position + headerBytes <= limit, let header = try bytes(at: position, count: headerBytes) else {
            return nil
        }
        let available = min(limit - position, Limits.recordBytesMax)
        // Only the header is looked at here: whether it agrees with itself and fits what is left.
        guard fl_record_is_framed(header.baseAddress, available) != 0 else { return nil }
        return Int(fl_record_length(header.baseAddress))
    }

    private func record(at position: Int) throws(StorageError) -> Found? {
        guard let length = try plausibleLength(at: position), let bytes = try bytes(at: position, count: length),
            fl_crc32c(0, bytes.baseAddress! + 8, length - 8) == fl_record_crc(bytes.baseAddress)
        else { return nil }
        return Found(
            offset: fl_record_offset(bytes.baseAddress),
            time: Timestamp(milliseconds: fl_record_time(bytes.baseAddress)), position: position, byteCount: length)
    }

    private func bytes(at position: Int, count: Int) throws(StorageError) -> UnsafeRawBufferPointer? {
        if position < windowStart || position + count > windowStart + windowCount {
            if window.count < count || window.baseAddress == nil {
                window.deallocate()
                window = .allocate(byteCount: max(count, min(Self.windowBytes, limit - position)), alignment: 8)
            }
            let wanted = UnsafeMutableRawBufferPointer(rebasing: window[..<min(window.count, limit - position)])
            windowStart = position
            windowCount = try file.read(at: position, into: wanted)
            guard windowCount >= count else { return nil }
        }
        let start = position - windowStart
        return UnsafeRawBufferPointer(rebasing: window[start..<start + count])
    }
}
