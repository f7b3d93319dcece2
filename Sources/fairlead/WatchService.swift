// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Gateway
import ServiceLifecycle

extension Limits {
    /// How often `serve --watch` looks at the files. A change is loaded when they have stood still for as long: an editor that
    /// writes several is waited for.
    static let watchInterval: Duration = .milliseconds(250)
}

/// Reloads when a file of the configuration changes, appears or goes, for development: routes.conf, what it includes, plugins.
/// What is wrong is said, and the next change is waited for.
struct WatchService: Service, CustomStringConvertible {
    let files: WatchedFiles
    let reloader: Reloader
    var description: String { "watch" }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            var loaded = await stamps()
            var before = loaded
            while true {
                do { try await Task.sleep(for: Limits.watchInterval) } catch { return }
                let now = await stamps()
                defer { before = now }
                guard now != loaded, now == before else { continue }
                let names = Set(now.keys).union(loaded.keys).filter { now[$0] != loaded[$0] }.sorted()
                let verdict = await reloader.verdict(of: ReloadRequest(trigger: "watch"))
                Console.tell(Self.text(verdict, names))
                // What has changed since this look is the next change; what is watched from now on is taken as it is.
                let after = await stamps()
                loaded = after.merging(now.filter { after[$0.key] != nil }) { _, seen in seen }
            }
        }
    }

    private static func text(_ verdict: ReloadVerdict, _ names: [String]) -> String {
        let files = names.map { URL(fileURLWithPath: $0).lastPathComponent }
        let head = "\(files.joined(separator: ", ")): "
        if case .applied(let generation, let changes) = verdict {
            return Console.styled(head + "generation \(generation) applied: ", .green) + changes.joined(separator: ", ")
        }
        return ([Console.styled(head + "\(verdict.words); the running generation goes on", .red)] + verdict.diagnostics)
            .joined(separator: "\n")
    }

    /// Looks on a thread that may wait for the disk.
    private func stamps() async -> [String: FileStamp] {
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async { continuation.resume(returning: files.stamps()) }
        }
    }
}
