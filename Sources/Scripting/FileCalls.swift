// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    import Glibc
#endif

/// What the system's calls leave to their callers. Failures leave their reason in `errno`.
enum FileCalls {
    /// Makes a folder and those above it, durably. The path that could not be made; nil where all are there.
    static func makeFolders(_ path: String) -> String? {
        var made = path.hasPrefix("/") ? "" : "."
        for part in path.split(separator: "/") {
            let parent = made.isEmpty ? "/" : made
            made += "/\(part)"
            if mkdir(made, 0o755) == 0 {
                let folder = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                guard folder >= 0 else { return made }
                defer { close(folder) }
                guard fsync(folder) == 0 else { return made }
            } else if errno != EEXIST {
                return made
            }
        }
        return nil
    }

    static func write(_ bytes: [UInt8], to file: Int32) -> Bool {
        var written = 0
        while written < bytes.count {
            let result = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress! + written, $0.count - written) }
            if result < 0 {
                if errno == EINTR { continue }
                return false
            }
            written += result
        }
        return true
    }

    static var reason: String { String(cString: strerror(errno)) }
}
