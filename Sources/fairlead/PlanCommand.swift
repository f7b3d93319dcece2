// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

struct Plan: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what a reload would do to the running server, without doing it.",
        discussion: """
            The server reads its configuration and plugins as they are now, checks them as a reload does, and compares. For \
            each filter that is new or changed it counts the retained events that it is true of.

            Exit code 0: a reload would be applied. 2: it would be refused. 3: it would take a restart.
            """)

    @OptionGroup var server: ServerOptions

    private struct Answer: Decodable {
        var generation: Int
        var added: [Change]
        var changed: [Change]
        var removed: [String]
        var unchanged: [String]
        var addedTopics: [String]
        var changedTopics: [String]
        var removedTopics: [String]
        var settings: [String]
        var restartOnly: [String]
        var orphans: [String]

        struct Change: Decodable {
            var subscriber: String
            var reasons: [String]
            var matches: Int?
            var matchedBefore: Int?
            var of: Int?
        }

        var isEmpty: Bool {
            added.isEmpty && changed.isEmpty && removed.isEmpty && addedTopics.isEmpty && changedTopics.isEmpty
                && removedTopics.isEmpty && settings.isEmpty && restartOnly.isEmpty
        }
    }

    func run() async throws {
        let answer = try await server.client.sendUnchecked("GET", "/v1/plan")
        if answer.status == 422 {
            if server.json {
                Console.say(String(decoding: answer.body, as: UTF8.self))
            } else {
                server.client.showRefusal(answer, "a reload would be refused")
            }
            throw ExitCode.refused
        }
        guard answer.status == 200 else { throw server.client.complain(answer) }
        let plan = try answer.decoded(Answer.self)
        Console.say(server.json ? String(decoding: answer.body, as: UTF8.self) : Self.render(plan))
        if !plan.restartOnly.isEmpty { throw ExitCode.needsRestart }
    }

    private static func render(_ plan: Answer) -> String {
        var lines: [String] = []
        func add(_ mark: String, _ style: Console.Style, _ name: String, _ details: [String]) {
            lines.append("  \(Console.styled(mark, style)) \(name)")
            lines += details.map { "      \($0)" }
        }
        for change in plan.added { add("+", .green, change.subscriber, change.reasons + matching(change)) }
        for change in plan.changed { add("~", .yellow, change.subscriber, change.reasons + matching(change)) }
        for name in plan.removed {
            add("-", .red, name, ["its position stays in the ledger; a subscriber with `was \(name)` takes it over"])
        }
        for name in plan.addedTopics { add("+", .green, "topic \(name)", []) }
        for name in plan.changedTopics { add("~", .yellow, "topic \(name)", []) }
        for name in plan.removedTopics { add("-", .red, "topic \(name)", ["its events stay on disk"]) }
        for name in plan.settings { add("~", .yellow, name, []) }
        let head =
            plan.isEmpty
            ? "nothing would change; generation \(plan.generation) is running"
            : "a reload of generation \(plan.generation) would change:"
        lines.insert(head, at: 0)
        lines.append("\(plan.unchanged.count) \(plan.unchanged.count == 1 ? "subscriber" : "subscribers") unchanged")
        for name in plan.orphans where !plan.removed.contains(name) {
            lines.append("\(name) is known from before and in no configuration; `was \(name)` would go on with it")
        }
        if !plan.restartOnly.isEmpty {
            lines.append("a restart is needed, and a reload refused as a whole, for:")
            lines += plan.restartOnly.map { "  \($0)" }
        }
        return lines.joined(separator: "\n")
    }

    private static func matching(_ change: Answer.Change) -> [String] {
        guard let matches = change.matches, let of = change.of else { return [] }
        let before = change.matchedBefore.map { ", \($0) before" } ?? ""
        return ["takes \(matches) of \(of) retained events\(before)"]
    }
}
