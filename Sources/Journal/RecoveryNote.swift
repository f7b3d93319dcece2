// SPDX-License-Identifier: Apache-2.0

package import Events

/// Something the journal found wrong on disk, and what it did about it. Nothing is passed over without one.
package struct RecoveryNote: Hashable, Sendable, CustomStringConvertible {
    package enum Kind: String, Sendable {
        /// The end of the last segment was written in part when the process or the machine stopped: cut off. Records in
        /// it had not been acknowledged.
        case tornTail
        /// Records inside a segment can't be read; those before and after them can.
        case damagedRecords
        /// A segment as a whole is unusable and was renamed to `….damaged`.
        case setAside
        /// Records that should follow others aren't there: a file is gone or short.
        case missing
        /// A segment's first bytes were wrong but its records right: written anew. Nothing is lost.
        case headerRewritten
        /// A segment's index was missing or wrong: made again. Nothing is lost.
        case indexRebuilt
        /// A segment that was being created when the process stopped: removed. Nothing is lost.
        case unfinishedSegment
        /// A file that isn't the journal's lies in a topic's folder: left alone.
        case foreignFile
    }

    package var kind: Kind
    package var topic: Topic
    package var file: String
    /// The offsets that are gone, as far as that can be known.
    package var lost: Range<Offset>?
    /// Bytes that were cut off, set aside or skipped.
    package var bytes: Int

    package init(_ kind: Kind, topic: Topic, file: String, lost: Range<Offset>? = nil, bytes: Int = 0) {
        self.kind = kind
        self.topic = topic
        self.file = file
        self.lost = lost
        self.bytes = bytes
    }

    /// Acknowledged events may be gone.
    package var isLoss: Bool {
        switch kind {
        case .damagedRecords, .setAside, .missing: true
        case .tornTail, .headerRewritten, .indexRebuilt, .unfinishedSegment, .foreignFile: false
        }
    }

    package var description: String {
        let offsets = lost.map { " (offsets \($0.lowerBound)..<\($0.upperBound))" } ?? ""
        return switch kind {
        case .tornTail: "topic \"\(topic)\": \(bytes) bytes of a torn write were cut off \(file)\(offsets)"
        case .damagedRecords: "topic \"\(topic)\": \(bytes) damaged bytes in \(file) are left out\(offsets)"
        case .setAside: "topic \"\(topic)\": \(file) is unusable and was set aside\(offsets)"
        case .missing: "topic \"\(topic)\": records are missing before \(file)\(offsets)"
        case .headerRewritten: "topic \"\(topic)\": the header of \(file) was damaged and has been written anew"
        case .indexRebuilt: "topic \"\(topic)\": the index of \(file) was missing or wrong and has been made again"
        case .unfinishedSegment: "topic \"\(topic)\": \(file) was never finished and has been removed"
        case .foreignFile: "topic \"\(topic)\": \(file) is no file of the journal's and was left alone"
        }
    }
}
