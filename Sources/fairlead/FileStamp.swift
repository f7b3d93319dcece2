// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What tells whether a file has changed, without reading it.
struct FileStamp: Hashable, Sendable {
    private let device: UInt
    private let inode: UInt
    private let bytes: Int
    private let seconds: Int
    private let nanoseconds: Int
    let isRegular: Bool

    /// nil where there is nothing. Follows links.
    init?(_ path: String) {
        var info = stat()
        guard stat(path, &info) == 0 else { return nil }
        device = UInt(info.st_dev)
        inode = UInt(info.st_ino)
        bytes = Int(info.st_size)
        seconds = Int(info.st_mtim.tv_sec)
        nanoseconds = Int(info.st_mtim.tv_nsec)
        isRegular = info.st_mode & S_IFMT == S_IFREG
    }
}
