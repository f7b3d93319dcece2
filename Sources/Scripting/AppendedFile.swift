// SPDX-License-Identifier: Apache-2.0

import Events

#if canImport(Glibc)
    import Glibc
#endif

/// A file below a granted folder, open for appending. Belongs to one thread.
///
/// The way there is walked part by part, each opened in the folder before it and never through a symbolic link, so that
/// nothing that stands in the folder leads out of it.
final class AppendedFile {
    private let name: String
    private let folder: Int32
    private var file: Int32
    private var size: Int
    /// Whether the folder has a name that is not on disk yet.
    private var folderIsNew: Bool
    /// Whether the file ends in half a line, as a crash leaves it.
    private var endsTorn: Bool

    init(_ root: String, _ parts: [String]) throws(FileFailure) {
        if let path = FileCalls.makeFolders(root) {
            throw .temporary("can't make the folder \(path): \(FileCalls.reason)")
        }
        var folder = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw .temporary("can't open the folder \(root): \(FileCalls.reason)") }
        for part in parts.dropLast() {
            // A new folder's name has to be durable too.
            let isMade = mkdirat(folder, part, 0o755) != 0 || fsync(folder) == 0
            let next = isMade ? openat(folder, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1
            let failure = next < 0 ? Self.failure("open the folder", part) : nil
            close(folder)
            if let failure { throw failure }
            folder = next
        }
        name = parts[parts.count - 1]
        do throws(FileFailure) {
            (file, size, endsTorn) = try Self.openFile(name, in: folder)
        } catch {
            close(folder)
            throw error
        }
        self.folder = folder
        folderIsNew = size == 0
    }

    deinit {
        close(file)
        close(folder)
    }

    private static func openFile(_ name: String, in folder: Int32) throws(FileFailure) -> (Int32, Int, Bool) {
        // Not blocking, since a pipe would wait for a reader.
        let flags = O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
        let file = openat(folder, name, flags, 0o644)
        guard file >= 0 else { throw failure("open", name) }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(file)
            throw .refused("\(name) is no plain file")
        }
        let size = Int(status.st_size)
        var last: UInt8 = 0
        let endsTorn = size > 0 && pread(file, &last, 1, off_t(size - 1)) == 1 && last != UInt8(ascii: "\n")
        return (file, size, endsTorn)
    }

    private static func failure(_ what: String, _ name: String) -> FileFailure {
        switch errno {
        case ELOOP, ENOTDIR, EISDIR, ENXIO:
            .refused("can't \(what) \(name): it is a symbolic link, or no plain file or folder")
        default: .temporary("can't \(what) \(name): \(FileCalls.reason)")
        }
    }

    /// Writes `bytes`, or nothing of them. They are durable after ``sync()``.
    func append(_ bytes: [UInt8], sizeMax: Int?, now: Timestamp) throws(FileFailure) -> FileAppended {
        var setAside: String?
        if let sizeMax, size > 0, size + bytes.count > sizeMax { setAside = try rotate(now) }
        // Half a line stays alone on its own.
        let whole = endsTorn ? [UInt8(ascii: "\n")] + bytes : bytes
        guard FileCalls.write(whole, to: file) else {
            let failure = Self.failure("write", name)
            if ftruncate(file, off_t(size)) != 0 { endsTorn = true }
            throw failure
        }
        endsTorn = false
        size += whole.count
        return FileAppended(size: size, setAside: setAside)
    }

    func sync() throws(FileFailure) {
        guard fdatasync(file) == 0 else { throw Self.failure("sync", name) }
        guard folderIsNew else { return }
        guard fsync(folder) == 0 else { throw Self.failure("sync the folder of", name) }
        folderIsNew = false
    }

    /// Gives the file a name with the time in it, before its ending: `orders.ndjson` becomes
    /// `orders.2026-01-31T12-00-00.000Z.ndjson`.
    private func rotate(_ now: Timestamp) throws(FileFailure) -> String {
        try sync()
        let dot = name.lastIndex(of: ".") ?? name.endIndex
        var time = now
        var other: String
        var status = stat()
        repeat {
            other = "\(name[..<dot]).\(time.rfc3339.replacing(":", with: "-"))\(name[dot...])"
            time = time + .milliseconds(1)
        } while fstatat(folder, other, &status, AT_SYMLINK_NOFOLLOW) == 0
        guard renameat(folder, name, folder, other) == 0 else { throw Self.failure("rename", name) }
        let (next, nextSize, torn) = try Self.openFile(name, in: folder)
        close(file)
        (file, size, endsTorn) = (next, nextSize, torn)
        folderIsNew = true
        return other
    }
}
