// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc

/// The data folder, held by one process at a time: two that write one journal would destroy it.
final class DataFolder: Sendable {
    let path: String
    private let descriptor: Int32

    struct Refusal: Error, CustomStringConvertible {
        var description: String
        /// Another process has it.
        var isHeld = false
    }

    /// Makes the folder where it is missing and locks it until this object goes.
    init(_ path: String) throws(Refusal) {
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw Refusal(description: "can't make the data folder \(path): \(error.localizedDescription)")
        }
        let lock = path + "/lock"
        descriptor = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw Refusal(description: "can't open \(lock): \(String(cString: strerror(errno)))")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let holder = (try? String(contentsOfFile: lock, encoding: .utf8))?
                .trimmingCharacters(in: .whitespacesAndNewlines)
            close(descriptor)
            throw Refusal(
                description: "the data folder \(path) is in use by another fairlead"
                    + (holder.map { " (process \($0))" } ?? "") + "; stop it, or name another folder with `data`",
                isHeld: true)
        }
        ftruncate(descriptor, 0)
        let text = "\(getpid())\n"
        self.path = path
        // For people who look; the lock itself is flock's.
        _ = text.withCString { pwrite(descriptor, $0, strlen($0), 0) }
    }

    deinit {
        close(descriptor)
    }
}
