// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events

/// The first bytes of a segment file. Little-endian; nothing is padded.
///
///     at  field        type
///      0  magic        8 bytes  "FLSEGMNT"
///      8  version      u32      of the segment and of its records (fl_record.h)
///     12  flags        u32      bit 0: records are shown before they are synced (the topic has a sync interval)
///     16  first        u64      offset of the first record; also the file's name
///     24  previousEnd  u64      one past the last offset before this segment; less than `first` where offsets
///                               were left out on purpose
///     32  created      i64      milliseconds since 1970-01-01 UTC
///     40               20 bytes of zeros
///     60  crc          u32      CRC-32C of bytes 0 ..< 60
///
/// It is on disk before the segment's first record is written: a last segment of zeros alone never held any.
struct SegmentHeader: Hashable {
    static let byteCount = 64
    static let version: UInt32 = 1
    private static let magic = Array("FLSEGMNT".utf8)
    private static let relaxedFlag: UInt32 = 1

    var first: Offset
    var previousEnd: Offset
    var created: Timestamp
    var isRelaxed: Bool

    enum Fault: Error, Hashable {
        case zeros
        case damaged
        case newer(UInt32)
    }

    var encoded: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Self.byteCount)
        bytes.withUnsafeMutableBytes { bytes in
            bytes.copyBytes(from: Self.magic)
            bytes.store(Self.version, at: 8)
            bytes.store(isRelaxed ? Self.relaxedFlag : 0, at: 12)
            bytes.store(first, at: 16)
            bytes.store(previousEnd, at: 24)
            bytes.store(created.milliseconds, at: 32)
            bytes.store(fl_crc32c(0, bytes.baseAddress, 60), at: 60)
        }
        return bytes
    }

    init(first: Offset, previousEnd: Offset, created: Timestamp, isRelaxed: Bool) {
        self.first = first
        self.previousEnd = previousEnd
        self.created = created
        self.isRelaxed = isRelaxed
    }

    init(decoding bytes: [UInt8]) throws(Fault) {
        guard bytes.contains(where: { $0 != 0 }) else { throw .zeros }
        guard bytes.count == Self.byteCount, bytes.starts(with: Self.magic) else { throw .damaged }
        let raw = bytes.withUnsafeBytes { raw in
            (
                version: raw.load(UInt32.self, at: 8), flags: raw.load(UInt32.self, at: 12),
                first: raw.load(UInt64.self, at: 16), previousEnd: raw.load(UInt64.self, at: 24),
                created: raw.load(Int64.self, at: 32), crc: raw.load(UInt32.self, at: 60),
                computed: fl_crc32c(0, raw.baseAddress, 60)
            )
        }
        guard raw.crc == raw.computed else { throw .damaged }
        guard raw.version <= Self.version else { throw .newer(raw.version) }
        self.init(
            first: raw.first, previousEnd: raw.previousEnd, created: Timestamp(milliseconds: raw.created),
            isRelaxed: raw.flags & Self.relaxedFlag != 0)
    }
}

extension UnsafeMutableRawBufferPointer {
    func store(_ value: some FixedWidthInteger & BitwiseCopyable, at offset: Int) {
        storeBytes(of: value.littleEndian, toByteOffset: offset, as: type(of: value))
    }
}

extension UnsafeRawBufferPointer {
    func load<Value: FixedWidthInteger & BitwiseCopyable>(_ type: Value.Type, at offset: Int) -> Value {
        Value(littleEndian: loadUnaligned(fromByteOffset: offset, as: type))
    }
}
