// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what is running: topics, subscribers, backlogs, last errors.")

    @OptionGroup var server: ServerOptions

    struct Answer: Decodable {
        var generation: Int
        var config: Config
        /// Generations that were replaced and of which something is still under way.
        var ending: [Int]
        var topics: [Topic]
        var subscribers: [Subscriber]
        var orphans: [Orphan]

        struct Config: Decodable {
            var hash: String
            var applied: String?
            var trigger: String
            var origin: Int?
            var differsFromDisk: Bool
            var lastAttempt: Generations.Attempt?
        }

        struct Orphan: Decodable {
            var name: String
            var since: String
            var until: String
            var deferred: Int
            var dead: Int
            /// Replays, imports and the like that are not done.
            var history: Int
        }

        struct Topic: Decodable {
            var name: String
            var first: UInt64
            var end: UInt64
            var bytes: Int
        }

        struct Subscriber: Decodable {
            var name: String
            var method: String
            var state: String
            var pause: Pause?
            var backlog: Int
            var inFlight: Int
            var retrying: Int
            var dead: Int
            var acked: Int
            var retried: Int
            var dropped: Int
            var lastError: String?
            var lastTrace: String?
            /// When an endpoint that is down or busy is tried next.
            var until: String?

            /// The last change of it, where that failed.
            var badReload: BadReload?

            struct BadReload: Decodable {
                var end: String
                var generation: Int
                var previous: Int?
                var time: String
                var error: String
                var trace: String?
                var failures: Int
                var deliveries: Int
                var obstacle: String?

                var words: String {
                    let end =
                        switch (end, previous) {
                        case ("undone", let previous?): "went back to what it was in generation \(previous)"
                        case ("kept", _): "goes on"
                        default: "is \(end)"
                        }
                    let why = obstacle.map { " (\($0))" } ?? ""
                    return
                        "\(end)\(why): generation \(generation) made \(failures) attempts on \(deliveries) events fail"
                }
            }

            struct Pause: Decodable {
                var cause: String
                var since: String?
                var reason: String?

                var words: String {
                    let by =
                        switch cause {
                        case "hand": "by hand"
                        case "dead": "after a dead letter"
                        case "quarantine": "in quarantine"
                        case "gone": "as its endpoint is gone"
                        case "bad_reload": "as a reload made it fail"
                        default: "by \(cause)"
                        }
                    return by + (since.map { " since \($0)" } ?? "") + (reason.map { ": \($0)" } ?? "")
                }
            }
        }
    }

    func run() async throws {
        let answer = try await server.client.send("GET", "/v1/status")
        if server.json {
            Console.say(String(decoding: answer.body, as: UTF8.self))
            return
        }
        Console.say(Self.render(try answer.decoded(Answer.self)))
    }

    private static func head(of status: Answer) -> String {
        let config = status.config
        var line = "generation \(status.generation), \(config.hash.prefix(12))"
        if let applied = config.applied { line += ", since \(applied.shortTime) by \(config.trigger)" }
        var lines = [line]
        if let origin = config.origin { lines.append("gone back to the files of generation \(origin)") }
        if config.differsFromDisk {
            lines.append("on disk is another configuration: the next reload or restart loads it")
        }
        if !status.ending.isEmpty {
            lines.append("still finishing: generation \(status.ending.map(String.init).joined(separator: ", "))")
        }
        if let attempt = config.lastAttempt, attempt.time > config.applied ?? "" {
            lines.append(
                "last reload \(attempt.verdict) at \(attempt.time.shortTime), by \(attempt.trigger): \(attempt.reason)")
        }
        return lines.joined(separator: "\n")
    }

    static func render(_ status: Answer) -> String {
        let topics = Console.table(
            ["TOPIC", "EVENTS", "FIRST", "NEXT", "BYTES"],
            status.topics.map { [$0.name, "\($0.end - $0.first)", "\($0.first)", "\($0.end)", "\($0.bytes)"] })
        let subscribers = Console.table(
            [
                "SUBSCRIBER", "METHOD", "STATE", "BACKLOG", "IN FLIGHT", "RETRYING", "DEAD", "ACKED", "DROPPED",
                "LAST ERROR",
            ],
            status.subscribers.map {
                [
                    $0.name, $0.method, $0.state, "\($0.backlog)", "\($0.inFlight)", "\($0.retrying)", "\($0.dead)",
                    "\($0.acked)", "\($0.dropped)", String(($0.lastError ?? "").prefix(60)),
                ]
            })
        var parts = [head(of: status), topics, subscribers]
        let paused = status.subscribers.compactMap { subscriber in
            subscriber.pause.map { "\(subscriber.name) is paused \($0.words)" }
        }
        if !paused.isEmpty { parts.append(paused.joined(separator: "\n")) }
        let waiting = status.subscribers.compactMap { subscriber in
            subscriber.until.map { "\(subscriber.name) is \(subscriber.state) until \($0.shortTime)" }
        }
        if !waiting.isEmpty { parts.append(waiting.joined(separator: "\n")) }
        if !status.orphans.isEmpty {
            let table = Console.table(
                ["IN NO CONFIGURATION", "SINCE", "KEPT UNTIL", "RETRYING", "DEAD", "HISTORY"],
                status.orphans.map { [$0.name, $0.since, $0.until, "\($0.deferred)", "\($0.dead)", "\($0.history)"] })
            parts.append(table)
        }
        for subscriber in status.subscribers {
            guard let bad = subscriber.badReload else { continue }
            parts.append("\(subscriber.name) \(bad.words); the last with: \(bad.error)" + indented(bad.trace))
        }
        // A table's cell has no room for where in a script it happened.
        for subscriber in status.subscribers {
            guard let error = subscriber.lastError, let trace = subscriber.lastTrace else { continue }
            parts.append("last error of \(subscriber.name): \(error)" + indented(trace))
        }
        return parts.joined(separator: "\n\n")
    }

    private static func indented(_ trace: String?) -> String {
        (trace ?? "").split(separator: "\n").map { "\n  " + $0.trimmingCharacters(in: .whitespaces) }.joined()
    }
}
