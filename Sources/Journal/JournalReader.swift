// SPDX-License-Identifier: Apache-2.0

import CFairlead
package import Events

#if canImport(Glibc)
    import Glibc
#endif

/// Reads the records of a journal that another process may be writing, and changes nothing: no recovery, no index, no lock.
/// What is damaged is passed over; what is in the making ends a topic.
package struct JournalReader: Sendable {
    private let folder: String
    private let storage: any Storage

    package init(folder: String, storage: any Storage = FileStorage()) {
        self.folder = folder
        self.storage = storage
    }

    /// Topics that have a folder.
    package func topics() throws(StorageError) -> [String] {
        var names: [String] = []
        for name in try storage.list(folder).sorted() where Journal.isTopicName(name) {
            do {
                _ = try storage.list("\(folder)/\(name)")
                names.append(name)
            } catch {
                guard error.isNoFolder else { throw error }
            }
        }
        return names
    }

    /// The offset of the first record whose time is `time` or later; the end where there is none.
    package func offset(at time: Timestamp, in topic: String) throws(StorageError) -> Offset {
        let segments = try segments(of: topic)
        for segment in segments {
            if let end = segment.index.end, end.time < time { continue }
            let start = segment.index.points.last(before: time)
            let walk = try walk(segment, from: start)
            while let found = try next(walk, segment) {
                if found.time >= time { return found.offset }
            }
        }
        return try end(of: segments)
    }

    /// One past the last record.
    package func end(of topic: String) throws(StorageError) -> Offset { try end(of: segments(of: topic)) }

    private func end(of segments: [Segment]) throws(StorageError) -> Offset {
        guard let last = segments.last else { return 0 }
        if let end = last.index.end { return end.offset }
        let walk = try walk(last, from: last.index.points.last)
        while try next(walk, last) != nil {}
        return walk.expected
    }

    /// Records from `from` on, or from the first after it that there is; nil at the end.
    package func read(
        _ topic: String, from: Offset, maxRecords: Int, maxBytes: Int
    ) throws(StorageError) -> RecordBatch? {
        let segments = try segments(of: topic)
        for (place, segment) in segments.enumerated() {
            if place + 1 < segments.count, segments[place + 1].first <= from { continue }
            let walk = try walk(segment, from: segment.index.points.last(notAfter: from))
            var start: RecordWalk.Found?
            var places: [Int] = []
            var end = 0
            while let found = try next(walk, segment) {
                guard found.offset >= from else { continue }
                // A batch is one run of bytes: damage in between ends it.
                if start != nil, found.position != end { break }
                start = start ?? found
                places.append(found.position)
                end = found.position + found.byteCount
                if places.count >= maxRecords || end - start!.position >= maxBytes { break }
            }
            guard let start else { continue }
            let bytes = try segment.file.bytes(at: start.position, count: end - start.position)
            let copied = bytes.withUnsafeBytes { RecordBatch.copying($0, topic: .named(topic)) }
            guard let copied else {
                throw StorageError("read", TopicLog.logPath("\(folder)/\(topic)", segment.first), errno: EIO)
            }
            return copied
        }
        return nil
    }

    private struct Segment {
        var first: Offset
        var file: any StorageFile
        var index: SegmentIndex
        var isLast: Bool
    }

    private func segments(of topic: String) throws(StorageError) -> [Segment] {
        let path = "\(folder)/\(topic)"
        let firsts = try storage.list(path).compactMap { file -> Offset? in
            let parts = file.split(separator: ".", maxSplits: 1)
            return parts.count == 2 && parts[1] == "log" && parts[0].utf8.count == 20 ? Offset(parts[0]) : nil
        }.sorted()
        var segments: [Segment] = []
        for first in firsts {
            // Retention removes segments while a server runs.
            guard let file = try storage.openIfPresent(TopicLog.logPath(path, first)) else { continue }
            var index = SegmentIndex()
            if let indexFile = try storage.openIfPresent(TopicLog.indexPath(path, first)) {
                index = try SegmentIndex(reading: indexFile, first: first) ?? SegmentIndex()
            }
            segments.append(Segment(first: first, file: file, index: index, isLast: first == firsts.last))
        }
        return segments
    }

    private func walk(_ segment: Segment, from point: IndexPoint?) throws(StorageError) -> RecordWalk {
        let limit = if let end = segment.index.end { end.position } else { try segment.file.size() }
        return RecordWalk(
            segment.file, from: point?.position ?? SegmentHeader.byteCount, expecting: point?.offset ?? segment.first,
            limit: limit)
    }

    private func next(_ walk: RecordWalk, _ segment: Segment) throws(StorageError) -> RecordWalk.Found? {
        while true {
            switch try walk.next() {
            case .record(let found): return found
            case .end: return nil
            case .bad:
                if try walk.isZeroToEnd() { return nil }
                guard try walk.skipDamage() else { return nil }
            }
        }
    }
}
