// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events
import Synchronization

extension TopicLog {
    /// Where a read starts: at a record that isn't after the wanted one.
    private struct Place {
        var segment: Offset
        var file: any StorageFile
        var position: Int
        /// The lowest offset of the record at `position`.
        var offset: Offset
        /// One past the last readable byte of the segment.
        var limit: Int
        /// One past the segment's last readable offset.
        var end: Offset
        /// Bytes of a record of this segment, about.
        var recordBytes: Int
    }

    /// Records of one segment from `from` on, or from the next one there is; nil at the end.
    func read(from: Offset, maxRecords: Int, maxBytes: Int) throws(Failure) -> RecordBatch? {
        do {
            var from = from
            while let place = try place(of: from) {
                from = max(from, place.segment)
                if let batch = try read(from, at: place, maxRecords: maxRecords, maxBytes: maxBytes) { return batch }
                from = place.end
            }
            return nil
        } catch {
            throw Failure(.storage, "topic \"\(topic)\" can't be read at offset \(from): \(error)")
        }
    }

    private func place(of from: Offset) throws(StorageError) -> Place? {
        while true {
            enum Where {
                case active(Place)
                case sealed(SealedSegment, position: Int?)
            }
            let found: Where? = view.withLock { view in
                guard from < view.end else { return nil }
                let after = view.sealed.partitioningIndex { $0.end > from }
                if after < view.sealed.count {
                    let segment = view.sealed[after]
                    let known = view.places[from]
                    return .sealed(segment, position: known?.segment == segment.first ? known?.position : nil)
                }
                // Only offsets that were left out lie between the sealed segments and the active one.
                let wanted = max(from, view.activeFirst)
                var point = IndexPoint(
                    offset: view.activeFirst, position: SegmentHeader.byteCount, time: .distantPast)
                if let known = view.places[from], known.segment == view.activeFirst {
                    point = IndexPoint(offset: from, position: known.position, time: .distantPast)
                } else if let near = view.points.last(notAfter: wanted) {
                    point = near
                }
                let count = Int(view.end - view.activeFirst)
                return .active(
                    Place(
                        segment: view.activeFirst, file: view.active, position: point.position, offset: point.offset,
                        limit: view.activeByteCount, end: view.end,
                        recordBytes: view.activeByteCount / max(1, count)))
            }
            switch found {
            case nil:
                return nil
            case .active(let place):
                return place
            case .sealed(let segment, let position):
                do {
                    let open = try openSegment(segment)
                    var start = IndexPoint(
                        offset: segment.first, position: SegmentHeader.byteCount, time: .distantPast)
                    if let position {
                        start = IndexPoint(offset: from, position: position, time: .distantPast)
                    } else if let near = open.points.last(notAfter: max(from, segment.first)) {
                        start = near
                    }
                    return Place(
                        segment: segment.first, file: open.file, position: start.position, offset: start.offset,
                        limit: segment.byteCount, end: segment.end,
                        recordBytes: segment.byteCount / max(1, Int(segment.end - segment.first)))
                } catch {
                    // Retention may have removed it since: then the view no longer has it.
                    let remains = view.withLock { $0.sealed.contains { $0.first == segment.first } }
                    if !error.isMissing || remains { throw error }
                }
            }
        }
    }

    private func openSegment(_ segment: SealedSegment) throws(StorageError) -> OpenSegment {
        let known = open.withLock { open -> OpenSegment? in
            guard let index = open.firstIndex(where: { $0.first == segment.first }) else { return nil }
            let found = open.remove(at: index)
            open.append(found)
            return found
        }
        if let known { return known }
        let file = try storage.open(Self.logPath(folder, segment.first), create: false)
        var points: [IndexPoint] = []
        // Without an index the segment is walked from its start.
        if let index = try storage.openIfPresent(Self.indexPath(folder, segment.first)) {
            points = try SegmentIndex(reading: index, first: segment.first)?.points ?? []
        }
        let opened = OpenSegment(first: segment.first, file: file, points: points)
        open.withLock { open in
            if open.count >= Limits.openSegmentsMax { open.removeFirst() }
            open.append(opened)
        }
        return opened
    }

    private func read(
        _ from: Offset, at place: Place, maxRecords: Int, maxBytes: Int
    ) throws(StorageError) -> RecordBatch? {
        let walk = RecordWalk(place.file, from: place.position, expecting: place.offset, limit: place.limit)
        while true {
            // Up to the wanted record.
            while walk.expected < from, walk.position < place.limit {
                if let found = try walk.peek() {
                    if found.offset >= from { break }
                    walk.jump(to: found.position + found.byteCount, expecting: found.offset + 1)
                } else if try !passHole(walk, place) {
                    return nil
                }
            }
            let position = walk.position
            guard position < place.limit else { return nil }
            if let batch = try records(
                at: position, notBefore: max(from, walk.expected), place, maxRecords: maxRecords, maxBytes: maxBytes)
            {
                let next = batch.last + 1
                view.withLock { view in
                    if view.places.count >= Limits.readPlacesMax { view.places.removeAll() }
                    if next < place.end || place.segment == view.activeFirst {
                        view.places[next] = (place.segment, position + batch.byteCount)
                    }
                }
                return batch
            }
            if try !passHole(walk, place) { return nil }
        }
    }

