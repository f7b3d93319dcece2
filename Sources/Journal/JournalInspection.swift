// SPDX-License-Identifier: Apache-2.0

package import Events

/// Reads a journal through, each byte of it, and changes nothing: headers, lengths, checksums, offsets, times, indexes.
package struct JournalInspection: Sendable {
    /// Of each topic the offsets whose records are sound, as ranges that rise.
    package private(set) var present: [String: [Range<Offset>]] = [:]
    package private(set) var findings: [JournalFinding] = []
    package private(set) var segments = 0
    package private(set) var records = 0
    package private(set) var bytes = 0

    private let folder: String
    private let storage: any Storage
    private let isServed: Bool
    private let progress: @Sendable (_ bytes: Int) -> Void

    private struct Segment {
        var first: Offset
        var path: String
        var file: any StorageFile
        var size: Int
        var header: SegmentHeader?
        var isLast: Bool
        /// A repair has set its original aside.
        var wasRepaired: Bool
    }

    /// Where the topic stands after the segments read so far.
    private struct Topic {
        var name: String
        var end: Offset?
        var time = Timestamp.distantPast
    }

    /// - Parameters:
    ///   - isServed: a server writes to it meanwhile, so that the end of a topic may be in the making.
    ///   - progress: told every now and then how many bytes have been read.
    package init(
        reading folder: String, storage: any Storage = FileStorage(), isServed: Bool,
        progress: @escaping @Sendable (_ bytes: Int) -> Void = { _ in }
    ) throws(StorageError) {
        self.folder = folder
        self.storage = storage
        self.isServed = isServed
        self.progress = progress
        for name in try storage.list(folder).sorted() where Journal.isTopicName(name) {
            do {
                try inspect(name)
            } catch {
                guard error.isNoFolder else { throw error }
                findings.append(JournalFinding(.foreignFile, topic: name, file: "\(folder)/\(name)"))
            }
        }
    }

    /// Whether the record of this offset is there and sound.
    package func has(_ offset: Offset, of topic: String) -> Bool {
        let ranges = present[topic] ?? []
        let after = ranges.partitioningIndex { $0.upperBound > offset }
        return after < ranges.count && ranges[after].contains(offset)
    }

    /// The first offset there is and one past the last; nil where the topic has no folder.
    package func bounds(of topic: String) -> Range<Offset>? {
        guard let ranges = present[topic] else { return nil }
        return (ranges.first?.lowerBound ?? ends[topic] ?? 0)..<(ends[topic] ?? 0)
    }

    /// One past the last offset that each topic has used.
    private var ends: [String: Offset] = [:]

    private mutating func inspect(_ name: String) throws(StorageError) {
        let path = "\(folder)/\(name)"
        var firsts: [Offset] = []
        var setAside: Set<Offset> = []
        for file in try storage.list(path).sorted() {
            let parts = file.split(separator: ".", maxSplits: 1)
            if parts.count == 2, parts[0].utf8.count == 20, let first = Offset(parts[0]) {
                switch parts[1] {
                case "log":
                    firsts.append(first)
                    continue
                case "idx": continue
                case _ where parts[1].contains("damaged") || parts[1].hasSuffix("torn"):
                    setAside.insert(first)
                    findings.append(JournalFinding(.setAside, topic: name, file: "\(path)/\(file)"))
                    continue
                default: break
                }
            }
            findings.append(JournalFinding(.foreignFile, topic: name, file: "\(path)/\(file)"))
        }
        present[name] = []
        var topic = Topic(name: name)
        for (index, first) in firsts.enumerated() {
            let isLast = index + 1 == firsts.count
            let next = isLast ? nil : firsts[index + 1]
            do {
                try inspect(
                    first, of: &topic, folder: path, before: next, setAside: setAside)
            } catch {
                // Retention removes segments while a server runs.
                if isServed, error.isMissing { continue }
                let file = TopicLog.logPath(path, first)
                findings.append(
                    JournalFinding(
                        .unreadable, topic: name, file: file, lost: next.map { first..<$0 }, error: "\(error)"))
                topic.end = next
            }
        }
        ends[name] = topic.end ?? firsts.last ?? 0
    }

    private mutating func inspect(
        _ first: Offset, of topic: inout Topic, folder: String, before next: Offset?, setAside: Set<Offset>
    ) throws(StorageError) {
        let path = TopicLog.logPath(folder, first)
        let file = try storage.open(path, create: false)
        var segment = Segment(
            first: first, path: path, file: file, size: try file.size(), header: nil, isLast: next == nil,
            wasRepaired: setAside.contains(first))
        segments += 1
        defer { progress(bytes) }
        let start = try file.bytes(at: 0, count: SegmentHeader.byteCount)
        do throws(SegmentHeader.Fault) {
            let header = try SegmentHeader(decoding: start)
            segment.header = header.first == first ? header : nil
        } catch {
            if case .newer = error {
                add(.newerSegment, topic, path, lost: next.map { first..<$0 })
                topic.end = next ?? first
                return
            }
        }
        let walk = RecordWalk(file, from: SegmentHeader.byteCount, expecting: first, limit: segment.size)
        guard let header = segment.header else {
            if segment.isLast, try walk.isZeroToEnd() {
                return add(.unfinishedSegment, topic, path)
            }
            guard let found = try walk.peek(), found.offset == first else {
                add(.unusableSegment, topic, path, lost: first..<(next ?? first), bytes: segment.size)
                topic.end = next ?? first
                return
            }
            add(.damagedHeader, topic, path)
            return try read(segment, walk, &topic, before: next)
        }
        if let end = topic.end, end < header.previousEnd {
            let lost = end..<header.previousEnd
            add(setAside.contains { lost.contains($0) } ? .leftOut : .missing, topic, path, lost: lost)
        }
        try read(segment, walk, &topic, before: next)
    }

    private mutating func read(
        _ segment: Segment, _ walk: RecordWalk, _ topic: inout Topic, before next: Offset?
    ) throws(StorageError) {
        let index = try index(of: segment)
        var points = (index?.points ?? [])[...]
        // Bad bytes beyond were never acknowledged.
        let acknowledged = max(points.last.map { $0.position + 1 } ?? 0, index?.end?.position ?? 0)
        var agrees = index != nil || segment.isLast
        var last: RecordWalk.Found?
        var run: Range<Offset>?
        var told = bytes
        var falls = false
        defer { if let run { present[topic.name, default: []].append(run) } }
        reading: while true {
            let expected = walk.expected
            switch try walk.next() {
            case .end: break reading
            case .record(let found):
                records += 1
                bytes += found.byteCount
                if bytes - told > 16 << 20 {
                    told = bytes
                    progress(bytes)
                }
                if found.offset > expected {
                    add(segment.wasRepaired ? .leftOut : .missing, topic, segment.path, lost: expected..<found.offset)
                }
                if let range = run, range.upperBound == found.offset {
                    run = range.lowerBound..<found.offset + 1
                } else {
                    if let run { present[topic.name, default: []].append(run) }
                    run = found.offset..<found.offset + 1
                }
                if found.time < topic.time { falls = true }
                topic.time = max(topic.time, found.time)
                while let point = points.first, point.position <= found.position {
                    if point.position != found.position || point.offset != found.offset || point.time != found.time {
                        agrees = false
                    }
                    points.removeFirst()
                }
                last = found
            case .bad:
                let position = walk.position
                if try walk.isZeroToEnd() { break reading }
                if segment.isLast, position >= acknowledged {
                    if !isServed { try add(tail: segment, topic, walk, from: position, expected) }
                    break reading
                }
                let goesOn = try walk.skipDamage(before: next ?? .max)
                let following = try goesOn ? walk.peek()?.offset : nil
                let knownEnd = max(index?.end?.offset ?? 0, points.last.map { $0.offset + 1 } ?? 0)
                let gone = expected..<max(expected, following ?? next ?? knownEnd)
                add(.damagedRecords, topic, segment.path, lost: gone, bytes: walk.position - position)
                // The index points at what is damaged, and rightly.
                while let point = points.first, point.position < walk.position { points.removeFirst() }
                if !goesOn {
                    topic.end = gone.upperBound
                    break reading
                }
                walk.jump(to: walk.position, expecting: following ?? gone.upperBound)
            }
        }
        if falls { add(.fallingTime, topic, segment.path) }
        let end = max(last.map { $0.offset + 1 } ?? segment.first, topic.end ?? 0)
        topic.end = end
        if let known = index?.end, !(segment.isLast && known.offset < end) {
            let lastEnd = last.map { $0.position + $0.byteCount } ?? SegmentHeader.byteCount
            if known.position < lastEnd || known.offset < end { agrees = false }
            if known.offset > end {
                if segment.wasRepaired {
                    add(.leftOut, topic, segment.path, lost: end..<known.offset)
                    topic.end = known.offset
                } else if segment.isLast {
                    add(.missing, topic, segment.path, lost: end..<known.offset)
                    topic.end = known.offset
                }
            } else if let last, known.time != last.time {
                agrees = false
            }
        } else if !segment.isLast {
            agrees = false
        }
        if points.contains(where: { $0.position < (last?.position ?? 0) }) { agrees = false }
        if !agrees { add(.wrongIndex, topic, TopicLog.indexPath(folder + "/" + topic.name, segment.first)) }
    }

    /// The index as far as it is sound; nil where there is none, or not all of it is.
    private func index(of segment: Segment) throws(StorageError) -> SegmentIndex? {
        let path = segment.path.dropLast("log".count) + "idx"
        guard let file = try storage.openIfPresent(String(path)) else { return nil }
        let size = try file.size()
        guard let index = try SegmentIndex(reading: file, first: segment.first) else { return nil }
        let entries = index.points.count + (index.end == nil ? 0 : 1)
        let isWhole = size <= SegmentIndex.headerByteCount + entries * SegmentIndex.entryByteCount
        // The last segment's may be in the making.
        return isWhole || segment.isLast ? index : nil
    }

    private mutating func add(
        tail segment: Segment, _ topic: Topic, _ walk: RecordWalk, from position: Int, _ expected: Offset
    ) throws(StorageError) {
        let rest = try segment.file.bytes(at: position, count: segment.size - position)
        let used = (rest.lastIndex { $0 != 0 } ?? -1) + 1
        let following = try walk.skipDamage() ? walk.peek()?.offset : nil
        guard let following else { return add(.tornTail, topic, segment.path, bytes: used) }
        add(.damagedRecords, topic, segment.path, lost: expected..<following, bytes: walk.position - position)
    }

    private mutating func add(
        _ kind: JournalFinding.Kind, _ topic: Topic, _ file: String, lost: Range<Offset>? = nil, bytes: Int = 0
    ) {
        findings.append(JournalFinding(kind, topic: topic.name, file: file, lost: lost, bytes: bytes))
    }
}
