// SPDX-License-Identifier: Apache-2.0

package import Events

extension Limits {
    /// Bytes of one segment, its header included. What retention removes at a time, and what must be read through when a
    /// segment's index is lost: 64 MiB take 40 ms.
    package static let segmentBytesMax = 64 << 20

    /// Bytes a segment is preallocated by at least. A topic allocates as much as it holds, from this up to
    /// `segmentBytesMax`, so that a thousand quiet topics cost a gigabyte and not sixty-four.
    package static let segmentAllocationBytesMin = 1 << 20

    /// Bytes of one record: an event (`eventBytesMax`) whose attributes came beside it as headers
    /// (`attributesMax` of `attributeValueBytesMax`), with room to spare. A length beyond it is damage.
    package static let recordBytesMax = 4 << 20

    /// Bytes between two points of a segment's index: what a read that starts anywhere walks over at most.
    package static let indexIntervalBytes = 64 << 10

    /// Bytes after which the index of the segment being written goes to disk: what opening a topic reads at most,
    /// about 3 ms.
    package static let indexCheckpointBytes = 4 << 20

    /// Bytes of one group commit of one topic; more waits for the next, so that a commit stays under some 10 ms.
    package static let commitBytesMax = 8 << 20

    /// Events and bytes that may wait for the journal's writer; beyond that publishers are told to come back. Two
    /// requests of the largest size, or a tenth of a second at full speed.
    package static let journalWaitingEventsMax = 200_000
    package static let journalWaitingBytesMax = 64 << 20

    /// Events of a topic with a sync interval that may be written but not synced. After a crash the topic leaves out
    /// this many offsets, as some of them may have been delivered before they were lost.
    package static let unsyncedEventsMax = 1 << 20

    /// Files of sealed segments that a topic keeps open for its readers, with their indexes (24 KiB each).
    package static let openSegmentsMax = 8

    /// Places where readers of one topic left off, kept so that reading on needs no search.
    package static let readPlacesMax = 32

    /// A segment is closed when its first record has used up this part of the topic's retention age, so that events
    /// outlive it by a tenth at most.
    package static let segmentAgeDivisor = 10

    /// Findings kept for whoever asks; all are logged.
    package static let recoveryNotesMax = 1_000
}
