// SPDX-License-Identifier: Apache-2.0

import Events
import Logging
import Synchronization

/// Opens a topic's folder: finds out where each segment ends, cuts off what a crash left half written, sets aside what
/// can't be used, and says what it did. Reads sealed segments only where their index is missing or wrong, and of the
/// last one what lies after its index.
struct TopicRecovery {
    let topic: Topic
    let folder: String
    let storage: any Storage
    let segmentBytesMax: Int
    let now: Timestamp
    let log: Logger
    let report: @Sendable (RecoveryNote) -> Void

    private var holes: [Offset: [TopicLog.Hole]] = [:]
    private var sealed: [SealedSegment] = []
    /// Offsets below it may have been used already.
    private var floor: Offset = 0
    /// What was reported as lost already.
    private var accounted: [Range<Offset>] = []

    private struct Segment {
        var first: Offset
        var file: any StorageFile
        var header: SegmentHeader
    }

    init(
        topic: Topic, folder: String, storage: any Storage, segmentBytesMax: Int, now: Timestamp, log: Logger,
        report: @escaping @Sendable (RecoveryNote) -> Void
    ) {
        self.topic = topic
        self.folder = folder
        self.storage = storage
        self.segmentBytesMax = segmentBytesMax
        self.now = now
        self.log = log
        self.report = report
    }

    mutating func open() throws(Failure) -> TopicLog {
        do {
            try storage.createFolder(folder)
            var segments = try usableSegments(of: try segmentNames())
            var index = 0
            while index + 1 < segments.count {
                try addSealed(segments[index], before: segments[index + 1])
                if try removeGhost(segments[index + 1]) {
                    segments.remove(at: index + 1)
                    sealed.removeLast()
                } else {
                    index += 1
                }
            }
            let log = if let last = segments.last { try resume(last) } else { try createFirst() }
            log.holes.withLock { $0 = holes }
            let relaxedSkip: Offset = log.writer.isRelaxed ? Offset(Limits.unsyncedEventsMax) : 0
            let next = max(floor, log.writer.nextOffset + relaxedSkip)
            if next > log.writer.nextOffset { try log.roll(first: next, now: now, log: self.log) }
            return log
        } catch let error as StorageError {
            throw Failure(.storage, "topic \"\(topic)\" can't be opened: \(error)")
        } catch let error as Failure {
            throw error
        } catch {
            throw Failure(.storage, "topic \"\(topic)\" can't be opened: \(error)")
        }
    }

    private func segmentNames() throws -> [Offset] {
        var segments: Set<Offset> = []
        var indexes: Set<Offset> = []
        for name in try storage.list(folder) {
            let parts = name.split(separator: ".", maxSplits: 1)
            guard parts.count == 2, parts[0].utf8.count == 20, let first = Offset(parts[0]) else {
                report(RecoveryNote(.foreignFile, topic: topic, file: "\(folder)/\(name)"))
                continue
            }
            switch parts[1] {
            case "log": segments.insert(first)
            case "idx": indexes.insert(first)
            case _ where parts[1].hasSuffix("damaged") || parts[1].hasSuffix("torn"): break
            default: report(RecoveryNote(.foreignFile, topic: topic, file: "\(folder)/\(name)"))
            }
        }
        for orphan in indexes.subtracting(segments) { try storage.remove(TopicLog.indexPath(folder, orphan)) }
        return segments.sorted()
    }

    private mutating func usableSegments(of names: [Offset]) throws -> [Segment] {
        var segments: [Segment] = []
        for (index, first) in names.enumerated() {
            let path = TopicLog.logPath(folder, first)
            let file = try storage.open(path, create: false)
            let next = index + 1 < names.count ? names[index + 1] : nil
            do {
                let header = try SegmentHeader(decoding: try file.bytes(at: 0, count: SegmentHeader.byteCount))
                guard header.first == first else { throw SegmentHeader.Fault.damaged }
                segments.append(Segment(first: first, file: file, header: header))
            } catch SegmentHeader.Fault.newer(let version) {
                throw Failure(
                    .storage,
                    "\(path) has format version \(version); this Fairlead reads up to \(SegmentHeader.version): use a newer one"
                )
            } catch is SegmentHeader.Fault {
                if let segment = try mendHeader(of: file, first: first, path: path, next: next) {
                    segments.append(segment)
                }
            }
        }
        return segments
    }

