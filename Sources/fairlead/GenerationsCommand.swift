// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

struct Generations: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the configurations that were loaded or refused: when, by what, and what they changed.")

    @Option(help: "How many at most.") var max = 20
    @OptionGroup var server: ServerOptions

    private struct Answer: Decodable {
        var generations: [Generation]
        var refused: [Attempt]

        struct Generation: Decodable {
            var number: Int
            var hash: String
            var time: String
            var trigger: String
            var verdict: String
            var running: Bool
            var origin: Int?
            var changes: [String]
            var versions: [Version]
        }

        struct Version: Decodable {
            var subscriber: String
            var version: String
        }
    }

    /// A reload that did not take effect.
    struct Attempt: Decodable {
        var time: String
        var trigger: String
        var verdict: String
        var errors: Int
        var diagnostics: [String]

        /// The first of what was wrong, in one line.
        var reason: String {
            let first = diagnostics.first?.split(separator: "\n").first.map(String.init) ?? "-"
            return errors > 1 ? "\(first) (and \(errors - 1) more)" : first
        }
    }

    func run() async throws {
        let answer = try await server.client.send("GET", "/v1/generations?limit=\(Swift.min(max, 500))")
        if server.json {
            Console.say(String(decoding: answer.body, as: UTF8.self))
            return
        }
        let all = try answer.decoded(Answer.self)
        let loaded = all.generations.map { generation in
            let trigger = generation.origin.map { "\(generation.trigger) to \($0)" } ?? generation.trigger
            let versions = generation.versions.map { "\($0.subscriber) \($0.version)" }.joined(separator: ", ")
            let changes = generation.changes.isEmpty ? "-" : generation.changes.joined(separator: ", ")
            return (
                time: generation.time,
                row: [
                    "\(generation.number)", generation.time.shortTime, trigger,
                    generation.running ? "running" : generation.verdict, String(generation.hash.prefix(12)), changes,
                    versions.isEmpty ? "-" : versions,
                ]
            )
        }
        let refused = all.refused.map { attempt in
            (
                time: attempt.time,
                row: ["-", attempt.time.shortTime, attempt.trigger, attempt.verdict, "-", attempt.reason, "-"]
            )
        }
        // Times are in one format of fixed width, so that their texts sort as they do.
        let rows = (loaded + refused).sorted { $0.time > $1.time }.prefix(max).map(\.row)
        Console.say(
            Console.table(
                ["GENERATION", "TIME", "TRIGGER", "VERDICT", "HASH", "CHANGES", "PLUGIN VERSIONS"], Array(rows)))
    }
}
