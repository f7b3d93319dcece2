// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    import Glibc
#endif

/// The machine's file system.
package struct FileStorage: Storage {
    package init() {}

    package func open(_ path: String, create: Bool) throws(StorageError) -> any StorageFile {
        let flags = O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_EXCL : 0)
        let descriptor = try check("open", path) { Glibc.open(path, flags, 0o640) }
        return File(descriptor: descriptor, path: path)
    }

    package func createFolder(_ path: String) throws(StorageError) {
        var made = path.hasPrefix("/") ? "/" : ""
        for part in path.split(separator: "/") {
            made += made.isEmpty || made.hasSuffix("/") ? String(part) : "/" + part
            if mkdir(made, 0o750) != 0, errno != EEXIST { throw StorageError("mkdir", made, errno: errno) }
        }
    }

    package func list(_ folder: String) throws(StorageError) -> [String] {
        guard let stream = opendir(folder) else {
            if errno == ENOENT { return [] }
            throw StorageError("opendir", folder, errno: errno)
        }
        defer { closedir(stream) }
        var names: [String] = []
        errno = 0
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        if errno != 0 { throw StorageError("readdir", folder, errno: errno) }
        return names
    }

    package func rename(_ path: String, to newPath: String) throws(StorageError) {
        _ = try check("rename", path) { Glibc.rename(path, newPath) }
    }

    package func remove(_ path: String) throws(StorageError) {
        _ = try check("unlink", path) { unlink(path) }
    }

    package func removeFolder(_ path: String) throws(StorageError) {
        _ = try check("rmdir", path) { rmdir(path) }
    }

    package func syncFolder(_ path: String) throws(StorageError) {
        let descriptor = try check("open", path) { Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        defer { close(descriptor) }
        _ = try check("fsync", path) { fsync(descriptor) }
    }

    private final class File: StorageFile {
        private let descriptor: Int32
        private let path: String
        /// IOV_MAX of Linux (limits.h, UIO_MAXIOV): what one pwritev takes.
        private static let vectorsMax = 1_024

        init(descriptor: Int32, path: String) {
            self.descriptor = descriptor
            self.path = path
        }

        deinit {
            close(descriptor)
        }

        func read(at position: Int, into buffer: UnsafeMutableRawBufferPointer) throws(StorageError) -> Int {
            var done = 0
            while done < buffer.count {
                let count = try check("pread", path) {
                    pread(descriptor, buffer.baseAddress! + done, buffer.count - done, position + done)
                }
                if count == 0 { break }
                done += count
            }
            return done
        }

        func write(_ buffers: [UnsafeRawBufferPointer], at position: Int) throws(StorageError) {
            var position = position
            var vectors = buffers.filter { $0.count > 0 }.map {
                iovec(iov_base: UnsafeMutableRawPointer(mutating: $0.baseAddress!), iov_len: $0.count)
            }[...]
            while !vectors.isEmpty {
                let head = vectors.prefix(Self.vectorsMax)
                var written = try check("pwritev", path) {
                    head.withUnsafeBufferPointer { pwritev(descriptor, $0.baseAddress, Int32($0.count), position) }
                }
                position += written
                while let first = vectors.first, written >= first.iov_len {
                    written -= first.iov_len
                    vectors.removeFirst()
                }
                if written > 0, let first = vectors.first {
                    vectors[vectors.startIndex] = iovec(
                        iov_base: first.iov_base + written, iov_len: first.iov_len - written)
                }
            }
        }

        func allocate(_ size: Int) throws(StorageError) {
            // Unlike the others it returns the error.
            var failure = EINTR
            while failure == EINTR { failure = posix_fallocate(descriptor, 0, size) }
            if failure != 0 { throw StorageError("fallocate", path, errno: failure) }
        }

        func truncate(_ size: Int) throws(StorageError) {
            _ = try check("ftruncate", path) { ftruncate(descriptor, size) }
        }

        func sync() throws(StorageError) {
            _ = try check("fdatasync", path) { fdatasync(descriptor) }
        }

        func size() throws(StorageError) -> Int {
            var status = stat()
            _ = try check("fstat", path) { fstat(descriptor, &status) }
            return status.st_size
        }
    }
}

/// Runs a system call, again where a signal broke it off.
private func check<Value: BinaryInteger>(
    _ call: String, _ path: String, _ body: () -> Value
) throws(StorageError) -> Value {
    while true {
        let result = body()
        if result >= 0 { return result }
        if errno != EINTR { throw StorageError(call, path, errno: errno) }
    }
}
