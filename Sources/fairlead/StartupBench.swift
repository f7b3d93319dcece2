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
        figures.append(try await start("start on an empty data folder", isKilled: true) { try fill($0) })
        figures.append(
            try await start("start with \(events) events, after kill -9 in the middle of it") { server in
                // What was asked for, rounded up to whole requests.
                let count = try await server.end("plain")
                guard count >= events else { throw LoadConnection.Failed(what: "only \(count) events are there") }
            })
        figures.append(try await start("start with \(events) events, after a clean stop") { _ in })
        return figures
    }

    /// - Parameter isKilled: how the server ends, when `body` is done with it.
    private func start(
        _ name: String, isKilled: Bool = false, _ body: (BenchServer) async throws -> Void
    ) async throws -> Figure {
        let begin = ContinuousClock.now
        let server = try BenchServer(folder: folder)
        try await server.waitUntilReady()
        let seconds = (ContinuousClock.now - begin) / .seconds(1)
        do {
            try await body(server)
        } catch {
            server.kill()
            throw error
        }
        if isKilled { server.kill() } else { server.stop() }
        return Figure(name: name, seconds: seconds)
    }
}
