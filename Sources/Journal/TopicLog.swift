// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events
import Logging
import Metrics
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// A segment that is written no more.
struct SealedSegment: Hashable {
    var first: Offset
    /// One past the last offset.
    var end: Offset
    /// One past the last record's last byte.
    var byteCount: Int
    var lastTime: Timestamp
}

/// One topic's folder of segments. One thread at a time writes (the journal's writer, or whoever opens it); any
/// number read, from what ``View`` shows them.
final class TopicLog: @unchecked Sendable {
    /// What readers may see: records below `end`.
    struct View {
        var sealed: [SealedSegment] = []
        var activeFirst: Offset = 0
        var active: any StorageFile
        /// One past the last byte that may be read of the active segment.
        var activeByteCount = SegmentHeader.byteCount
        var points: [IndexPoint] = []
        var end: Offset = 0
        var lastTime = Timestamp.distantPast
        /// Where readers left off: the next offset, its segment, and the position there.
        var places: [Offset: (segment: Offset, position: Int)] = [:]
    }

    struct Hole: Hashable {
        var positions: Range<Int>
        /// The offset of the first record after it.
        var next: Offset
    }

    struct OpenSegment {
        var first: Offset
        var file: any StorageFile
        var points: [IndexPoint]
    }

    /// The active segment as its writer knows it.
    struct Writer {
        var file: any StorageFile
        var first: Offset
        /// One past the last offset before this segment.
        var previousEnd: Offset
        var isRelaxed: Bool
        /// Where the next record goes.
        var position: Int
        var syncedPosition: Int
        var allocated: Int
        var nextOffset: Offset
        var syncedOffset: Offset
        var firstTime: Timestamp?
        var lastTime: Timestamp
        /// Points not yet shown to readers, then not yet on disk.
        var newPoints: [IndexPoint] = []
        var lastPointPosition: Int
        var index: (any StorageFile)?
        var indexEntriesWritten = 0
        var checkpointPosition: Int
        /// Why nothing more is written until the topic is reopened.
        var failure: StorageError?
        /// When the first record was written that isn't synced yet.
        var unsyncedSince: Timestamp?
    }

    let topic: Topic
    let folder: String
    let storage: any Storage
    let segmentBytesMax: Int
    let report: @Sendable (RecoveryNote) -> Void
    let view: Mutex<View>
    let holes = Mutex<[Offset: [Hole]]>([:])
    let open = Mutex<[OpenSegment]>([])
    let retention = Mutex<(age: Duration?, bytes: Int?)>((nil, nil))
    let syncInterval = Mutex<Duration?>(nil)
    private let syncDuration = Metrics.Timer(label: "fairlead_fsync_duration_seconds")
    // Owned by the writing thread.
    var writer: Writer

    init(
        topic: Topic, folder: String, storage: any Storage, segmentBytesMax: Int, view: sending View, writer: Writer,
        report: @escaping @Sendable (RecoveryNote) -> Void
    ) {
        self.topic = topic
        self.folder = folder
        self.storage = storage
        self.segmentBytesMax = segmentBytesMax
        self.view = Mutex(view)
        self.writer = writer
        self.report = report
    }

    static func name(_ first: Offset) -> String {
        let digits = String(first)
        return String(repeating: "0", count: 20 - digits.count) + digits
    }

    static func logPath(_ folder: String, _ first: Offset) -> String { "\(folder)/\(name(first)).log" }
    static func indexPath(_ folder: String, _ first: Offset) -> String { "\(folder)/\(name(first)).idx" }

    // MARK: Writing, on the writing thread

    /// Whether a write of `byteCount` more belongs into the active segment.
    func fits(_ byteCount: Int, now: Timestamp) -> Bool {
        let isEmpty = writer.position == SegmentHeader.byteCount
        if isEmpty { return writer.isRelaxed == (syncInterval.withLock { $0 } != nil) }
        if writer.isRelaxed != (syncInterval.withLock { $0 } != nil) { return false }
        if let age = retention.withLock({ $0.age }), let firstTime = writer.firstTime,
            now - firstTime > age / Limits.segmentAgeDivisor
        {
            return false
        }
        return writer.position + byteCount <= segmentBytesMax
    }

    /// Stamps the batches and writes them to the active segment, not yet synced.
    ///
    /// - Throws: nothing of them is in the segment then. Where ``Writer/failure`` is nil, the next write may go well.
    func write(_ batches: [RecordBatch], now: Timestamp) throws(StorageError) {
        let byteCount = batches.reduce(0) { $0 + $1.byteCount }
        let time = max(now, writer.lastTime)
        var offset = writer.nextOffset
        for batch in batches {
            batch.stamp(first: offset, time: time)
            offset += Offset(batch.count)
        }
        try reserve(writer.position + byteCount)
        do {
            try writer.file.write(batches.map(\.bytes), at: writer.position)
        } catch {
            takeBack(after: error)
            throw error
        }
        var position = writer.position
        for batch in batches {
            if writer.lastPointPosition == 0 || position - writer.lastPointPosition >= Limits.indexIntervalBytes {
                writer.newPoints.append(IndexPoint(offset: batch.first, position: position, time: time))
                writer.lastPointPosition = position
            }
            position += batch.byteCount
        }
        writer.position = position
        writer.nextOffset = offset
        writer.lastTime = time
        if writer.firstTime == nil { writer.firstTime = time }
        if writer.unsyncedSince == nil { writer.unsyncedSince = now }
    }

