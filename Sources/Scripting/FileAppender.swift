// SPDX-License-Identifier: Apache-2.0

package import Events
import Synchronization

/// Appends on a thread of its own. What waits for the same file goes in together and is synced once.
package final class FileAppender: FileAppending {
    private struct Waiting {
        var addition: FileAddition
        var done: CheckedContinuation<Result<FileAppended, FileFailure>, Never>
    }

    private struct Place: Hashable {
        var folder: String
        var parts: [String]
    }

    private let base: String
    private let clock: any Clock
    private let thread = Lane(name: "files")
    private let waiting = Mutex<[Waiting]>([])

    /// - Parameter base: what granted folders are relative to.
    package init(base: String, clock: any Clock) {
        self.base = base
        self.clock = clock
    }

    deinit {
        thread.close()
    }

    package func append(_ addition: FileAddition) async throws(FileFailure) -> FileAppended {
        let result = await withCheckedContinuation { done in
            waiting.withLock { $0.append(Waiting(addition: addition, done: done)) }
            thread.submit { self.work() }
        }
        return try result.get()
    }

    /// Takes all that waits; those who asked for it later find nothing left to do.
    private func work() {
        let taken = waiting.withLock { waiting in
            defer { waiting = [] }
            return waiting
        }
        var places: [Place] = []
        var groups: [Place: [Waiting]] = [:]
        for one in taken {
            let place = Place(folder: one.addition.folder, parts: one.addition.parts)
            if groups[place] == nil { places.append(place) }
            groups[place, default: []].append(one)
        }
        for place in places {
            let group = groups[place]!
            let results = write(group.map(\.addition), place)
            for (one, result) in zip(group, results) { one.done.resume(returning: result) }
        }
    }

    private func write(_ additions: [FileAddition], _ place: Place) -> [Result<FileAppended, FileFailure>] {
        let root = place.folder.hasPrefix("/") ? place.folder : "\(base)/\(place.folder)"
        do {
            let file = try AppendedFile(root, place.parts)
            let results = additions.map { addition in
                Result { () throws(FileFailure) in
                    try file.append(addition.bytes, sizeMax: addition.sizeMax, now: clock.now())
                }
            }
            try file.sync()
            return results
        } catch {
            return additions.map { _ in .failure(error) }
        }
    }
}