    private mutating func mendHeader(
        of file: any StorageFile, first: Offset, path: String, next: Offset?
    ) throws -> Segment? {
        let size = try file.size()
        let records = RecordWalk(file, from: SegmentHeader.byteCount, expecting: first, limit: size)
        if next == nil, try records.isZeroToEnd() {
            try storage.remove(path)
            floor = max(floor, first)
            report(RecoveryNote(.unfinishedSegment, topic: topic, file: path, bytes: size))
            return nil
        }
        if case .record(let found) = try records.next(), found.offset == first {
            // The name and the first record agree. What lay before can't be known: nothing is called missing.
            let header = SegmentHeader(first: first, previousEnd: first, created: found.time, isRelaxed: true)
            try file.write(header.encoded, at: 0)
            try file.sync()
            report(RecoveryNote(.headerRewritten, topic: topic, file: path, bytes: SegmentHeader.byteCount))
            return Segment(first: first, file: file, header: header)
        }
        var end = next ?? first
        if next == nil {
            // New offsets have to lie beyond any that may have been delivered.
            let survivors = RecordWalk(file, from: 0, expecting: first, limit: size)
            end = try highestOffset(in: survivors).map { $0 + 1 } ?? first
            if let index = try index(of: first),
                let last = index.end?.offset ?? index.points.last.map({ $0.offset + 1 })
            {
                end = max(end, last)
            }
            floor = max(floor, end)
        }
        try storage.rename(path, to: path + ".damaged")
        try storage.syncFolder(folder)
        accounted.append(first..<end)
        report(RecoveryNote(.setAside, topic: topic, file: path + ".damaged", lost: first..<end, bytes: size))
        return nil
    }

    private func index(of first: Offset) throws -> SegmentIndex? {
        guard let file = try storage.openIfPresent(TopicLog.indexPath(folder, first)) else { return nil }
        return try SegmentIndex(reading: file, first: first)
    }

    private func highestOffset(in walk: RecordWalk) throws -> Offset? {
        var highest: Offset?
        while true {
            switch try walk.next() {
            case .record(let found): highest = found.offset
            case .bad: if try !walk.skipDamage() { return highest }
            case .end: return highest
            }
        }
    }

    // MARK: Sealed segments

    private mutating func addSealed(_ segment: Segment, before next: Segment) throws {
        let size = try segment.file.size()
        var end: IndexPoint?
        if let file = try storage.openIfPresent(TopicLog.indexPath(folder, segment.first)) {
            end = try SegmentIndex.end(of: file, first: segment.first)
        }
        if let known = end {
            // Where it says less than the next segment knows of, there may be more.
            let isShort = known.offset < next.header.previousEnd && known.position < size
            if known.position > size || isShort { end = nil }
        }
        let sound = try end ?? rebuildIndex(of: segment, size: size, before: next.first)
        if sound.offset < next.header.previousEnd {
            let lost = sound.offset..<next.header.previousEnd
            if !accounted.contains(where: { $0.lowerBound <= lost.lowerBound && lost.upperBound <= $0.upperBound }) {
                let file = TopicLog.logPath(folder, next.first)
                report(RecoveryNote(.missing, topic: topic, file: file, lost: lost))
            }
        }
        sealed.append(
            SealedSegment(
                first: segment.first, end: sound.offset, byteCount: sound.position, lastTime: sound.time))
    }

    /// A segment whose creation failed was removed, and the one before it written on; a crash may bring the file back.
    private func removeGhost(_ segment: Segment) throws -> Bool {
        guard let previous = sealed.last, previous.end > segment.first else { return false }
        let walk = RecordWalk(
            segment.file, from: SegmentHeader.byteCount, expecting: segment.first, limit: try segment.file.size())
        guard try walk.isZeroToEnd() else { return false }
        let path = TopicLog.logPath(folder, segment.first)
        try storage.remove(path)
        try storage.syncFolder(folder)
        report(RecoveryNote(.unfinishedSegment, topic: topic, file: path))
        return true
    }