    /// Whether what was written must be synced before anyone is told.
    func mustSync(now: Timestamp) -> Bool {
        guard writer.isRelaxed, let interval = syncInterval.withLock({ $0 }) else { return true }
        guard let since = writer.unsyncedSince else { return false }
        return now < since || now - since >= interval
            || writer.nextOffset - writer.syncedOffset >= Offset(Limits.unsyncedEventsMax) / 2
    }

    /// Leaves the segment as small as its records and the index complete, so that the next opening has nothing to do.
    func close(now: Timestamp, log: Logger) {
        guard writer.failure == nil else { return }
        do {
            try sync()
            publish()
            if writer.isRelaxed {
                // Nothing is unsynced: the next opening needn't leave out offsets.
                syncInterval.withLock { $0 = nil }
                try roll(now: now, log: log)
            }
            if writer.allocated > writer.position { try writer.file.truncate(writer.position) }
            // Up to here everything was acknowledged: whatever is wrong there at the next opening is damage.
            let isEmpty = writer.position == SegmentHeader.byteCount
            try writeIndex(
                end: isEmpty
                    ? nil : IndexPoint(offset: writer.nextOffset, position: writer.position, time: writer.lastTime))
        } catch {
            log.warning("Topic not closed cleanly", metadata: ["topic": "\(topic)", "error": "\(error)"])
        }
    }

    private func reserve(_ needed: Int) throws(StorageError) {
        guard needed > writer.allocated else { return }
        let held = view.withLock { $0.sealed.reduce($0.activeByteCount) { $0 + $1.byteCount } }
        let step = min(max(held, Limits.segmentAllocationBytesMin), segmentBytesMax)
        let generous = max(needed, min(max(writer.allocated, SegmentHeader.byteCount) + step, segmentBytesMax))
        do {
            try writer.file.allocate(generous)
            writer.allocated = generous
        } catch {
            guard error.isFull, generous > needed else { throw error }
            // Not enough for years, but perhaps for now.
            try writer.file.allocate(needed)
            writer.allocated = needed
        }
    }

    /// After a write that failed: cuts the segment back to what is good. Where that fails too, or the error wasn't
    /// lack of space, the topic takes no more.
    private func takeBack(after error: StorageError) {
        do {
            try writer.file.truncate(writer.position)
            writer.allocated = writer.position
            if !error.isFull { writer.failure = error }
        } catch let second {
            writer.failure = second
        }
    }

    /// Makes what was written durable. After it has thrown, the topic takes no more until it is reopened.
    func sync() throws(StorageError) {
        guard writer.syncedPosition < writer.position else { return }
        let began = ContinuousClock.now
        do {
            try writer.file.sync()
            syncDuration.record(duration: .now - began)
        } catch {
            writer.failure = error
            throw error
        }
        writer.syncedPosition = writer.position
        writer.syncedOffset = writer.nextOffset
        writer.unsyncedSince = nil
    }

    /// Shows what was written to readers.
    func publish() {
        let writer = writer
        view.withLock { view in
            view.points += writer.newPoints
            view.activeByteCount = writer.position
            view.end = writer.nextOffset
            view.lastTime = writer.lastTime
        }
        self.writer.newPoints = []
    }

    /// Puts the index of what is synced on disk, every ``Limits/indexCheckpointBytes``. It can be made again, so
    /// an error costs only the time to do so.
    func checkpointIndex(log: Logger) {
        guard writer.syncedPosition - writer.checkpointPosition >= Limits.indexCheckpointBytes else { return }
        writer.checkpointPosition = writer.syncedPosition
        do {
            try writeIndex(end: nil)
        } catch {
            log.notice("Index not written", metadata: ["topic": "\(topic)", "error": "\(error)"])
        }
    }

    private func writeIndex(end: IndexPoint?) throws(StorageError) {
        let points = view.withLock { $0.points }
        let file: any StorageFile
        if let open = writer.index {
            file = open
        } else {
            file = try openOrCreate(Self.indexPath(folder, writer.first))
            let header = SegmentIndex.header(first: writer.first)
            try file.write(header, at: 0)
            writer.index = file
        }
        let new = points.dropFirst(writer.indexEntriesWritten).prefix { $0.position < writer.syncedPosition }
        let position = SegmentIndex.headerByteCount + writer.indexEntriesWritten * SegmentIndex.entryByteCount
        let bytes = SegmentIndex.entries(new, end: end)
        try file.write(bytes, at: position)
        writer.indexEntriesWritten += new.count
        if end != nil {
            try file.truncate(position + bytes.count)
            try file.sync()
        }
    }

    private func openOrCreate(_ path: String) throws(StorageError) -> any StorageFile {
        do {
            return try storage.open(path, create: true)
        } catch {
            guard error.errno == EEXIST else { throw error }
            return try storage.open(path, create: false)
        }
    }

