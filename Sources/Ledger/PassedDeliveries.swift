// SPDX-License-Identifier: Apache-2.0

package import Events

/// Deliveries of one topic that were acknowledged at their first attempt and published nothing.
package struct PassedDeliveries: Hashable, Sendable {
    package var topic: String
    /// Rising.
    package var offsets: [Offset]
    /// When the first of them began and the last ended.
    package var began: Timestamp
    package var ended: Timestamp
    package var generation: Int
    package var replay: Bool

    package init(
        topic: String, offsets: [Offset], began: Timestamp, ended: Timestamp, generation: Int, replay: Bool
    ) {
        self.topic = topic
        self.offsets = offsets
        self.began = began
        self.ended = ended
        self.generation = generation
        self.replay = replay
    }

    /// Offsets that one row may tell of, so that an offset's rows are found by its bucket.
    static let bucketBits: Offset = 16

    /// One for each bucket it touches.
    var byBucket: [(bucket: Offset, offsets: ArraySlice<Offset>)] {
        var parts: [(Offset, ArraySlice<Offset>)] = []
        var start = offsets.startIndex
        while start < offsets.endIndex {
            let bucket = offsets[start] >> Self.bucketBits
            var end = start + 1
            while end < offsets.endIndex, offsets[end] >> Self.bucketBits == bucket { end += 1 }
            parts.append((bucket, offsets[start..<end]))
            start = end
        }
        return parts
    }
}
