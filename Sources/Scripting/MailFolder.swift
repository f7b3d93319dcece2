// SPDX-License-Identifier: Apache-2.0

package import Events

#if canImport(Glibc)
    import Glibc
#endif
import Synchronization

/// Mail for development: each message becomes one `.eml` file in a folder, whole or not at all.
package final class MailFolder: MailSender {
    private let folder: String
    private let from: String
    private let clock: any Clock
    private let count = Mutex(0)

    /// - Parameter from: the sender where a message names none.
    package init(_ folder: String, from: String = "fairlead@localhost", clock: any Clock) {
        self.folder = folder
        self.from = from
        self.clock = clock
    }

    package func send(_ message: MailMessage) async throws(MailFailure) {
        let now = clock.now()
        let mail = try ComposedMail(message, from: from, at: now)
        let number = count.withLock { count in
            count += 1
            return count
        }
        let stamp = String(now.rfc3339.map { $0 == ":" ? "-" : $0 })
        let name = "\(stamp)-\(getpid())-\(number)"
        if let path = FileCalls.makeFolders(folder) { throw failure("create the folder", path) }
        let hidden = "\(folder)/.\(name).part"
        let file = open(hidden, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw failure("create", hidden) }
        guard FileCalls.write(mail.bytes, to: file) else {
            let failure = failure("write", hidden)
            close(file)
            unlink(hidden)
            throw failure
        }
        close(file)
        guard rename(hidden, "\(folder)/\(name).eml") == 0 else {
            let failure = failure("rename", hidden)
            unlink(hidden)
            throw failure
        }
    }

    private func failure(_ what: String, _ path: String) -> MailFailure {
        .temporary("can't \(what) \(path): \(FileCalls.reason)")
    }
}
