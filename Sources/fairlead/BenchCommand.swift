// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Dispatch
import Foundation
import Synchronization

struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure publishing, handling in Lua, and pulling, on this machine.",
        discussion: """
            Starts a server of its own on a temporary data folder and loads it over HTTP on loopback, so the load generator \
            takes its share of the processors. Every event is on disk (fdatasync) before it is counted.
            """)

    @Option(help: "Events of each run.") var events = 500_000
    @Option(help: "Only works whose name contains this text, such as pull.") var only: String?
    @Option(help: "Bytes of an event's data.") var size = 256
    @Option(help: "Events in one request.") var batch = 500
    @Option(help: "Connections, for batches.") var connections = 8
    @Option(help: "Rounds; the median counts.") var rounds = 3
    @Flag(help: "Measure how long a start takes with so many events, instead.") var startup = false
    @Flag(help: "Print the figures as JSON.") var json = false

    struct Figure: Codable {
        var name: String
        /// Events a second, the median of the rounds; none where only latencies are measured.
        var rate: Double?
        var lowest: Double?
        var highest: Double?
        var milliseconds: [String: Spread]?

        /// Of the rounds.
        struct Spread: Codable {
            var median: Double
            var lowest: Double
            var highest: Double

            init(_ values: [Double]) {
                let sorted = values.sorted()
                median = sorted.isEmpty ? 0 : sorted[sorted.count / 2]
                lowest = sorted.first ?? 0
                highest = sorted.last ?? 0
            }

            var text: String { String(format: "%.2f (%.2f–%.2f)", median, lowest, highest) }
        }
    }

    func run() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "fairlead-bench-\(ProcessInfo.processInfo.processIdentifier)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let payload = Self.payload(bytes: size)
        if startup { return try await measureStartup(folder, payload) }
        if let only, Self.historyName.contains(only) {
            let figures = try await measureHistory(folder)
            Console.say(json ? try Self.json(figures) : HistoryBench.text(figures, rounds: max(1, rounds)))
            return
        }
        let server = try BenchServer(folder: folder)
        defer { server.stop() }
        try await server.waitUntilReady()

        var figures: [Figure] = []
        figures.append(
            contentsOf: try await measure("durable publish, \(batch) events a request, \(connections) connections") {
                try load(server, "plain", payload, events, batch, connections)
            })
        figures.append(
            contentsOf: try await measure("durable publish, 1 event a request, 64 connections") {
                try load(server, "plain", payload, max(64, events / 20), 1, 64)
            })
        figures.append(
            contentsOf: try await measure("publish → filter → Lua handler → settled, \(batch) events a request") {
                let before = try await server.acked("handler")
                let seconds = try load(server, "handled", payload, events, batch, connections)
                let start = ContinuousClock.now
                while true {
                    let done = try await server.acked("handler") - before
                    guard done < events else { break }
                    Console.progress(done, of: events, "handled")
                    try await Task.sleep(for: .milliseconds(5))
                }
                return seconds + (ContinuousClock.now - start) / .seconds(1)
            })
        figures.append(
            contentsOf: try await measure("pull and settle, batches of \(batch), \(PullLoad.connections) connections") {
                _ = try load(server, "pulled", payload, events, batch, connections)
                return try PullLoad(port: server.port, subscriber: "puller", batch: batch).run(events)
            })
        let order = try measureOrder(server)
        let history = only == nil ? try await measureHistory(folder.appendingPathComponent("history")) : []

        Console.progress(nil)
        if json {
            Console.say(try Self.json(figures + order + history))
        } else {
            Console.say(
                "\(size)-byte events, \(rounds) rounds, load generator included, fdatasync before each answer\n")
            Console.say(
                Console.table(
                    ["WORK", "EVENTS/S", "LOWEST", "HIGHEST"],
                    figures.map { figure in
                        [figure.name] + [figure.rate, figure.lowest, figure.highest].map { "\(Int($0 ?? 0))" }
                    }))
            for figure in order {
                Console.say("\n\(figure.name), in ms, median (lowest–highest)\n")
                let rows = (figure.milliseconds ?? [:]).sorted { $0.key < $1.key }
                Console.say(Console.table(["P99", "MS"], rows.map { [$0.key, $0.value.text] }))
            }
            if !history.isEmpty { Console.say("\n" + HistoryBench.text(history, rounds: max(1, rounds))) }
        }
    }

    private static func json(_ figures: [Figure]) throws -> String {
        Console.progress(nil)
        return String(decoding: try JSONEncoder().encode(figures), as: UTF8.self)
    }

    /// Whether a key that fails holds the others up: latencies with and without one, by turns, so that both see the same
    /// machine.
    private func measureOrder(_ server: BenchServer) throws -> [Figure] {
        if let only, !"order".contains(only) { return [] }
        let load = OrderLoad(port: server.port)
        var (clean, poisoned): ([Double], [Double]) = ([], [])
        _ = try load.p99(seconds: 1, poisoned: false)
        for round in 0..<max(1, rounds) {
            Console.progress(round, of: max(1, rounds), "ordered pull")
            clean.append(try load.p99(seconds: 4, poisoned: false))
            poisoned.append(try load.p99(seconds: 4, poisoned: true))
        }
        return [
            Figure(
                name: "ordered pull, 1,000 keys, 5,000 events/s, p99 from publish to delivery",
                milliseconds: [
                    "no key fails": .init(clean), "of the others, where one key fails each time": .init(poisoned),
                ])
        ]
    }

    private static let historyName = "history beside what is live"

    /// What live events wait for while a million of the past are delivered as well.
    private func measureHistory(_ folder: URL) async throws -> [Figure] {
        let bench = HistoryBench(folder: folder, rounds: max(1, rounds)) { server, body, count in
            _ = try load(server, "orders", body, count, batch, connections)
        }
        return try await bench.run()
    }

    private func measureStartup(_ folder: URL, _ payload: [UInt8]) async throws {
        let bench = StartupBench(folder: folder, events: events, size: size) { server in
            _ = try load(server, "plain", payload, events, batch, connections)
        }
        let figures = try await bench.run()
        Console.progress(nil)
        if json { return Console.say(String(decoding: try JSONEncoder().encode(figures), as: UTF8.self)) }
        Console.say("\(size)-byte events; from the start of the process to /readyz\n")
        Console.say(
            Console.table(
                ["WORK", "SECONDS"], figures.map { [$0.name, String(format: "%.3f", $0.seconds)] }))
    }

    /// `round` answers how many seconds it took.
    private func measure(_ name: String, _ round: () async throws -> Double) async throws -> [Figure] {
        if let only, !name.contains(only) { return [] }
        var rates: [Double] = []
        let count = name.contains("1 event a request") ? max(64, events / 20) : events
        for _ in 0..<max(1, rounds) { rates.append(Double(count) / (try await round())) }
        rates.sort()
        return [Figure(name: name, rate: rates[rates.count / 2], lowest: rates.first ?? 0, highest: rates.last ?? 0)]
    }

    /// Shows ten times a second how far it is: often enough for an eye, and no work beside what is measured.
    static func wait(for group: DispatchGroup, _ show: () -> Void) {
        while group.wait(timeout: .now() + .milliseconds(100)) == .timedOut { show() }
    }

    private static func payload(bytes: Int) -> [UInt8] {
        let frame = #"{"order_id":"o-123456","customer":{"id":"c-42"},"total":129.5,"currency":"EUR","note":""}"#
        let filler = String(repeating: "x", count: max(0, bytes - frame.utf8.count))
        return Array(frame.dropLast(2).utf8) + Array((filler + "\"}").utf8)
    }

    /// Sends `count` events; seconds until the last answer.
    private func load(
        _ server: BenchServer, _ topic: String, _ payload: [UInt8], _ count: Int, _ batch: Int, _ connections: Int
    ) throws -> Double {
        let port = server.port
        let run = LoadRun()
        let total = (count + batch - 1) / batch
        var body: [UInt8] = []
        for _ in 0..<batch { body += payload + [UInt8(ascii: "\n")] }
        let head =
            "POST /v1/topics/\(topic)/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
            + "Content-Length: \(body.count)\r\n\r\n"
        let request = Array(head.utf8) + body
        let group = DispatchGroup()
        let start = ContinuousClock.now
        for _ in 0..<connections {
            group.enter()
            let thread = Thread {
                defer { group.leave() }
                do {
                    let connection = try LoadConnection(port: port)
                    while run.requests.add(1, ordering: .relaxed).newValue <= total {
                        let status = try connection.exchange(request)
                        guard status == 202 else { throw LoadConnection.Failed(what: "status \(status)") }
                    }
                } catch {
                    let text = "\(error)"
                    run.failure.withLock { $0 = text }
                }
            }
            thread.start()
        }
        Self.wait(for: group) { Console.progress(run.requests.load(ordering: .relaxed), of: total, "sent to \(topic)") }
        let message: String? = run.failure.withLock { $0 }
        if let message {
            Console.complain("the bench's server failed: \(message)")
            throw ExitCode.failure
        }
        return (ContinuousClock.now - start) / .seconds(1)
    }
}

/// What the connections of one run share.
private final class LoadRun: Sendable {
    let requests = Atomic(0)
    let failure = Mutex<String?>(nil)
}
