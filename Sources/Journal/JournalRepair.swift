// SPDX-License-Identifier: Apache-2.0

package import Events
package import Logging

/// Mends what a ``JournalInspection`` found, with nobody else at the journal. Nothing is deleted but what never held a
/// record: originals stay beside what replaces them, as `….damaged`.
package struct JournalRepair {
    private let folder: String
    private let storage: any Storage

    package init(of folder: String, storage: any Storage = FileStorage()) {
        self.folder = folder
        self.storage = storage
    }

    /// - Returns: what opening the journal mended beside.
    package func mend(_ findings: [JournalFinding], clock: any Clock, log: Logger) throws(Failure) -> [RecoveryNote] {
        do {
            var rewritten: Set<String> = []
            for finding in findings where finding.kind == .damagedRecords && rewritten.insert(finding.file).inserted {
                try rewrite(finding.file)
            }
            for finding in findings
            where finding.kind == .wrongIndex && !rewritten.contains(Self.segment(of: finding.file)) {
                try setAside(finding.file)
            }
        } catch {
            throw Failure(.storage, "the journal in \(folder) can't be repaired: \(error)")
        }
        // Opening does the rest: torn ends, headers, unusable segments, indexes.
        let journal = Journal(folder: folder, storage: storage, clock: clock, log: log, writing: .manual)
        let notes = try journal.open()
        journal.close()
        return notes
    }

    /// Writes the sound records of a segment into a new one of the same name, with an index that says where the original
    /// ended.
    private func rewrite(_ path: String) throws(StorageError) {
        let file = try storage.open(path, create: false)
        let size = try file.size()
        let indexPath = String(path.dropLast("log".count) + "idx")
        let first = Self.first(path)
        var bytes = try file.bytes(at: 0, count: SegmentHeader.byteCount)
        var points: [IndexPoint] = []
        let walk = RecordWalk(file, from: SegmentHeader.byteCount, expecting: first, limit: size)
        var end = IndexPoint(offset: first, position: bytes.count, time: .distantPast)
        reading: while true {
            switch try walk.next() {
            case .record(let found):
                if points.last.map({ bytes.count - $0.position >= Limits.indexIntervalBytes }) ?? true {
                    points.append(IndexPoint(offset: found.offset, position: bytes.count, time: found.time))
                }
                bytes += try file.bytes(at: found.position, count: found.byteCount)
                end = IndexPoint(offset: found.offset + 1, position: bytes.count, time: found.time)
            case .bad:
                if try walk.isZeroToEnd() { break reading }
                if try !walk.skipDamage() { break reading }
            case .end: break reading
            }
        }
        end.offset = max(end.offset, try knownEnd(of: path, first, indexPath))
        try copy(file, size: size, to: try free(path))
        // In this order: whenever it ends, there is a whole segment, with its index or without.
        try setAside(indexPath)
        try write(bytes, replacing: path)
        try write(SegmentIndex.header(first: first) + SegmentIndex.entries(points, end: end), replacing: indexPath)
    }

    /// One past the last offset that the original held, as its index or the segment after it says.
    private func knownEnd(of path: String, _ first: Offset, _ indexPath: String) throws(StorageError) -> Offset {
        let folder = Self.folder(path)
        let later = try storage.list(folder).filter { $0.hasSuffix(".log") }.map { Self.first("\(folder)/\($0)") }
            .filter { $0 > first }.min()
        if let later {
            let next = try storage.open(TopicLog.logPath(folder, later), create: false)
            let bytes = try next.bytes(at: 0, count: SegmentHeader.byteCount)
            if let header = try? SegmentHeader(decoding: bytes) { return header.previousEnd }
        }
        guard let file = try storage.openIfPresent(indexPath),
            let index = try SegmentIndex(reading: file, first: first)
        else { return 0 }
        return max(index.end?.offset ?? 0, index.points.last.map { $0.offset + 1 } ?? 0)
    }

    private func write(_ bytes: [UInt8], replacing path: String) throws(StorageError) {
        let new = path + ".new"
        try storage.removeIfPresent(new)
        let file = try storage.open(new, create: true)
        try file.write(bytes, at: 0)
        try file.sync()
        try storage.rename(new, to: path)
        try storage.syncFolder(Self.folder(path))
    }

    private static func segment(of index: String) -> String { index.dropLast("idx".count) + "log" }

    private static func folder(_ path: String) -> String {
        String(path.prefix(upTo: path.lastIndex(of: "/") ?? path.startIndex))
    }

    private static func first(_ path: String) -> Offset {
        Offset(path.split(separator: "/").last?.prefix(20) ?? "") ?? 0
    }

    private func setAside(_ path: String) throws(StorageError) {
        guard try storage.openIfPresent(path) != nil else { return }
        try storage.rename(path, to: try free(path))
        try storage.syncFolder(Self.folder(path))
    }

    /// A name for the original that nothing has yet.
    private func free(_ path: String) throws(StorageError) -> String {
        var name = path + ".damaged"
        var number = 2
        while try storage.openIfPresent(name) != nil {
            name = "\(path).\(number).damaged"
            number += 1
        }
        return name
    }

    private func copy(_ file: any StorageFile, size: Int, to path: String) throws(StorageError) {
        let copy = try storage.open(path, create: true)
        var at = 0
        while at < size {
            let bytes = try file.bytes(at: at, count: min(size - at, Limits.indexCheckpointBytes))
            try copy.write(bytes, at: at)
            at += bytes.count
        }
        try copy.sync()
    }
}
