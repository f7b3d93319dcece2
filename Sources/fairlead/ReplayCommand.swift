// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AsyncHTTPClient
import Foundation
import NIOCore
import NIOFoundationEssentialsCompat

struct Replay: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Deliver past events to one subscriber again, beside what is live.",
        discussion: """
            FROM and TO are `earliest`, an offset, a time (2026-03-09T14:05:00Z), a day (2026-03-09), or how long ago (7d). The \
            subscriber's own filter holds; --where narrows it further. Handlers see event.replay. Live events go first. \
            With --list it shows runs, with --cancel it ends one.
            """)

    @Argument(help: "The subscriber.", completion: .subscribers) var subscriber: String
    @Option(help: "From where.") var from: String?
    @Option(help: "Up to where, not included. Default: the end as it is now.") var to: String?
    @Option(help: "One of the subscriber's topics. Default: all of them.") var topic: String?
    @Option(name: .customLong("where"), help: "Only events of which this filter is true.") var filter: String?
    @Option(help: "No faster than this, such as 500/s.") var rate: String?
    @Flag(help: "Don't wait for how it ends.") var noWait = false
    @Flag(help: "Show the subscriber's replays and imports.") var list = false
    @Option(help: "End the replay or import of this number.") var cancel: Int64?
    @OptionGroup var server: ServerOptions

    func validate() throws {
        guard [from != nil, list, cancel != nil].count(where: { $0 }) == 1 else {
            throw ValidationError("say what: --from to begin, --list, or --cancel")
        }
    }

    func run() async throws {
        let base = "/v1/subscribers/\(subscriber.pathSegment)"
        if list {
            let answer = try await server.client.send("GET", "\(base)/replays")
            Console.say(
                server.json
                    ? String(decoding: answer.body, as: UTF8.self)
                    : HistoryRun.table(try answer.decoded(HistoryRun.List.self).replays))
            return
        }
        if let cancel {
            let answer = try await server.client.send("DELETE", "\(base)/replays/\(cancel)")
            let run = try answer.decoded(HistoryRun.self)
            Console.say(
                server.json
                    ? String(decoding: answer.body, as: UTF8.self)
                    : "\(run.kind) \(cancel) of \(subscriber) is cancelled; \(run.delivered) were delivered")
            return
        }
        var body: [String: Any] = [:]
        body["from"] = from
        body["to"] = to
        body["topic"] = topic
        body["where"] = filter
        body["rate"] = rate
        let data = try JSONSerialization.data(withJSONObject: body)
        let answer = try await server.client.send("POST", "\(base)/replay", body: .bytes(ByteBuffer(data: data)))
        try await HistoryRun.follow(answer, of: subscriber, server, waits: !noWait)
    }
}

/// A replay or an import, as the server tells of it.
struct HistoryRun: Decodable {
    var id: Int64
    var kind: String
    var state: String
    var topic: String?
    var topics: [Span]?
    var taken: Int?
    var total: Int
    var passed: Int
    var delivered: Int
    var waiting: Int
    var perSecond: Int?
    var remainingSeconds: Int?

    struct Span: Decodable {
        var topic: String
        var from: UInt64
        var until: UInt64
    }

    struct List: Decodable {
        var replays: [HistoryRun]
    }

    /// Shows how a run goes, until it has ended.
    static func follow(
        _ begun: ServerClient.Answer, of subscriber: String, _ server: ServerOptions, waits: Bool
    ) async throws {
        var answer = begun
        var run = try answer.decoded(HistoryRun.self)
        while waits, run.state == "running" {
            Console.progress(run.passed, of: run.total, run.line)
            try await Task.sleep(for: .milliseconds(200))
            answer = try await server.client.send(
                "GET", "/v1/subscribers/\(subscriber.pathSegment)/replays/\(run.id)")
            run = try answer.decoded(HistoryRun.self)
        }
        Console.progress(nil)
        if server.json {
            Console.say(String(decoding: answer.body, as: UTF8.self))
        } else if run.state == "running" {
            Console.say(
                "\(run.kind) \(run.id) of \(run.total) events goes on; "
                    + "`fairlead replay \(subscriber) --list` shows it, --cancel \(run.id) ends it")
        } else {
            Console.say("\(run.kind) \(run.id) \(run.state): \(run.delivered) delivered of \(run.total) looked at")
        }
        if run.state == "cancelled" { throw ExitCode.failure }
    }

    private var line: String {
        var line = "\(passed) of \(total)"
        line += ", \(delivered) delivered"
        if let perSecond { line += ", \(perSecond)/s" }
        if let remainingSeconds { line += ", \(remainingSeconds) s to go" }
        if waiting > 0 { line += ", \(waiting) wait for a retry or their key" }
        return line
    }

    static func table(_ runs: [HistoryRun]) -> String {
        guard !runs.isEmpty else { return "no replays and no imports" }
        return Console.table(
            ["ID", "KIND", "STATE", "PASSED", "OF", "DELIVERED", "WAITING", "TO GO", "WHAT"],
            runs.map { run in
                [
                    "\(run.id)", run.kind, run.state, "\(run.passed)", "\(run.total)", "\(run.delivered)",
                    "\(run.waiting)", run.remainingSeconds.map { "\($0) s" } ?? "-",
                    run.topic
                        ?? (run.topics ?? []).map { "\($0.topic) \($0.from)-\($0.until)" }.joined(separator: ", "),
                ]
            })
    }
}
