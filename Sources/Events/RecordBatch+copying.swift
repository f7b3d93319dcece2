// SPDX-License-Identifier: Apache-2.0

import CFairlead

extension RecordBatch {
    /// Records that were kept elsewhere than in a journal, as in the ledger: a copy of `bytes` with its padding.
    /// Nil where they aren't whole records with right checksums, one after the other.
    package static func copying(_ bytes: UnsafeRawBufferPointer, topic: Topic) -> RecordBatch? {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count + Int(FL_RECORD_PADDING), alignment: 8)
        if let source = bytes.baseAddress { copy.baseAddress!.copyMemory(from: source, byteCount: bytes.count) }
        let (batch, validBytes) = verified(topic: topic, storage: copy, byteCount: bytes.count)
        return validBytes == bytes.count ? batch : nil
    }

    /// One record that was kept by itself; nil where the bytes are damaged, or are another number of records.
    package static func single(_ bytes: [UInt8], topic: String) -> RecordBatch? {
        let batch = bytes.withUnsafeBytes { copying($0, topic: .named(topic)) }
        return batch?.count == 1 ? batch : nil
    }
}
