// SPDX-License-Identifier: Apache-2.0

import Events
import Journal
import Synchronization
import Testing

/// A disk that counts what is read from it.
private final class CountingStorage: Storage {
    private let disk: SimulatedStorage
    let bytesRead = Mutex(0)
    let bytesWritten = Mutex(0)

    init(_ disk: SimulatedStorage) {
        self.disk = disk
    }

    func open(_ path: String, create: Bool) throws(StorageError) -> any StorageFile {
        CountedFile(try disk.open(path, create: create), self)
    }
    func createFolder(_ path: String) throws(StorageError) { try disk.createFolder(path) }
    func list(_ folder: String) throws(StorageError) -> [String] { try disk.list(folder) }
    func rename(_ path: String, to newPath: String) throws(StorageError) { try disk.rename(path, to: newPath) }
    func remove(_ path: String) throws(StorageError) { try disk.remove(path) }
    func removeFolder(_ path: String) throws(StorageError) { try disk.removeFolder(path) }
    func syncFolder(_ path: String) throws(StorageError) { try disk.syncFolder(path) }
}

private final class CountedFile: StorageFile {
    private let file: any StorageFile
    private let storage: CountingStorage

    init(_ file: any StorageFile, _ storage: CountingStorage) {
        self.file = file
        self.storage = storage
    }

    func read(at position: Int, into buffer: UnsafeMutableRawBufferPointer) throws(StorageError) -> Int {
        let count = try file.read(at: position, into: buffer)
        storage.bytesRead.withLock { $0 += count }
        return count
    }
    func write(_ buffers: [UnsafeRawBufferPointer], at position: Int) throws(StorageError) {
        storage.bytesWritten.withLock { $0 += buffers.reduce(0) { $0 + $1.count } }
        try file.write(buffers, at: position)
    }
    func allocate(_ size: Int) throws(StorageError) { try file.allocate(size) }
    func truncate(_ size: Int) throws(StorageError) { try file.truncate(size) }
    func sync() throws(StorageError) { try file.sync() }
    func size() throws(StorageError) -> Int { try file.size() }
}

/// Opening reads what it must and no more, however much there is.
@Suite(.timeLimit(.minutes(3))) struct OpeningTests {
    private let clock = TestClock()
    private let topic = Topic.named("orders")

    private func fill(_ events: Int, isClosed: Bool) throws -> SimulatedStorage {
        let disk = SimulatedStorage(seed: 7)
        let journal = Journal(
            folder: "journal", storage: disk, clock: clock, log: quietLogger(), segmentBytesMax: 8 << 20,
            writing: .manual)
        try journal.open()
        try journal.create(topic)
        for start in stride(from: 0, to: events, by: 5_000) {
            journal.append(batch(topic, "e\(start)", count: 5_000, dataBytes: 64)) { _ in }
            journal.step()
        }
        #expect(journal.bounds(topic)?.end == Offset(events))
        if isClosed { journal.close() } else { disk.kill() }
        return disk
    }

    @Test(arguments: [true, false]) func openingReadsAFewMebibytesHoweverMuchThereIs(_ isClosed: Bool) throws {
        let disk = try fill(300_000, isClosed: isClosed)
        let held = disk.usedBytes
        let counting = CountingStorage(disk)
        let journal = Journal(
            folder: "journal", storage: counting, clock: clock, log: quietLogger(), segmentBytesMax: 8 << 20,
            writing: .manual)
        let notes = try journal.open()
        #expect(notes.isEmpty)
        #expect(journal.bounds(topic)?.end == 300_000)
        let read = counting.bytesRead.withLock { $0 }
        let written = counting.bytesWritten.withLock { $0 }
        // What follows the last point of the last index, read twice and written once, and a little of each segment.
        #expect(held > 30 << 20)
        #expect(read < 2 * (4 << 20) + (1 << 20), "\(read) of \(held) bytes were read")
        #expect(written <= (4 << 20) + (1 << 16), "\(written) bytes were written")
        #expect(try journal.read(topic, from: 299_999, maxRecords: 1, maxBytes: 1)?.first == 299_999)
    }
}