    /// Closes the active segment and starts the next, at `first` or where the last one ended.
    ///
    /// - Throws: the active segment is as it was, but for a failed sync.
    func roll(first: Offset? = nil, now: Timestamp, log: Logger) throws(StorageError) {
        try sync()
        publish()
        let isRelaxed = syncInterval.withLock { $0 } != nil
        let next = first ?? writer.nextOffset
        guard writer.position > SegmentHeader.byteCount || next != writer.first else {
            // Empty: the same file serves, under another header.
            let header = SegmentHeader(
                first: writer.first, previousEnd: writer.previousEnd, created: now, isRelaxed: isRelaxed)
            try write(header, to: writer.file)
            writer.isRelaxed = isRelaxed
            return
        }
        let isEmpty = writer.position == SegmentHeader.byteCount
        let previousEnd = isEmpty ? writer.previousEnd : writer.nextOffset
        let header = SegmentHeader(first: next, previousEnd: previousEnd, created: now, isRelaxed: isRelaxed)
        let file = try Self.create(header, folder: folder, storage: storage)
        seal(log: log)
        let old = writer
        view.withLock { view in
            if old.position > SegmentHeader.byteCount {
                view.sealed.append(
                    SealedSegment(
                        first: old.first, end: old.nextOffset, byteCount: old.position, lastTime: old.lastTime))
            }
            view.activeFirst = next
            view.active = file
            view.activeByteCount = SegmentHeader.byteCount
            view.points = []
            view.end = next
        }
        writer = Writer(
            file: file, first: next, previousEnd: previousEnd, isRelaxed: isRelaxed, position: SegmentHeader.byteCount,
            syncedPosition: SegmentHeader.byteCount, allocated: SegmentHeader.byteCount, nextOffset: next,
            syncedOffset: next, firstTime: nil, lastTime: old.lastTime, lastPointPosition: 0, index: nil,
            checkpointPosition: SegmentHeader.byteCount)
        if isEmpty {
            removeSegment(old.first, log: log)
        }
    }

    /// Writes the sealed segment's index and gives back what was allocated and not used. Both can be done without.
    private func seal(log: Logger) {
        guard writer.position > SegmentHeader.byteCount else { return }
        do {
            try writeIndex(
                end: IndexPoint(offset: writer.nextOffset, position: writer.position, time: writer.lastTime))
            try writer.file.truncate(writer.position)
        } catch {
            log.notice("Sealing left undone", metadata: ["topic": "\(topic)", "error": "\(error)"])
        }
    }

    private func write(_ header: SegmentHeader, to file: any StorageFile) throws(StorageError) {
        try file.write(header.encoded, at: 0)
        try file.sync()
    }

    /// A new segment's file, durable with its name and header.
    static func create(
        _ header: SegmentHeader, folder: String, storage: any Storage
    ) throws(StorageError) -> any StorageFile {
        let path = logPath(folder, header.first)
        let file = try storage.open(path, create: true)
        do {
            try file.write(header.encoded, at: 0)
            try file.sync()
            try storage.syncFolder(folder)
        } catch {
            // Left behind, it would be in the way of the next attempt.
            try storage.remove(path)
            try storage.syncFolder(folder)
            throw error
        }
        return file
    }

    func removeSegment(_ first: Offset, log: Logger) {
        for path in [Self.logPath(folder, first), Self.indexPath(folder, first)] {
            do {
                try storage.removeIfPresent(path)
            } catch {
                log.warning("File not removed", metadata: ["path": "\(path)", "error": "\(error)"])
            }
        }
        holes.withLock { $0[first] = nil }
    }

    /// Starts anew after a failed write or sync: keeps what is known to be on disk, and goes on in a new file, since
    /// what the old one's cached pages hold can't be trusted. Offsets that readers have seen are not used again.
    ///
    /// - Returns: what was shown and is lost, which only happens to a topic with a sync interval.
    func reopen(now: Timestamp, log: Logger) throws(StorageError) -> RecoveryNote? {
        guard writer.failure != nil else { return nil }
        let shown = view.withLock { $0.end }
        try writer.file.truncate(writer.syncedPosition)
        try writer.file.sync()
        let cut = writer.position - writer.syncedPosition
        writer.position = writer.syncedPosition
        writer.allocated = writer.syncedPosition
        writer.nextOffset = writer.syncedOffset
        writer.failure = nil
        writer.newPoints.removeAll { $0.position >= writer.syncedPosition }
        view.withLock { view in
            view.points.removeAll { $0.position >= writer.syncedPosition }
            view.activeByteCount = min(view.activeByteCount, writer.syncedPosition)
            view.places.removeAll()
        }
        let lost = writer.syncedOffset..<max(shown, writer.syncedOffset)
        do {
            try roll(first: lost.upperBound, now: now, log: log)
        } catch {
            writer.failure = error
            throw error
        }
        guard !lost.isEmpty else { return nil }
        return RecoveryNote(
            .missing, topic: topic, file: Self.logPath(folder, lost.upperBound), lost: lost, bytes: cut)
    }
}
