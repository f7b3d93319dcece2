// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AsyncHTTPClient
import Events
import Foundation
import NIOCore
import NIOFoundationEssentialsCompat

extension Dead {
    struct Edit: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Mend a dead letter's event before it is sent again; the original is kept.",
            discussion: """
                With --set, changes single members: --set data.customer.email='"a@example.com"' --set data.total=25. A value \
                that is no JSON is taken as text. Without it, opens the event in $VISUAL or $EDITOR.
                """)

        @Argument(help: "The dead letter's id.") var id: Int64
        @Option(name: .customLong("set"), help: "PATH=VALUE, any number of times.") var changes: [String] = []
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let shown = try await server.client.send("GET", "/v1/dead/\(id)")
            guard case .object(let letter) = try Self.value(shown.body), let event = letter["event"] else {
                throw ExitCode.failure
            }
            let patch =
                changes.isEmpty ? try Self.edit(event) : try changes.reduce(.object([:])) { try Self.add($1, to: $0) }
            guard patch != .object([:]) else {
                Console.say("nothing changed")
                return
            }
            var body: [UInt8] = []
            patch.append(to: &body)
            let answer = try await server.client.send(
                "PATCH", "/v1/dead/\(id)", body: .bytes(body), contentType: "application/merge-patch+json")
            Console.say(
                server.json
                    ? String(decoding: answer.body, as: UTF8.self)
                    : "\(id) mended; `fairlead dead redrive \(id)` sends it again")
        }

        private static func value(_ data: Data) throws -> JSONValue {
            do {
                return try PaddedBytes(data).withBytes { (bytes) throws(Failure) in try JSONValue(bytes) }
            } catch {
                Console.complain("that is no JSON: \(error)")
                throw ExitCode.refused
            }
        }

        /// `data.total=25` as the patch `{"data":{"total":25}}`, merged into those before.
        private static func add(_ change: String, to patch: JSONValue) throws -> JSONValue {
            guard let equals = change.firstIndex(of: "="), equals != change.startIndex else {
                throw ValidationError("\"\(change)\" isn't PATH=VALUE, such as data.total=25")
            }
            let text = Data(change[change.index(after: equals)...].utf8)
            let parsed = try? PaddedBytes(text).withBytes { (bytes) throws(Failure) in try JSONValue(bytes) }
            var value = parsed ?? .string(String(decoding: text, as: UTF8.self))
            for name in change[..<equals].split(separator: ".", omittingEmptySubsequences: false).reversed() {
                guard !name.isEmpty else { throw ValidationError("\"\(change)\" has an empty name in its path") }
                value = .object([String(name): value])
            }
            return patch.deepening(value)
        }

        /// What the user changed in an editor, as a merge patch.
        private static func edit(_ event: JSONValue) throws -> JSONValue {
            let environment = ProcessInfo.processInfo.environment
            guard let editor = environment["VISUAL"] ?? environment["EDITOR"], !editor.isEmpty else {
                throw ValidationError("set $EDITOR to your editor, or say what to change with --set PATH=VALUE")
            }
            let file = FileManager.default.temporaryDirectory.appendingPathComponent(
                "fairlead-\(UUID().uuidString).json")
            var text: [UInt8] = []
            event.append(to: &text)
            let pretty = try Console.pretty(JSONSerialization.jsonObject(with: Data(text)))
            try Data((pretty + "\n").utf8).write(to: file)
            defer { try? FileManager.default.removeItem(at: file) }
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/bin/sh")
            // The editor may be a command with arguments.
            process.arguments = ["-c", "\(editor) \"$0\"", file.path]
            try process.run()
            process.waitUntilExit()
            guard process.terminationStatus == 0 else {
                Console.complain("the editor ended with status \(process.terminationStatus); nothing was changed")
                throw ExitCode.failure
            }
            return event.mergePatch(to: try value(Data(contentsOf: file)))
        }
    }

    /// Which dead letters are to be changed: one way of saying it.
    struct Selection: ParsableArguments {
        @Argument(help: "Ids of dead letters.") var ids: [Int64] = []
        @OptionGroup var filter: Filter
        @Flag(help: "All there are.") var all = false

        func validate() throws {
            guard [!ids.isEmpty, !filter.isEmpty, all].count(where: { $0 }) == 1 else {
                throw ValidationError("say which: ids, or --subscriber, --topic, --group, or --all")
            }
        }

        /// As the server's calls take it.
        var body: [String: Any] {
            var body = filter.body
            if !ids.isEmpty { body["ids"] = ids }
            if all { body["all"] = true }
            return body
        }
    }

    struct Redrive: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Send dead letters to their subscriber again, with all their attempts before them.",
            discussion: """
                The oldest go first. The run stops at the first that fails again and leaves the others as they are. With \
                --canary it sends one, then ten, then the rest, each step only when all before have succeeded.
                """)

        @OptionGroup var selection: Selection
        @Flag(help: "One first, then ten, then the rest.") var canary = false
        @Flag(help: "Go on when letters fail again.") var keepGoing = false
        @Option(help: "No faster than this, such as 50/s.") var rate: String?
        @Flag(help: "Don't wait for how it ends.") var noWait = false
        @OptionGroup var server: ServerOptions

        private struct Run: Decodable {
            var run: Int
            var state: String
            var total: Int
            var waiting: Int
            var underway: Int
            var succeeded: Int
            var failed: Int
            var skipped: Int
            var stoppedBy: Int64?
            var reason: String?
        }

        func run() async throws {
            var body = selection.body
            if canary { body["canary"] = true }
            if keepGoing { body["keepGoing"] = true }
            body["rate"] = rate
            let data = try JSONSerialization.data(withJSONObject: body)
            var answer = try await server.client.send("POST", "/v1/dead/redrive", body: .bytes(ByteBuffer(data: data)))
            var run = try answer.decoded(Run.self)
            while !noWait, run.state == "running" {
                let sent = run.total - run.waiting
                Console.progress(sent, of: run.total, "\(sent) of \(run.total) sent, \(run.succeeded) acknowledged")
                try await Task.sleep(for: .milliseconds(200))
                answer = try await server.client.send("GET", "/v1/dead/redrives/\(run.run)")
                run = try answer.decoded(Run.self)
            }
            Console.progress(nil)
            if server.json { Console.say(String(decoding: answer.body, as: UTF8.self)) } else { Console.say(text(run)) }
            if run.state == "stopped" { throw ExitCode.failure }
        }

        private func text(_ run: Run) -> String {
            let sent = run.total - run.waiting - run.skipped
            switch run.state {
            case "running": return "\(sent) of \(run.total) sent; the run goes on"
            case "stopped":
                return "stopped: dead letter \(run.stoppedBy ?? 0) failed again: \(run.reason ?? "")\n"
                    + "\(sent) of \(run.total) were sent, \(run.succeeded) acknowledged; \(run.waiting) are untouched"
            default:
                var text = "\(sent) sent again, \(run.succeeded) acknowledged"
                if run.failed > 0 { text += ", \(run.failed) failed again" }
                if run.skipped > 0 { text += ", \(run.skipped) were dealt with by somebody else" }
                return text
            }
        }
    }

    struct Discard: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give dead letters up; what waits behind their keys goes on.")

        @OptionGroup var selection: Selection
        @Option(help: "Why, for whoever asks later.") var reason: String
        @OptionGroup var server: ServerOptions

        private struct Answer: Decodable {
            var discarded: Int
        }

        func run() async throws {
            var body = selection.body
            body["reason"] = reason
            let data = try JSONSerialization.data(withJSONObject: body)
            let answer = try await server.client.send("POST", "/v1/dead/discard", body: .bytes(ByteBuffer(data: data)))
            Console.say(
                server.json
                    ? String(decoding: answer.body, as: UTF8.self)
                    : "\(try answer.decoded(Answer.self).discarded) discarded")
        }
    }
}
