// SPDX-License-Identifier: Apache-2.0

package import Events
import Logging
import Synchronization

extension Journal {
    /// Sealed segments that retention doesn't keep.
    package struct Expired: Hashable, Sendable {
        package var topic: Topic
        /// The offsets of each, the oldest first.
        package var segments: [Range<Offset>]
    }

    /// What was removed of a topic.
    package struct Dropped: Hashable, Sendable {
        package var topic: Topic
        package var offsets: Range<Offset>
        package var segments: Int
        package var bytes: Int
    }

    /// Keeps records for `age`, or as many as fit into `bytes`; nil means no such bound. Says what ``expired()`` returns.
    package func setRetention(_ topic: Topic, age: Duration?, bytes: Int?) throws(Failure) {
        try log(topic).retention.withLock { $0 = (age, bytes) }
    }

    /// The segments that retention doesn't keep, from the oldest on, in order of topic; ``drop(_:before:)`` removes them.
    /// Blocks on the disk.
    package func expired() -> [Expired] {
        // A closed journal's folder may be somebody else's by now.
        guard queue.withLock({ $0.isOpen }) else { return [] }
        let now = clock.now()
        let logs = logs.withLock { Array($0.values) }.sorted { $0.topic.name < $1.topic.name }
        return logs.compactMap { log in
            let (age, bytes) = log.retention.withLock { $0 }
            if let age {
                // The active segment of a topic that went quiet: sealed now, removed at the next turn.
                onWriter { [self] in closeExpired(log, age: age) }
            }
            let segments = expired(of: log, olderThan: age.map { now - $0 }, keepingBytes: bytes)
            return segments.isEmpty ? nil : Expired(topic: log.topic, segments: segments)
        }
    }

    private func expired(of log: TopicLog, olderThan oldest: Timestamp?, keepingBytes: Int?) -> [Range<Offset>] {
        log.view.withLock { view in
            var total = view.sealed.reduce(view.activeByteCount) { $0 + $1.byteCount }
            return Array(
                view.sealed.prefix { segment in
                    let isTooOld = oldest.map { segment.lastTime < $0 } ?? false
                    let isTooMuch = keepingBytes.map { total > $0 } ?? false
                    total -= segment.byteCount
                    return isTooOld || isTooMuch
                }.map { $0.first..<$0.end })
        }
    }

    /// Removes the topic's sealed segments that end at `end` or before. Blocks on the disk.
    @discardableResult
    package func drop(_ topic: Topic, before end: Offset) -> Dropped? {
        guard queue.withLock({ $0.isOpen }), let log = logs.withLock({ $0[topic] }) else { return nil }
        let dropped = log.view.withLock { view in
            let dropped = Array(view.sealed.prefix { $0.end <= end })
            view.sealed.removeFirst(dropped.count)
            return dropped
        }
        guard let first = dropped.first, let last = dropped.last else { return nil }
        // Oldest first: a crash in between leaves a topic that begins later, not one with a gap.
        for segment in dropped {
            log.open.withLock { $0.removeAll { $0.first == segment.first } }
            log.removeSegment(segment.first, log: self.log)
        }
        do {
            try storage.syncFolder(log.folder)
        } catch {
            self.log.warning("Folder not synced", metadata: ["topic": "\(topic)", "error": "\(error)"])
        }
        let result = Dropped(
            topic: topic, offsets: first.first..<last.end, segments: dropped.count,
            bytes: dropped.reduce(0) { $0 + $1.byteCount })
        self.log.info(
            "Segments removed by retention",
            metadata: ["topic": "\(topic)", "segments": "\(result.segments)", "bytes": "\(result.bytes)"])
        return result
    }

    private func closeExpired(_ log: TopicLog, age: Duration) {
        let now = clock.now()
        let isExpired = log.writer.position > SegmentHeader.byteCount && now - log.writer.lastTime > age
        guard isExpired, log.writer.failure == nil else { return }
        do {
            try log.roll(now: now, log: self.log)
        } catch {
            self.log.warning("Segment not closed", metadata: ["topic": "\(log.topic)", "error": "\(error)"])
        }
    }
}
