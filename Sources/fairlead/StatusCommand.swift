// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what is running: topics, subscribers, backlogs, last errors.")

    @OptionGroup var server: ServerOptions

    struct Answer: Decodable {
        var generation: Int
        var topics: [Topic]
        var subscribers: [Subscriber]
        var orphans: [Orphan]

        struct Orphan: Decodable {
            var name: String
            var since: String
            var until: String
            var deferred: Int
            var dead: Int
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

            var stand: String { until.map { "\(state) until \($0)" } ?? state }

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
                    $0.name, $0.method, $0.stand, "\($0.backlog)", "\($0.inFlight)", "\($0.retrying)", "\($0.dead)",
                    "\($0.acked)", "\($0.dropped)", String(($0.lastError ?? "").prefix(60)),
                ]
            })
        var parts = ["generation \(status.generation)", topics, subscribers]
        let paused = status.subscribers.compactMap { subscriber in
            subscriber.pause.map { "\(subscriber.name) is paused \($0.words)" }
        }
        if !paused.isEmpty { parts.append(paused.joined(separator: "\n")) }
        if !status.orphans.isEmpty {
            let table = Console.table(
                ["IN NO CONFIGURATION", "SINCE", "KEPT UNTIL", "RETRYING", "DEAD"],
                status.orphans.map { [$0.name, $0.since, $0.until, "\($0.deferred)", "\($0.dead)"] })
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