    private mutating func rebuildIndex(of segment: Segment, size: Int, before next: Offset) throws -> IndexPoint {
        var points: [IndexPoint] = []
        let walk = RecordWalk(segment.file, from: SegmentHeader.byteCount, expecting: segment.first, limit: size)
        let last = try walkOn(walk, segment: segment, points: &points) { _ in .damage(before: next) }
        let end = IndexPoint(
            offset: last.next, position: last.position, time: last.time ?? segment.header.created)
        let path = TopicLog.indexPath(folder, segment.first)
        try storage.removeIfPresent(path)
        let file = try storage.open(path, create: true)
        let header = SegmentIndex.header(first: segment.first)
        let entries = SegmentIndex.entries(points, end: end)
        try file.write(header + entries, at: 0)
        try file.sync()
        report(RecoveryNote(.indexRebuilt, topic: topic, file: path))
        return end
    }

    private enum Verdict {
        case damage(before: Offset)
        case torn
    }

    private enum Ending {
        case clean
        /// From there on nothing was acknowledged.
        case torn
        /// What was acknowledged can't be read up to the end; offsets below this one were used.
        case damaged(Offset)
    }

    /// Walks to the end of the records; adds a point every ``Limits/indexIntervalBytes``. `judge` is asked about bad bytes
    /// that aren't only zeros to the end.
    private mutating func walkOn(
        _ walk: RecordWalk, segment: Segment, points: inout [IndexPoint], knownEnd: Offset? = nil,
        judge: (_ position: Int) -> Verdict
    ) throws -> (position: Int, next: Offset, time: Timestamp?, ending: Ending) {
        var time: Timestamp?
        while true {
            let position = walk.position
            switch try walk.next() {
            case .end:
                return (position, walk.expected, time, .clean)
            case .record(let found):
                time = found.time
                if points.last.map({ position - $0.position >= Limits.indexIntervalBytes }) ?? true {
                    points.append(IndexPoint(offset: found.offset, position: position, time: found.time))
                }
            case .bad:
                if try walk.isZeroToEnd() { return (position, walk.expected, time, .clean) }
                guard case .damage(let bound) = judge(position) else { return (position, walk.expected, time, .torn) }
                let expected = walk.expected
                let goesOn = try walk.skipDamage(before: bound)
                var next = bound == .max ? max(expected, knownEnd ?? 0) : bound
                if goesOn, let found = try walk.peek() { next = found.offset }
                holes[segment.first, default: []].append(
                    TopicLog.Hole(positions: position..<walk.position, next: next))
                report(
                    RecoveryNote(
                        .damagedRecords, topic: topic, file: TopicLog.logPath(folder, segment.first),
                        lost: expected..<max(expected, next), bytes: walk.position - position))
                // What is gone is reported: it isn't missing a second time.
                if !goesOn {
                    return bound == .max
                        ? (position, expected, time, .damaged(next)) : (position, max(expected, next), time, .clean)
                }
            }
        }
    }

    // MARK: The last segment

    private mutating func resume(_ segment: Segment) throws -> TopicLog {
        let size = try segment.file.size()
        let path = TopicLog.logPath(folder, segment.first)
        let index = try index(of: segment.first)
        var points = index?.points ?? []
        let known = points
        points.removeAll { $0.position >= size }
        // Points are written after a sync: where one doesn't lead to a record, the record is damaged.
        while let last = points.last {
            let walk = RecordWalk(segment.file, from: last.position, expecting: last.offset, limit: size)
            if case .record(let found) = try walk.next(), found.offset == last.offset { break }
            points.removeLast()
        }
        let start = points.last
        let walk = RecordWalk(
            segment.file, from: start?.position ?? SegmentHeader.byteCount, expecting: start?.offset ?? segment.first,
            limit: size)
        // What the index knows of was synced, so it was acknowledged: bad bytes there are no torn write.
        let acknowledged = max(known.last.map { $0.position + 1 } ?? 0, index?.end?.position ?? 0)
        let knownEnd = max(known.last.map { $0.offset + 1 } ?? segment.first, index?.end?.offset ?? segment.first)
        let tail = try walkOn(walk, segment: segment, points: &points, knownEnd: knownEnd) { position in
            position < acknowledged ? .damage(before: .max) : .torn
        }
        var allocated = size
        switch tail.ending {
        case .clean:
            if tail.next < knownEnd {
                report(RecoveryNote(.missing, topic: topic, file: path, lost: tail.next..<knownEnd))
            }
        case .torn:
            try cutTail(of: segment, at: tail.position, expected: tail.next, walk: walk, size: size, path: path)
            allocated = tail.position
        case .damaged(let next):
            floor = max(floor, next)
            let rest = try segment.file.bytes(at: tail.position, count: size - tail.position)
            try writeAside(rest[...], to: "\(folder)/\(TopicLog.name(segment.first)).\(tail.position).damaged")
            try segment.file.truncate(tail.position)
            try segment.file.sync()
            allocated = tail.position
        }
        floor = max(floor, knownEnd)
        let lastTime = tail.time ?? points.last?.time ?? sealed.last?.lastTime ?? .distantPast
        let view = TopicLog.View(
            sealed: sealed, activeFirst: segment.first, active: segment.file, activeByteCount: tail.position,
            points: points, end: tail.next, lastTime: lastTime)
        let writer = TopicLog.Writer(
            file: segment.file, first: segment.first, previousEnd: segment.header.previousEnd,
            isRelaxed: segment.header.isRelaxed, position: tail.position, syncedPosition: tail.position,
            allocated: allocated, nextOffset: tail.next, syncedOffset: tail.next, firstTime: points.first?.time,
            lastTime: lastTime, lastPointPosition: points.last?.position ?? 0, index: nil,
            checkpointPosition: min(known.last?.position ?? SegmentHeader.byteCount, tail.position))
        try rewrite(segment.file, from: known.last?.position ?? SegmentHeader.byteCount, to: tail.position)
        return TopicLog(
            topic: topic, folder: folder, storage: storage, segmentBytesMax: segmentBytesMax, view: view,
            writer: writer, report: report)
    }

