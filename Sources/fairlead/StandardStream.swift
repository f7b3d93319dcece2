// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What a program prints to. Whoever reads it may have gone, and the disk behind it may be full: neither may end a server,
/// as `FileHandle.write` would.
enum StandardStream: Int32 {
    case output = 1
    case errors = 2

    /// The error number of what couldn't be written; nil where all was.
    @discardableResult
    func write(_ bytes: some ContiguousBytes) -> Int32? {
        bytes.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = Foundation.write(rawValue, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if count >= 0 {
                    rest = rest.dropFirst(count)
                } else if errno == EAGAIN {
                    // Somebody who shares the terminal has made it non-blocking.
                    var stream = pollfd(fd: rawValue, events: Int16(POLLOUT), revents: 0)
                    _ = poll(&stream, 1, -1)
                } else if errno != EINTR {
                    return errno
                }
            }
            return nil
        }
    }

    @discardableResult
    func write(_ text: String) -> Int32? { write(Array(text.utf8)) }
}