    /// Moves the walk beyond the damage it stands at; the first to come upon it reports it.
    private func passHole(_ walk: RecordWalk, _ place: Place) throws(StorageError) -> Bool {
        let position = walk.position
        let expected = walk.expected
        let known = holes.withLock { $0[place.segment]?.first { $0.positions.lowerBound == position } }
        if let known {
            guard known.positions.upperBound < place.limit else { return false }
            walk.jump(to: known.positions.upperBound, expecting: known.next)
            return true
        }
        let goesOn = try walk.skipDamage(before: place.end)
        let next = try goesOn ? walk.peek()?.offset ?? place.end : place.end
        let hole = Hole(positions: position..<walk.position, next: next)
        let isNew = holes.withLock { holes in
            guard holes[place.segment]?.contains(hole) != true else { return false }
            holes[place.segment, default: []].append(hole)
            return true
        }
        if isNew {
            report(
                RecoveryNote(
                    .damagedRecords, topic: topic, file: Self.logPath(folder, place.segment),
                    lost: expected..<max(expected, next), bytes: hole.positions.count))
        }
        return goesOn
    }

    /// The records from `position` on, in one buffer with its padding; nil where the first one is damaged.
    private func records(
        at position: Int, notBefore: Offset, _ place: Place, maxRecords: Int, maxBytes: Int
    ) throws(StorageError) -> RecordBatch? {
        let padding = Int(FL_RECORD_PADDING)
        let available = place.limit - position
        let (guess, overflow) = max(1, maxRecords).multipliedReportingOverflow(by: place.recordBytes * 5 / 4 + 1)
        var want = min(available, max(maxBytes, 1), max(overflow ? .max : guess, Limits.indexIntervalBytes))
        while true {
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: want + padding, alignment: 8)
            let count: Int
            do {
                count = try place.file.read(
                    at: position, into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<want]))
            } catch {
                buffer.deallocate()
                throw error
            }
            var starts: [UInt32] = []
            starts.reserveCapacity(min(maxRecords, count / max(1, place.recordBytes) + 1))
            var at = 0
            var expected = notBefore
            while at < count, starts.count < max(1, maxRecords) {
                let record = UnsafeRawPointer(buffer.baseAddress!) + at
                guard fl_record_is_framed(record, count - at) != 0 else { break }
                let length = Int(fl_record_length(record))
                guard fl_crc32c(0, record + 8, length - 8) == fl_record_crc(record),
                    fl_record_offset(record) >= expected
                else { break }
                starts.append(UInt32(at))
                expected = fl_record_offset(record) + 1
                at += length
            }
            if !starts.isEmpty {
                return RecordBatch(topic: topic, storage: buffer, byteCount: at, starts: starts)
            }
            // The first record may be larger than what was read.
            let framed = count >= Int(FL_RECORD_HEADER_BYTES) ? Int(fl_record_length(buffer.baseAddress)) : available
            buffer.deallocate()
            let needed = min(framed, Limits.recordBytesMax, available)
            guard needed > want else { return nil }
            want = needed
        }
    }

    /// The first offset whose record's time is `time` or later; the end where there is none.
    func offset(at time: Timestamp) throws(Failure) -> Offset {
        do {
            enum Where {
                case end(Offset)
                case sealed(SealedSegment)
                case active(any StorageFile, IndexPoint?, first: Offset, limit: Int, end: Offset)
            }
            while true {
                let found: Where = view.withLock { view in
                    let after = view.sealed.partitioningIndex { $0.lastTime >= time }
                    if after < view.sealed.count { return .sealed(view.sealed[after]) }
                    guard view.lastTime >= time else { return .end(view.end) }
                    return .active(
                        view.active, view.points.last(before: time), first: view.activeFirst,
                        limit: view.activeByteCount, end: view.end)
                }
                switch found {
                case .end(let end):
                    return end
                case .active(let file, let point, let first, let limit, let end):
                    return try search(file, from: point, first: first, limit: limit, time: time) ?? end
                case .sealed(let segment):
                    do {
                        let open = try openSegment(segment)
                        let point = open.points.last(before: time)
                        return try search(
                            open.file, from: point, first: segment.first, limit: segment.byteCount, time: time)
                            ?? segment.end
                    } catch {
                        let remains = view.withLock { $0.sealed.contains { $0.first == segment.first } }
                        if !error.isMissing || remains { throw error }
                    }
                }
            }
        } catch {
            throw Failure(.storage, "topic \"\(topic)\" can't be searched by time: \(error)")
        }
    }

    private func search(
        _ file: any StorageFile, from point: IndexPoint?, first: Offset, limit: Int, time: Timestamp
    ) throws(StorageError) -> Offset? {
        let walk = RecordWalk(
            file, from: point?.position ?? SegmentHeader.byteCount, expecting: point?.offset ?? first, limit: limit)
        while true {
            switch try walk.next() {
            case .record(let found): if found.time >= time { return found.offset }
            case .bad: if try !walk.skipDamage() { return nil }
            case .end: return nil
            }
        }
    }
}
