// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// Everything that the configuration was read from when it was read last, whether or not it was right: what is worth
/// watching.
final class WatchedFiles: Sendable {
    private struct State {
        var paths: Set<String> = []
        var patterns: Set<String> = []
        /// Kept where the configuration that was read last doesn't say.
        var plugins: String?
    }

    private let state = Mutex(State())

    func use(_ sources: RecordingSources, plugins: String?) {
        let (paths, patterns) = sources.asked
        state.withLock { $0 = State(paths: paths, patterns: patterns, plugins: plugins ?? $0.plugins) }
    }

    /// How all of it stands: files that are new, changed, moved or gone make another one. Blocks for as long as looking at
    /// them takes.
    func stamps() -> [String: FileStamp] {
        let state = state.withLock { $0 }
        var paths = state.paths
        for pattern in state.patterns { paths.formUnion((try? FileRouteSources().files(matching: pattern)) ?? []) }
        if let folder = state.plugins, let found = FileManager.default.enumerator(atPath: folder) {
            for case let name as String in found where name.hasSuffix(".lua") { paths.insert("\(folder)/\(name)") }
        }
        var stamps: [String: FileStamp] = [:]
        for path in paths { stamps[path] = FileStamp(path) }
        return stamps
    }
}