    /// What stands after the last point may never have been synced by the process that wrote it, and will be shown from
    /// now on. If its sync failed, the system thinks that the pages are clean and won't write them at the next: so
    /// they are written again.
    private func rewrite(_ file: any StorageFile, from start: Int, to end: Int) throws {
        var at = start
        while at < end {
            let bytes = try file.bytes(at: at, count: min(end - at, Limits.indexCheckpointBytes))
            try file.write(bytes, at: at)
            at += bytes.count
        }
        try file.sync()
    }

    private mutating func cutTail(
        of segment: Segment, at position: Int, expected: Offset, walk: RecordWalk, size: Int, path: String
    ) throws {
        let tail = try segment.file.bytes(at: position, count: size - position)
        let used = (tail.lastIndex { $0 != 0 } ?? -1) + 1
        var lost: Range<Offset>?
        if try walk.skipDamage(), let highest = try highestOffset(in: walk) {
            // Whole records after a broken one: parts of one write that came to disk out of order, or damage. Nobody can
            // tell, so they are kept aside and their offsets aren't used again.
            lost = expected..<highest + 1
            floor = max(floor, highest + 1)
            let aside = "\(folder)/\(TopicLog.name(segment.first)).\(position).torn"
            try writeAside(tail.prefix(used), to: aside)
        }
        try segment.file.truncate(position)
        try segment.file.sync()
        report(RecoveryNote(.tornTail, topic: topic, file: path, lost: lost, bytes: used))
    }

    private func writeAside(_ bytes: ArraySlice<UInt8>, to path: String) throws {
        do {
            let file = try storage.open(path, create: true)
            try file.write(Array(bytes), at: 0)
        } catch {
            // On a full disk the topic is still opened: only the evidence is lost.
            log.warning("Torn records not kept", metadata: ["path": "\(path)", "error": "\(error)"])
        }
    }

    private func createFirst() throws -> TopicLog {
        let end = sealed.last?.end ?? 0
        let header = SegmentHeader(first: floor, previousEnd: end, created: now, isRelaxed: false)
        let file = try TopicLog.create(header, folder: folder, storage: storage)
        let view = TopicLog.View(sealed: sealed, activeFirst: floor, active: file, end: floor)
        let writer = TopicLog.Writer(
            file: file, first: floor, previousEnd: end, isRelaxed: false, position: SegmentHeader.byteCount,
            syncedPosition: SegmentHeader.byteCount, allocated: SegmentHeader.byteCount, nextOffset: floor,
            syncedOffset: floor, firstTime: nil, lastTime: .distantPast, lastPointPosition: 0, index: nil,
            checkpointPosition: SegmentHeader.byteCount)
        return TopicLog(
            topic: topic, folder: folder, storage: storage, segmentBytesMax: segmentBytesMax, view: view,
            writer: writer, report: report)
    }
}
