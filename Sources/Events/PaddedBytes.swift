// SPDX-License-Identifier: Apache-2.0

import CFairlead

/// Bytes with ``FL_RECORD_PADDING`` readable ones behind them, as the JSON decoder needs. Grows like an array.
package struct PaddedBytes: ~Copyable {
    private var storage: UnsafeMutableRawBufferPointer
    package private(set) var count = 0

    /// `capacity` is a guess that saves growing.
    package init(capacity: Int = 0) {
        storage = .allocate(byteCount: max(capacity, 256) + Int(FL_RECORD_PADDING), alignment: 16)
        // Read by simdjson as a whole block, so never left undefined.
        pad()
    }

    package init(_ bytes: some Collection<UInt8>) {
        self.init(capacity: bytes.count)
        if bytes.withContiguousStorageIfAvailable({ append(UnsafeRawBufferPointer($0)) }) == nil {
            Array(bytes).withUnsafeBytes { append($0) }
        }
    }

    deinit {
        storage.deallocate()
    }

    package mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress else { return }
        let needed = count + bytes.count + Int(FL_RECORD_PADDING)
        if needed > storage.count {
            let larger = UnsafeMutableRawBufferPointer.allocate(
                byteCount: max(needed, storage.count * 2), alignment: 16)
            larger.baseAddress!.copyMemory(from: storage.baseAddress!, byteCount: count)
            storage.deallocate()
            storage = larger
        }
        (storage.baseAddress! + count).copyMemory(from: source, byteCount: bytes.count)
        count += bytes.count
        pad()
    }

    /// Empties it; keeps its memory where that is `bytes` at most, to be filled again.
    package mutating func removeAll(keepingUpTo bytes: Int) {
        count = 0
        if storage.count > bytes + Int(FL_RECORD_PADDING) {
            storage.deallocate()
            storage = .allocate(byteCount: 256 + Int(FL_RECORD_PADDING), alignment: 16)
        }
        pad()
    }

    private func pad() {
        (storage.baseAddress! + count).initializeMemory(as: UInt8.self, repeating: 0, count: Int(FL_RECORD_PADDING))
    }

    /// Valid during `body`.
    package func withBytes<Result, Refusal: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Refusal) -> Result
    ) throws(Refusal) -> Result {
        try body(UnsafeRawBufferPointer(start: storage.baseAddress, count: count))
    }
}
