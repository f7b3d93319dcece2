// SPDX-License-Identifier: Apache-2.0

package import Events
import Synchronization

extension Journal {
    /// Makes the topic exist, as ``create(_:)`` does; its records count from `first`. Blocks.
    package func create(_ topic: Topic, first: Offset) async throws(Failure) {
        try create(topic)
        let log = try log(topic)
        let result: Result<Void, Failure> = await withCheckedContinuation { continuation in
            onWriter { [self] in
                // A crash may have come between the two steps.
                guard log.writer.nextOffset < first else { return continuation.resume(returning: .success(())) }
                do {
                    try log.roll(first: first, now: clock.now(), log: self.log)
                    continuation.resume(returning: .success(()))
                } catch {
                    continuation.resume(
                        returning: .failure(Failure(.storage, "topic \"\(topic)\" can't be created: \(error)")))
                }
            }
        }
        try result.get()
    }

    /// Removes a topic with all its records. Nothing may be appended to it any more. Blocks.
    package func remove(_ topic: Topic) async throws(Failure) {
        guard let log = logs.withLock({ $0.removeValue(forKey: topic) }) else { return }
        let result: Result<Void, Failure> = await withCheckedContinuation { continuation in
            onWriter { [self] in
                log.close(now: clock.now(), log: self.log)
                do {
                    for name in try storage.list(log.folder) { try storage.removeIfPresent("\(log.folder)/\(name)") }
                    try storage.removeFolder(log.folder)
                    try storage.syncFolder(folder)
                    continuation.resume(returning: .success(()))
                } catch {
                    continuation.resume(
                        returning: .failure(Failure(.storage, "topic \"\(topic)\" can't be removed: \(error)")))
                }
            }
        }
        try result.get()
    }
}
