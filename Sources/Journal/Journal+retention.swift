// SPDX-License-Identifier: Apache-2.0

package import Events
import Logging
import Synchronization

extension Journal {
    /// What retention removed of a topic.
    package struct Dropped: Hashable, Sendable {
        package var topic: Topic
        package var offsets: Range<Offset>
        package var segments: Int
        package var bytes: Int
    }

    /// Keeps records for `age`, or as many as fit into `bytes`; nil means no such bound. Takes effect at the next
    /// ``applyRetention()``.
    package func setRetention(_ topic: Topic, age: Duration?, bytes: Int?) throws(Failure) {
        try log(topic).retention.withLock { $0 = (age, bytes) }
    }

    /// Removes the segments that retention doesn't keep, whole and from the oldest on. Blocks on the disk.
    package func applyRetention() -> [Dropped] {
        let now = clock.now()
        let logs = logs.withLock { Array($0.values) }.sorted { $0.topic.name < $1.topic.name }
        return logs.compactMap { log in
            let (age, bytes) = log.retention.withLock { $0 }
            if let age {
                // The active segment of a topic that went quiet: sealed now, removed at the next turn.
                onWriter { [self] in closeExpired(log, age: age) }
            }
            return drop(of: log, olderThan: age.map { now - $0 }, keepingBytes: bytes)
        }
    }

    private func drop(of log: TopicLog, olderThan oldest: Timestamp?, keepingBytes: Int?) -> Dropped? {
        let dropped = log.view.withLock { view in
            var total = view.sealed.reduce(view.activeByteCount) { $0 + $1.byteCount }
            var count = 0
            for segment in view.sealed {
                let isTooOld = oldest.map { segment.lastTime < $0 } ?? false
                let isTooMuch = keepingBytes.map { total > $0 } ?? false
                guard isTooOld || isTooMuch else { break }
                total -= segment.byteCount
                count += 1
            }
            let dropped = Array(view.sealed.prefix(count))
            view.sealed.removeFirst(count)
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
            self.log.warning("Folder not synced", metadata: ["topic": "\(log.topic)", "error": "\(error)"])
        }
        let result = Dropped(
            topic: log.topic, offsets: first.first..<last.end, segments: dropped.count,
            bytes: dropped.reduce(0) { $0 + $1.byteCount })
        self.log.info(
            "Segments removed by retention",
            metadata: ["topic": "\(log.topic)", "segments": "\(result.segments)", "bytes": "\(result.bytes)"])
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
