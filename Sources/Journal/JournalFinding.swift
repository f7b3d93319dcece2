// SPDX-License-Identifier: Apache-2.0

package import Events

/// Something that ``JournalInspection`` came upon.
package struct JournalFinding: Hashable, Sendable {
    package enum Kind: String, Sendable {
        /// Records that can't be read, inside a segment.
        case damagedRecords
        /// The end of the last segment was written in part.
        case tornTail
        /// A segment without a usable header or first record.
        case unusableSegment
        /// A header that is wrong before records that are right.
        case damagedHeader
        /// Records that should follow others aren't there.
        case missing
        /// Offsets left out where an earlier repair has set aside the segment.
        case leftOut
        /// An index that isn't there, or doesn't agree with its segment.
        case wrongIndex
        /// A record's time is before that of the one before it.
        case fallingTime
        /// A segment whose creation never finished.
        case unfinishedSegment
        /// Written by a newer version.
        case newerSegment
        /// What an earlier repair or start has set aside.
        case setAside
        case foreignFile
        /// A file that can't be opened or read.
        case unreadable
    }

    package var kind: Kind
    package var topic: String
    package var file: String
    /// The offsets that are gone.
    package var lost: Range<Offset>?
    package var bytes: Int
    /// What the system said, where a file can't be read.
    package var error: String?

    init(
        _ kind: Kind, topic: String, file: String, lost: Range<Offset>? = nil, bytes: Int = 0, error: String? = nil
    ) {
        self.kind = kind
        self.topic = topic
        self.file = file
        self.lost = lost
        self.bytes = bytes
        self.error = error
    }

    /// Something is wrong that wasn't dealt with before.
    package var isDamage: Bool {
        switch kind {
        case .leftOut, .setAside, .foreignFile, .unfinishedSegment, .tornTail: false
        default: true
        }
    }

    package var meaning: String {
        let offsets = lost.map { range in
            range.isEmpty ? "no offsets" : "offsets \(range.lowerBound) to \(range.upperBound - 1)"
        }
        return switch kind {
        case .damagedRecords: "\(bytes) bytes are damaged; \(offsets ?? "records") can't be read, those around them can"
        case .tornTail:
            "the last \(bytes) bytes are half of a write that was never acknowledged; the next start cuts them off"
        case .unusableSegment: "neither header nor first record can be read; \(offsets ?? "its records") are gone"
        case .damagedHeader: "the header is damaged, the records are right"
        case .missing: "\(offsets ?? "records") should be here and are not"
        case .leftOut: "\(offsets ?? "records") are left out since a repair"
        case .wrongIndex:
            "the index is missing or disagrees with the segment; reading by offset or time is slow or wrong"
        case .fallingTime: "times fall; what is looked up by time may begin too early or too late"
        case .unfinishedSegment: "its creation never finished; the next start removes it"
        case .newerSegment: "written by a newer Fairlead: use that one"
        case .setAside: "set aside by an earlier repair or start; remove it when nobody needs it"
        case .foreignFile: "no file of the journal's; it is left alone"
        case .unreadable: "can't be read: \(error ?? "")"
        }
    }

    /// What ``JournalRepair`` does about it; nil where nothing can or need be done.
    package var repair: String? {
        switch kind {
        case .damagedRecords: "keep the segment as ….damaged and write one with the records that are sound"
        case .tornTail: "cut it off"
        case .unusableSegment: "set it aside as ….damaged"
        case .damagedHeader: "write the header anew"
        case .wrongIndex: "keep it as ….damaged and make it again"
        case .unfinishedSegment: "remove it"
        case .missing, .leftOut, .fallingTime, .newerSegment, .setAside, .foreignFile, .unreadable: nil
        }
    }
}
