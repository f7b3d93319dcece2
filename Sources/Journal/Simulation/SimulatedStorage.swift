// SPDX-License-Identifier: Apache-2.0

import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// A disk in memory that does what real ones do at the worst moment. Everything random comes from the seed.
///
/// What isn't synced is uncertain: at ``crash()`` each 512-byte sector written since the last sync is there or not, each
/// by itself; so is a new length; of the folder's changes since its last sync a beginning is kept. A sync that fails
/// forgets what it was to write, as Linux does: later syncs succeed without it.
package final class SimulatedStorage: Storage {
    package enum Call: Hashable, Sendable {
        case open, write, allocate, truncate, sync, rename, remove, syncFolder, read
    }

    private static let sectorBytes = 512

    /// A file's contents: what processes see and what a crash leaves.
    private final class Node {
        var path: String
        var current: [UInt8] = []
        var durable: [UInt8] = []
        var dirty: Set<Int> = []
        var isLengthDirty = false

        init(path: String) {
            self.path = path
        }
    }

    private enum FolderChange {
        case add(String, Node)
        case remove(String)
    }

    // Nodes are touched only inside `Mutex`; that is what makes them safe to share.
    private struct Disk: @unchecked Sendable {
        var random: SeededRandom
        var files: [String: Node] = [:]
        var durableFiles: [String: Node] = [:]
        var changes: [(folder: String, change: FolderChange)] = []
        var capacity = Int.max
        var faults: [Call: (after: Int, errno: Int32)] = [:]
        var faultPercent: [Call: Int] = [:]
        var epoch = 0

        var used: Int { files.values.reduce(0) { $0 + $1.current.count } }

        mutating func fault(_ call: Call, _ path: String) -> StorageError? {
            if let fault = faults[call] {
                if fault.after == 0 {
                    faults[call] = nil
                    return StorageError("\(call)", path, errno: fault.errno)
                }
                faults[call] = (fault.after - 1, fault.errno)
            }
            guard let percent = faultPercent[call], random.chance(percent) else { return nil }
            return StorageError("\(call)", path, errno: EIO)
        }

        mutating func check(_ call: Call, _ path: String) throws(StorageError) {
            if let fault = fault(call, path) { throw fault }
        }
    }

    private let disk: Mutex<Disk>

    package init(seed: UInt64) {
        disk = Mutex(Disk(random: SeededRandom(seed: seed)))
    }

    // MARK: What goes wrong

    /// Bytes that all files together may have.
    package func setCapacity(_ bytes: Int) {
        disk.withLock { $0.capacity = bytes }
    }

    package var usedBytes: Int { disk.withLock { $0.used } }

    /// Fails one call, after `after` that go well.
    package func failNext(_ call: Call, after: Int = 0, errno: Int32 = EIO) {
        disk.withLock { $0.faults[call] = (after, errno) }
    }

    /// Fails calls at random; 0 ends that.
    package func fail(_ call: Call, percent: Int) {
        disk.withLock { $0.faultPercent[call] = percent == 0 ? nil : percent }
    }

    /// From now on all goes well.
    package func clearFaults() {
        disk.withLock { disk in
            disk.faults = [:]
            disk.faultPercent = [:]
        }
    }

    /// The machine loses power and starts again. Files that are open stay usable by nobody.
    package func crash() {
        disk.withLock { disk in
            disk.epoch += 1
            let kept = Int.random(in: 0...disk.changes.count, using: &disk.random)
            for (_, change) in disk.changes.prefix(kept) { Self.apply(change, to: &disk.durableFiles) }
            disk.changes = []
            disk.files = disk.durableFiles
            for path in disk.files.keys.sorted() {
                Self.tear(disk.files[path]!, random: &disk.random)
            }
        }
    }

    /// The process dies and the machine goes on: what was written stays.
    package func kill() {
        disk.withLock { $0.epoch += 1 }
    }

    /// Changes bytes behind the journal's back.
    package func corrupt(_ path: String, at position: Int, with bytes: [UInt8]) {
        disk.withLock { disk in
            guard let node = disk.files[path] else { return }
            for (index, byte) in bytes.enumerated() where position + index < node.current.count {
                node.current[position + index] = byte
                if position + index < node.durable.count { node.durable[position + index] = byte }
            }
        }
    }

    package func contents(_ path: String) -> [UInt8]? {
        disk.withLock { $0.files[path]?.current }
    }

    private static func tear(_ node: Node, random: inout SeededRandom) {
        var left = node.durable
        if node.isLengthDirty, random.chance(50) {
            resize(&left, to: node.current.count)
        }
        for sector in node.dirty.sorted() where random.chance(50) {
            let start = sector * sectorBytes
            let end = min(start + sectorBytes, left.count, node.current.count)
            if start < end { left.replaceSubrange(start..<end, with: node.current[start..<end]) }
        }
        node.current = left
        node.durable = left
        node.dirty = []
        node.isLengthDirty = false
    }

    private static func resize(_ bytes: inout [UInt8], to count: Int) {
        if bytes.count > count {
            bytes.removeLast(bytes.count - count)
        } else {
            bytes += [UInt8](repeating: 0, count: count - bytes.count)
        }
    }

    private static func apply(_ change: FolderChange, to files: inout [String: Node]) {
        switch change {
        case .add(let path, let node): files[path] = node
        case .remove(let path): files[path] = nil
        }
    }

    private static func folder(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
    }

    // MARK: Storage

    package func open(_ path: String, create: Bool) throws(StorageError) -> any StorageFile {
        try disk.withLock { disk throws(StorageError) in
            try disk.check(.open, path)
            if let node = disk.files[path] {
                if create { throw StorageError("open", path, errno: EEXIST) }
                return File(storage: self, node: node, epoch: disk.epoch)
            }
            guard create else { throw StorageError("open", path, errno: ENOENT) }
            let node = Node(path: path)
            disk.files[path] = node
            disk.changes.append((Self.folder(of: path), .add(path, node)))
            return File(storage: self, node: node, epoch: disk.epoch)
        }
    }

    package func createFolder(_ path: String) throws(StorageError) {}

    package func list(_ folder: String) throws(StorageError) -> [String] {
        disk.withLock { disk in
            let inside = disk.files.keys.filter { $0.hasPrefix(folder + "/") }
            return Set(inside.map { String($0.dropFirst(folder.count + 1).prefix { $0 != "/" }) }).sorted()
        }
    }

    package func rename(_ path: String, to newPath: String) throws(StorageError) {
        try disk.withLock { disk throws(StorageError) in
            try disk.check(.rename, path)
            guard let node = disk.files.removeValue(forKey: path) else {
                throw StorageError("rename", path, errno: ENOENT)
            }
            node.path = newPath
            disk.files[newPath] = node
            disk.changes.append((Self.folder(of: path), .add(newPath, node)))
            disk.changes.append((Self.folder(of: path), .remove(path)))
        }
    }

    package func remove(_ path: String) throws(StorageError) {
        try disk.withLock { disk throws(StorageError) in
            try disk.check(.remove, path)
            guard disk.files.removeValue(forKey: path) != nil else {
                throw StorageError("unlink", path, errno: ENOENT)
            }
            disk.changes.append((Self.folder(of: path), .remove(path)))
        }
    }

    /// A folder is there as long as it has files.
    package func removeFolder(_ path: String) throws(StorageError) {}

    package func syncFolder(_ path: String) throws(StorageError) {
        try disk.withLock { disk throws(StorageError) in
            try disk.check(.syncFolder, path)
            for (folder, change) in disk.changes where folder == path { Self.apply(change, to: &disk.durableFiles) }
            disk.changes.removeAll { $0.folder == path }
        }
    }

    // Checked by hand: `node` is touched only while the storage's lock is held.
    private final class File: StorageFile, @unchecked Sendable {
        private let storage: SimulatedStorage
        private let node: Node
        private let epoch: Int

        init(storage: SimulatedStorage, node: Node, epoch: Int) {
            self.storage = storage
            self.node = node
            self.epoch = epoch
        }

        private func onDisk<Value>(
            _ call: Call?, _ body: (inout Disk) throws(StorageError) -> Value
        ) throws(StorageError) -> Value {
            let result: Result<Value, StorageError> = storage.withDisk { (disk) in
                Result { () throws(StorageError) in
                    guard disk.epoch == epoch else {
                        throw StorageError("\(call, default: "stat")", node.path, errno: EBADF)
                    }
                    if let call { try disk.check(call, node.path) }
                    return try body(&disk)
                }
            }
            return try result.get()
        }

        func read(at position: Int, into buffer: UnsafeMutableRawBufferPointer) throws(StorageError) -> Int {
            try onDisk(.read) { _ in
                guard position < node.current.count else { return 0 }
                let end = min(position + buffer.count, node.current.count)
                buffer.copyBytes(from: node.current[position..<end])
                return end - position
            }
        }

        func write(_ buffers: [UnsafeRawBufferPointer], at position: Int) throws(StorageError) {
            try onDisk(nil) { (disk) throws(StorageError) in
                var bytes = buffers.flatMap { Array($0) }
                var failure = disk.fault(.write, node.path)
                if failure != nil {
                    // A write that fails may have done a part.
                    bytes.removeLast(Int.random(in: 0...bytes.count, using: &disk.random))
                }
                let growth = max(0, position + bytes.count - node.current.count)
                if disk.used + growth > disk.capacity {
                    let room = max(0, disk.capacity - disk.used)
                    bytes.removeLast(min(bytes.count, growth - room))
                    failure = failure ?? StorageError("pwritev", node.path, errno: ENOSPC)
                }
                put(bytes, at: position)
                if let failure { throw failure }
            }
        }

        private func put(_ bytes: [UInt8], at position: Int) {
            guard !bytes.isEmpty else { return }
            let end = position + bytes.count
            if end > node.current.count {
                SimulatedStorage.resize(&node.current, to: end)
                node.isLengthDirty = true
            }
            node.current.replaceSubrange(position..<end, with: bytes)
            node.dirty.formUnion(position / sectorBytes...(end - 1) / sectorBytes)
        }

        func allocate(_ size: Int) throws(StorageError) {
            try onDisk(.allocate) { (disk) throws(StorageError) in
                guard size > node.current.count else { return }
                guard disk.used + size - node.current.count <= disk.capacity else {
                    throw StorageError("fallocate", node.path, errno: ENOSPC)
                }
                SimulatedStorage.resize(&node.current, to: size)
                node.isLengthDirty = true
            }
        }

        func truncate(_ size: Int) throws(StorageError) {
            try onDisk(.truncate) { _ in
                guard size != node.current.count else { return }
                let shorter = min(size, node.current.count)
                SimulatedStorage.resize(&node.current, to: size)
                node.isLengthDirty = true
                // What is cut off and then allocated again reads as zeros, on disk as well once it is synced.
                if shorter < node.durable.count {
                    node.dirty.formUnion(shorter / sectorBytes...(node.durable.count - 1) / sectorBytes)
                }
            }
        }

        func sync() throws(StorageError) {
            try onDisk(nil) { (disk) throws(StorageError) in
                let failure = disk.fault(.sync, node.path)
                // A failed sync may have written some, and forgets the rest.
                let isWhole = failure == nil
                if isWhole || disk.random.chance(50) {
                    SimulatedStorage.resize(&node.durable, to: node.current.count)
                }
                for sector in node.dirty.sorted() where isWhole || disk.random.chance(50) {
                    let start = sector * sectorBytes
                    let end = min(start + sectorBytes, node.durable.count, node.current.count)
                    if start < end { node.durable.replaceSubrange(start..<end, with: node.current[start..<end]) }
                }
                node.dirty = []
                node.isLengthDirty = false
                if let failure { throw failure }
            }
        }

        func size() throws(StorageError) -> Int {
            try onDisk(nil) { _ in node.current.count }
        }
    }

    private func withDisk<Value>(_ body: (inout Disk) -> Value) -> Value {
        var result: Value?
        disk.withLock { result = body(&$0) }
        return result!
    }
}
