// SPDX-License-Identifier: Apache-2.0

package import CFairlead

/// A compiled set of ``DataPath``s: their values come out of a JSON text in one pass. Immutable.
package final class DataPaths: @unchecked Sendable {
    package let paths: [DataPath]
    private let compiled: OpaquePointer

    /// Place `n` of an extraction is `paths[n]`'s value. Where `countingElements` holds a place, an array there comes
    /// with the number of its elements. nil where `[n]` and `[*]` combine beyond
    /// `FL_PATHS_STATES_EXTRA_MAX`; one path alone never does.
    package init?(_ paths: [DataPath], countingElements: Set<Int> = []) {
        self.paths = paths
        guard let compiled = fl_paths_new() else { return nil }
        self.compiled = compiled
        for (place, path) in paths.enumerated() {
            guard Self.add(path, counting: countingElements.contains(place), to: compiled) else { return nil }
        }
        guard fl_paths_close(compiled) != 0 else { return nil }
    }

    deinit {
        fl_paths_free(compiled)
    }

    package var count: Int { paths.count }

    private static func add(_ path: DataPath, counting: Bool, to compiled: OpaquePointer) -> Bool {
        let keys = path.steps.map { step -> [UInt8] in
            if case .key(let key) = step { Array(key.utf8) } else { [] }
        }
        let bytes = keys.flatMap { $0 }
        return bytes.withUnsafeBytes { bytes in
            var at = 0
            var steps: [fl_step] = []
            for (step, key) in zip(path.steps, keys) {
                switch step {
                case .key:
                    let start = bytes.baseAddress.map { ($0 + at).assumingMemoryBound(to: CChar.self) }
                    steps.append(fl_step(key: start, length: key.count, index: 0, kind: UInt8(FL_STEP_KEY)))
                case .index(let index):
                    let index = UInt32(clamping: index)
                    steps.append(fl_step(key: nil, length: 0, index: index, kind: UInt8(FL_STEP_INDEX)))
                case .every:
                    steps.append(fl_step(key: nil, length: 0, index: 0, kind: UInt8(FL_STEP_EVERY)))
                }
                at += key.count
            }
            return fl_paths_add(compiled, steps, steps.count, counting ? 1 : 0) != 0
        }
    }

    /// Fills `out`, which has room for ``count`` values. `text` has ``FL_RECORD_PADDING`` readable bytes behind it.
    /// Strings and lists are valid until `reader`'s next use. Returns false where `text` isn't JSON: all missing.
    @discardableResult
    package func extract(
        from text: UnsafeRawBufferPointer, with reader: borrowing DataReader, into out: UnsafeMutablePointer<fl_value>
    ) -> Bool {
        guard let bytes = text.baseAddress else {
            out.update(repeating: fl_value(), count: count)
            return false
        }
        return fl_json_extract(reader.parser, compiled, bytes.assumingMemoryBound(to: UInt8.self), text.count, out) != 0
    }
}

/// A JSON parser with its memory, which it keeps from text to text. For one thread at a time.
package struct DataReader: ~Copyable {
    package let parser: OpaquePointer
    private let isOwned: Bool

    package init() {
        guard let parser = fl_json_new() else { fatalError("no memory for a JSON parser") }
        self.parser = parser
        isOwned = true
    }

    private init(borrowing parser: OpaquePointer) {
        self.parser = parser
        isOwned = false
    }

    deinit {
        if isOwned { fl_json_free(parser) }
    }

    /// The calling thread's own reader, shared by all who ask for it on that thread: whoever uses it is done with the
    /// values before calling anything else that might.
    package static var ofThread: DataReader {
        guard let parser = fl_json_of_thread() else { fatalError("no memory for a JSON parser") }
        return DataReader(borrowing: parser)
    }

    /// The values that `next` leads to, after the last extraction.
    package var elements: UnsafePointer<fl_value> { fl_json_elements(parser)! }
}
