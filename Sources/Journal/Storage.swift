// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    import Glibc
#endif

/// The disk as the journal needs it. ``FileStorage`` is the real one, ``SimulatedStorage`` loses, tears, fails and
/// fills up. Paths are plain strings with `/`; all calls block and may come from any thread.
package protocol Storage: Sendable {
    /// Opens for reading and writing; `create` makes the file, which must not exist then.
    func open(_ path: String, create: Bool) throws(StorageError) -> any StorageFile
    /// Makes the folder and those above it; nothing happens where it exists.
    func createFolder(_ path: String) throws(StorageError)
    /// Names of what is in the folder, in any order; empty where there is no such folder.
    func list(_ folder: String) throws(StorageError) -> [String]
    func rename(_ path: String, to newPath: String) throws(StorageError)
    func remove(_ path: String) throws(StorageError)
    /// Removes an empty folder.
    func removeFolder(_ path: String) throws(StorageError)
    /// Makes what was created, renamed and removed in the folder durable.
    func syncFolder(_ path: String) throws(StorageError)
}

/// An open file; closed when the last reference goes.
package protocol StorageFile: AnyObject, Sendable {
    /// Fills as much of `buffer` as the file has from `position`; returns how much that was.
    func read(at position: Int, into buffer: UnsafeMutableRawBufferPointer) throws(StorageError) -> Int
    /// Writes all buffers, one after the other, or throws; then any part may have been written.
    func write(_ buffers: [UnsafeRawBufferPointer], at position: Int) throws(StorageError)
    /// Reserves space up to `size` and makes the file that long; what is new reads as zeros.
    func allocate(_ size: Int) throws(StorageError)
    func truncate(_ size: Int) throws(StorageError)
    /// fdatasync: contents and length are durable when it returns. After it has thrown, nothing is known of what was
    /// written since the last one that didn't, and a second call may lie
    /// (https://www.usenix.org/conference/atc20/presentation/rebello).
    func sync() throws(StorageError)
    func size() throws(StorageError) -> Int
}

extension Storage {
    /// Nil where there is no such file.
    func openIfPresent(_ path: String) throws(StorageError) -> (any StorageFile)? {
        do {
            return try open(path, create: false)
        } catch {
            if error.isMissing { return nil }
            throw error
        }
    }

    func removeIfPresent(_ path: String) throws(StorageError) {
        do {
            try remove(path)
        } catch {
            if !error.isMissing { throw error }
        }
    }
}

extension StorageFile {
    func write(_ bytes: [UInt8], at position: Int) throws(StorageError) {
        let result = bytes.withUnsafeBytes { raw in
            Result { () throws(StorageError) in try write([raw], at: position) }
        }
        try result.get()
    }

    /// What the file has of `count` bytes at `position`.
    func bytes(at position: Int, count: Int) throws(StorageError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: max(0, count))
        let result = bytes.withUnsafeMutableBytes { raw in
            Result { () throws(StorageError) in try read(at: position, into: raw) }
        }
        bytes.removeLast(bytes.count - (try result.get()))
        return bytes
    }
}

/// A system call that failed.
package struct StorageError: Error, Hashable, Sendable, CustomStringConvertible {
    package var call: String
    package var path: String
    package var errno: Int32

    package init(_ call: String, _ path: String, errno: Int32) {
        self.call = call
        self.path = path
        self.errno = errno
    }

    /// No space or no quota is left: it may pass by itself.
    package var isFull: Bool { errno == ENOSPC || errno == EDQUOT }
    package var isMissing: Bool { errno == ENOENT }
    /// A file where a folder was expected.
    package var isNoFolder: Bool { errno == ENOTDIR }

    package var description: String { "\(call) \(path): \(String(cString: strerror(errno)))" }
}
