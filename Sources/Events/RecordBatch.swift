// SPDX-License-Identifier: Apache-2.0

import CFairlead

/// Records of one topic in one run of bytes: what a publisher sent in one request, or what one read of the journal
/// brought. These bytes are what goes to disk, what filters look at and what Lua sees; nobody copies them.
///
/// Immutable from the moment the journal has stamped it. Until then it has one owner, who may ``stamp(first:time:outbox:)`` it.
package final class RecordBatch: @unchecked Sendable {
    package let topic: Topic
    /// The records, one after the other. ``FL_RECORD_PADDING`` more bytes can be read.
    package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: storage.baseAddress, count: byteCount) }
    package let byteCount: Int
    /// Where each record starts.
    package let starts: [UInt32]
    private let storage: UnsafeMutableRawBufferPointer

    /// Takes over `storage`, of which `byteCount` bytes hold records and ``FL_RECORD_PADDING`` more are readable.
    package init(topic: Topic, storage: UnsafeMutableRawBufferPointer, byteCount: Int, starts: [UInt32]) {
        precondition(byteCount + FL_RECORD_PADDING <= storage.count, "a batch has its padding")
        self.topic = topic
        self.storage = storage
        self.byteCount = byteCount
        self.starts = starts
    }

    deinit {
        storage.deallocate()
    }

    package var count: Int { starts.count }
    package subscript(index: Int) -> Record { Record(batch: self, start: Int(starts[index])) }
    package var first: Offset { self[0].offset }
    package var last: Offset { self[count - 1].offset }

    /// Gives the records their offsets, time and checksum. The journal calls it, once, before it shows the batch to
    /// anyone else; so does whoever makes up an event to see what filters say of it.
    package func stamp(first: Offset, time: Timestamp) {
        var offset = first
        for start in starts {
            let record = storage.baseAddress! + Int(start)
            fl_record_set_offset(record, offset)
            fl_record_set_time(record, time.milliseconds)
            fl_record_set_crc(record, fl_crc32c(0, record + 8, Int(fl_record_length(record)) - 8))
            offset += 1
        }
    }

    /// Takes over bytes that came from disk: keeps the records that are framed and whose checksum is right, up to
    /// the first that isn't. `validBytes` is how far that was.
    package static func verified(
        topic: Topic, storage: UnsafeMutableRawBufferPointer, byteCount: Int
    ) -> (batch: RecordBatch, validBytes: Int) {
        var starts: [UInt32] = []
        var at = 0
        while at < byteCount {
            let record = UnsafeRawPointer(storage.baseAddress!) + at
            guard fl_record_is_framed(record, byteCount - at) != 0 else { break }
            let length = Int(fl_record_length(record))
            guard fl_crc32c(0, record + 8, length - 8) == fl_record_crc(record) else { break }
            starts.append(UInt32(at))
            at += length
        }
        return (RecordBatch(topic: topic, storage: storage, byteCount: at, starts: starts), at)
    }

    /// A batch of only those records whose place in this batch `keep` names; the bytes are copied.
    package func selecting(_ keep: [Int]) -> RecordBatch {
        let size = keep.reduce(0) { $0 + self[$1].byteCount }
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: size + Int(FL_RECORD_PADDING), alignment: 8)
        var starts: [UInt32] = []
        var at = 0
        for index in keep {
            let record = self[index]
            (copy.baseAddress! + at).copyMemory(from: record.bytes, byteCount: record.byteCount)
            starts.append(UInt32(at))
            at += record.byteCount
        }
        return RecordBatch(topic: topic, storage: copy, byteCount: at, starts: starts)
    }
}
