// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import NIOCore

/// A million past orders on their way to a Lua handler, by a replay and by an import, while live orders come at a steady
/// rate for the same handler: how long these take from just before their publish until they are handled.
///
/// The handler says so in the server's log, as `ctx.now` counts milliseconds only. Each round measures without history
/// first, since other work on the machine changes what can be expected of it.
struct HistoryBench {
    let folder: URL
    let rounds: Int
    let fill: (BenchServer, [UInt8], Int) throws -> Void

    static let past = 1_000_000
    /// Connections, each with so many orders a second, one in a request: 1,000 orders/s.
    static let publishers = 4
    static let perSecond = 250
    /// Live orders without history.
    static let quietSeconds = 8
    /// Until what comes at a steady rate does so.
    static let warmUp: Duration = .seconds(1)

    private struct Sample {
        var latencies: [Double]
        /// Of history, a second.
        var rate = 0.0

        func percentile(_ part: Double) -> Double {
            let sorted = latencies.sorted()
            return sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int(Double(sorted.count) * part))]
        }
    }

    func run() async throws -> [Bench.Figure] {
        let log = Pipe()
        let server = try BenchServer(folder: folder, errors: log)
        defer { server.stop() }
        let reader = HandledReader(log.fileHandleForReading)
        try await server.waitUntilReady()
        try fill(server, Array(Self.order("o-past")), Self.past)
        while true {
            let done = try await server.acked("bookkeeper")
            guard done < Self.past else { break }
            Console.progress(done, of: Self.past, "past orders are handled for the first time")
            try await Task.sleep(for: .milliseconds(50))
        }

        let names = ["nothing", "replay", "replay at 50,000/s", "import, from the file to the last handler"]
        var samples: [[Sample]] = names.map { _ in [] }
        for round in 1...rounds {
            Console.progress(round - 1, of: rounds, "live orders beside history")
            samples[0].append(
                try await measure(server, reader) { try await Task.sleep(for: .seconds(Self.quietSeconds)) })
            samples[1].append(try await measure(server, reader) { try await replay(server, []) })
            samples[2].append(try await measure(server, reader) { try await replay(server, ["--rate", "50000/s"]) })
            samples[3].append(try await measure(server, reader) { try await importFile(server, round) })
        }
        return zip(names, samples).map { name, samples in
            let rates = Bench.Figure.Spread(samples.map(\.rate))
            let isHistory = rates.median > 0
            return Bench.Figure(
                name: name, rate: isHistory ? rates.median : nil, lowest: isHistory ? rates.lowest : nil,
                highest: isHistory ? rates.highest : nil,
                milliseconds: Dictionary(
                    uniqueKeysWithValues: Self.percentiles.map { percentile in
                        (percentile.name, .init(samples.map { $0.percentile(percentile.part) }))
                    }))
        }
    }

    private static let percentiles = [
        (name: "p50", part: 0.5), (name: "p99", part: 0.99), (name: "p99.9", part: 0.999),
    ]

    static func text(_ figures: [Bench.Figure], rounds: Int) -> String {
        let rows = figures.map { figure in
            [figure.name, figure.rate.map { "\(Int($0))" } ?? "-"]
                + percentiles.map { figure.milliseconds?[$0.name]?.text ?? "-" }
        }
        return
            "\(publishers * perSecond) live orders/s, one a request, to a Lua handler; from publish to handled, in ms, "
            + "median of \(rounds) rounds (lowest–highest)\n\n"
            + Console.table(["BESIDE \(past) PAST ORDERS", "OF THEM/S", "P50", "P99", "P99.9"], rows)
    }

    /// Live orders while `body` runs.
    private func measure(
        _ server: BenchServer, _ reader: HandledReader, _ body: () async throws -> Double?
    ) async throws -> Sample {
        let load = SteadyLoad(port: server.port, perSecond: Self.perSecond) {
            Self.order("o-live", #","sent":\#(SteadyLoad.now())"#)
        }
        load.start(connections: Self.publishers)
        defer { load.stop() }
        try await Task.sleep(for: Self.warmUp)
        _ = reader.take()
        let rate = try await body()
        let latencies = reader.take()
        if let failure = load.failure { throw LoadConnection.Failed(what: failure) }
        return Sample(latencies: latencies, rate: rate ?? 0)
    }

    private func measure(
        _ server: BenchServer, _ reader: HandledReader, _ body: () async throws -> Void
    ) async throws -> Sample {
        try await measure(server, reader) {
            try await body()
            return nil as Double?
        }
    }

    private func replay(_ server: BenchServer, _ options: [String]) async throws -> Double {
        // Up to the first live order.
        try await command(server, ["replay", "bookkeeper", "--from", "0", "--to", "\(Self.past)"] + options)
    }

    private func importFile(_ server: BenchServer, _ round: Int) async throws -> Double {
        let file = folder.appendingPathComponent("past-\(round).ndjson")
        defer { try? FileManager.default.removeItem(at: file) }
        // Another file each time: the same one would be known.
        let line = Self.order("o-past", #","round":\#(round)"#) + [UInt8(ascii: "\n")]
        var page: [UInt8] = []
        for _ in 0..<1_000 { page += line }
        try Data().write(to: file)
        let handle = try FileHandle(forWritingTo: file)
        for _ in 0..<(Self.past / 1_000) { try handle.write(contentsOf: page) }
        try handle.close()
        return try await command(server, ["import", "orders", file.path, "--only", "bookkeeper"])
    }

    /// Runs a command of this program until it ends; events a second.
    private func command(_ server: BenchServer, _ arguments: [String]) async throws -> Double {
        let process = Process()
        process.executableURL = BenchServer.program
        process.arguments = arguments + ["--server", "http://127.0.0.1:\(server.port)"]
        process.standardOutput = FileHandle.nullDevice
        let start = ContinuousClock.now
        try process.run()
        while process.isRunning { try await Task.sleep(for: .milliseconds(20)) }
        guard process.terminationStatus == 0 else {
            throw LoadConnection.Failed(what: "\(arguments[0]) ended with \(process.terminationStatus)")
        }
        return Double(Self.past) / ((ContinuousClock.now - start) / .seconds(1))
    }

    private static func order(_ id: String, _ more: String = "") -> [UInt8] {
        Array(
            (#"{"order_id":"\#(id)","customer":{"id":"c-42","email":"someone@example.com"},"total":129.5,"currency":"EUR","#
                + #""lines":[{"sku":"a-1","count":2},{"sku":"b-2","count":1}],"note":"leave it at the door"\#(more)}"#)
                .utf8)
    }
}
