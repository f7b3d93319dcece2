// SPDX-License-Identifier: Apache-2.0

import Foundation

/// How long a start takes with many events in a topic.
struct StartupBench {
    let folder: URL
    let events: Int
    let size: Int
    let fill: (BenchServer) throws -> Void

    struct Figure: Codable {
        var name: String
        /// From the start of the process to its being ready.
        var seconds: Double
    }

    func run() async throws -> [Figure] {
        var figures: [Figure] = []
        figures.append(try await start("start on an empty data folder") { try fill($0) })
        figures.append(try await start("start with \(events) events, after a clean stop") { _ in })
        figures.append(try await start("start with \(events) events, after kill -9", isKilled: true) { _ in })
        figures.append(
            try await start("start with \(events) events, after kill -9, once more", isKilled: true) { _ in })
        return figures
    }

    /// - Parameter isKilled: the one before ended by SIGKILL, so this one is preceded by one that does.
    private func start(
        _ name: String, isKilled: Bool = false, _ body: (BenchServer) throws -> Void
    ) async throws -> Figure {
        if isKilled {
            let victim = try BenchServer(folder: folder)
            try await victim.waitUntilReady()
            victim.kill()
        }
        let begin = ContinuousClock.now
        let server = try BenchServer(folder: folder)
        try await server.waitUntilReady()
        let seconds = (ContinuousClock.now - begin) / .seconds(1)
        try body(server)
        server.stop()
        return Figure(name: name, seconds: seconds)
    }
}
