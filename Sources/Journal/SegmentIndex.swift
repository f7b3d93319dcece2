// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events

/// A place in a segment where a record starts.
struct IndexPoint: Hashable {
    var offset: Offset
    var position: Int
    var time: Timestamp
}

/// The file beside a segment that says where its records are, every ``Limits/indexIntervalBytes``. It can always be
/// made again from the segment, so each part is checked by itself and what is wrong is dropped. Little-endian.
///
///     at  field     type
///      0  magic     8 bytes  "FLSEGIDX"
///      8  version   u32
///     12            4 bytes of zeros
///     16  first     u64      the segment's first offset
///     24            4 bytes of zeros
///     28  crc       u32      CRC-32C of bytes 0 ..< 28
///     32  entries            32 bytes each: crc u32 (of the 28 bytes after it), kind u32, offset u64,
///                            position u64, time i64
///
/// Kind 1 is a record; kind 2, the last entry of a sealed segment, says where it ends: one past its last offset,
/// one past its last byte, and its last record's time.
struct SegmentIndex {
    static let headerByteCount = 32
    static let entryByteCount = 32
    private static let version: UInt32 = 1
    private static let magic = Array("FLSEGIDX".utf8)
    private static let pointKind: UInt32 = 1
    private static let endKind: UInt32 = 2

    var points: [IndexPoint] = []
    var end: IndexPoint?

    static func header(first: Offset) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: headerByteCount)
        bytes.withUnsafeMutableBytes { bytes in
            bytes.copyBytes(from: magic)
            bytes.store(version, at: 8)
            bytes.store(first, at: 16)
            bytes.store(fl_crc32c(0, bytes.baseAddress, 28), at: 28)
        }
        return bytes
    }

    static func entries(_ points: some Collection<IndexPoint>, end: IndexPoint?) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: (points.count + (end == nil ? 0 : 1)) * entryByteCount)
        bytes.withUnsafeMutableBytes { bytes in
            var at = 0
            func store(_ point: IndexPoint, kind: UInt32) {
                bytes.store(kind, at: at + 4)
                bytes.store(point.offset, at: at + 8)
                bytes.store(UInt64(point.position), at: at + 16)
                bytes.store(point.time.milliseconds, at: at + 24)
                bytes.store(fl_crc32c(0, bytes.baseAddress! + at + 4, entryByteCount - 4), at: at)
                at += entryByteCount
            }
            for point in points { store(point, kind: pointKind) }
            if let end { store(end, kind: endKind) }
        }
        return bytes
    }

    /// What of `file` can be trusted; nil where it isn't the index of the segment that starts at `first`.
    init?(reading file: any StorageFile, first: Offset) throws(StorageError) {
        self.init(decoding: try file.bytes(at: 0, count: try file.size()), first: first)
    }

    init?(decoding bytes: [UInt8], first: Offset) {
        guard bytes.starts(with: Self.header(first: first)) else { return nil }
        bytes.withUnsafeBytes { bytes in
            var at = Self.headerByteCount
            while at + Self.entryByteCount <= bytes.count, let entry = Self.entry(bytes, at) {
                if entry.kind == Self.endKind {
                    end = entry.point
                    return
                }
                let previous = points.last
                guard entry.point.position >= SegmentHeader.byteCount, entry.point.offset >= first,
                    previous == nil
                        || previous!.offset < entry.point.offset && previous!.position < entry.point.position
                else { return }
                points.append(entry.point)
                at += Self.entryByteCount
            }
        }
    }

    /// The end of a sealed segment, read from the last entry alone; nil where that isn't one.
    static func end(of file: any StorageFile, first: Offset) throws(StorageError) -> IndexPoint? {
        let size = try file.size()
        guard size >= headerByteCount + entryByteCount, (size - headerByteCount) % entryByteCount == 0 else {
            return nil
        }
        let tail = try file.bytes(at: size - entryByteCount, count: entryByteCount)
        guard try file.bytes(at: 0, count: headerByteCount) == header(first: first), tail.count == entryByteCount else {
            return nil
        }
        let entry = tail.withUnsafeBytes { Self.entry($0, 0) }
        return entry?.kind == endKind ? entry?.point : nil
    }

    private static func entry(_ bytes: UnsafeRawBufferPointer, _ at: Int) -> (kind: UInt32, point: IndexPoint)? {
        let crc = bytes.load(UInt32.self, at: at)
        guard crc == fl_crc32c(0, bytes.baseAddress! + at + 4, entryByteCount - 4) else { return nil }
        let kind = bytes.load(UInt32.self, at: at + 4)
        guard let position = Int(exactly: bytes.load(UInt64.self, at: at + 16)), kind == pointKind || kind == endKind
        else { return nil }
        return (
            kind,
            IndexPoint(
                offset: bytes.load(UInt64.self, at: at + 8), position: position,
                time: Timestamp(milliseconds: bytes.load(Int64.self, at: at + 24)))
        )
    }

    init(points: [IndexPoint] = [], end: IndexPoint? = nil) {
        self.points = points
        self.end = end
    }
}

extension [IndexPoint] {
    /// The last point that isn't after `offset`.
    func last(notAfter offset: Offset) -> IndexPoint? {
        let after = partitioningIndex { $0.offset > offset }
        return after == 0 ? nil : self[after - 1]
    }

    /// The last point that is before `time`.
    func last(before time: Timestamp) -> IndexPoint? {
        let after = partitioningIndex { $0.time >= time }
        return after == 0 ? nil : self[after - 1]
    }
}

extension RandomAccessCollection where Index == Int {
    /// The first place for which `belongsAfter` is true, where it is false before and true from there on.
    func partitioningIndex(_ belongsAfter: (Element) -> Bool) -> Int {
        var low = startIndex
        var high = endIndex
        while low < high {
            let middle = low + (high - low) / 2
            if belongsAfter(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
