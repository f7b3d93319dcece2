// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// What commands show on a terminal, and what they leave out elsewhere.
struct TerminalTests {
    private static let escape = "\u{1B}["

    /// What a command line prints on a terminal with so many columns.
    private func onTerminal(
        _ command: String, columns: Int = 80, in server: RunningServer, environment: [String: String] = [:]
    ) async throws -> String {
        var environment = environment
        environment["PATH"] = "\(RunningServer.program.deletingLastPathComponent().path):/usr/bin:/bin"
        environment["TERM"] = environment["TERM"] ?? "xterm"
        // Whoever runs the tests may have it set.
        environment["NO_COLOR"] = environment["NO_COLOR"] ?? ""
        let result = try await RunningServer.command(
            ["-qec", "stty cols \(columns); \(command)", "/dev/null"], of: URL(fileURLWithPath: "/usr/bin/script"),
            in: server.folder, environment: environment)
        return result.output
    }

    private func piped(_ command: String, in server: RunningServer) async throws -> String {
        let result = try await RunningServer.command(
            ["-c", "exec 2>&1; \(command)"], of: URL(fileURLWithPath: "/bin/bash"), in: server.folder,
            environment: ["PATH": "\(RunningServer.program.deletingLastPathComponent().path):/usr/bin:/bin"])
        return result.output
    }

    private static func lines(_ output: String) -> [String] {
        // A terminal ends lines in "\r\n", which is one character.
        output.replacing(/\u{1B}\[[0-9;]*[A-Za-z]/, with: "").split(whereSeparator: \.isNewline).map(String.init)
    }

    @Test(.timeLimit(.minutes(2)))
    func tablesFitTheTerminalAndLoseNothing() async throws {
        let server = try RunningServer(
            routes: """
                topic orders
                subscriber a_subscriber_with_quite_a_long_name { from orders; run boom; retry { attempts 1 } }
                subscriber puller { from orders; pull }
                """,
            plugins: ["boom": "return function() error('the customer of this order has no address of any kind') end"])
        try await server.start()
        _ = try await server.post("/v1/topics/orders/events", #"{"order_id":"o-1"}"#)
        try await eventually("it failed") {
            try await server.subscriber("a_subscriber_with_quite_a_long_name")["dead"] as? Int == 1
        }
        for command in ["fairlead status", "fairlead dead list", "fairlead dead groups", "fairlead generations"] {
            let wide = try await piped(command, in: server)
            #expect(!wide.contains(Self.escape), "\(command) colours a pipe")
            // Headings of columns that are empty may be left out.
            let words = Set(wide.split(whereSeparator: \.isWhitespace).filter { $0.contains(where: \.isLowercase) })
                .map { $0.lowercased() }
            let asked = try await piped("COLUMNS=80 \(command)", in: server)
            #expect(asked.split(separator: "\n").contains { $0.hasPrefix("    ") } || wide == asked, "\(asked)")
            for columns in [60, 80, 200] {
                let shown = try await onTerminal(command, columns: columns, in: server)
                let lines = Self.lines(shown)
                // A line of prose may be longer: the terminal breaks it.
                let table = lines.filter {
                    !$0.hasPrefix("generation ") && !$0.hasPrefix("last error") && !$0.hasPrefix("  Plugins")
                }
                #expect(table.allSatisfy { $0.count <= columns }, "\(command), \(columns) columns:\n\(shown)")
                let joined = lines.joined(separator: " ").lowercased()
                // Words that are longer than a line, and those that stand on two, are looked for without their spaces.
                let dense = joined.replacing(" ", with: "")
                for word in words where !joined.contains(word) && !dense.contains(word) {
                    Issue.record("\(command), \(columns) columns, doesn't say \"\(word)\":\n\(shown)")
                }
            }
        }
    }

    @Test func coloursAreForTerminalsAndYieldToNoColor() async throws {
        let server = try RunningServer(routes: "topic orders { retain 5 }")
        let red = Self.escape + "31m"
        #expect(try await onTerminal("fairlead check", in: server).contains(red + "error[R021]"))
        #expect(try await onTerminal("fairlead check", in: server, environment: ["NO_COLOR": ""]).contains(red))
        for environment in [["NO_COLOR": "1"], ["TERM": "dumb"]] {
            let shown = try await onTerminal("fairlead check", in: server, environment: environment)
            #expect(shown.contains("error[R021]") && !shown.contains(Self.escape), "\(environment): \(shown)")
        }
        #expect(try await !piped("fairlead check", in: server).contains(Self.escape))
        // Each stream for itself: the verdict goes to a file, the complaint to the terminal.
        #expect(try await onTerminal("fairlead check >/dev/null", in: server).contains(red))
        #expect(try await !onTerminal("fairlead check 2>&1 | cat", in: server).contains(Self.escape))
    }

    /// They ended in a trap and a page of backtrace, the server as well.
    @Test(.timeLimit(.minutes(1)))
    func outputThatNobodyTakesEndsACommandQuietlyAndNoServer() async throws {
        let server = try RunningServer(
            routes: "topic orders\nsubscriber talker { from orders; run talker }",
            plugins: ["talker": "return function(event, ctx) ctx.log.info('it came') end"])
        // More than a pipe holds.
        let left = try await piped("fairlead openapi | head -c 1 >/dev/null; echo ${PIPESTATUS[0]}", in: server)
        #expect(try await server.command("openapi").output.utf8.count > 65_536)
        #expect(left == "141\n", "\(left)")
        let full = try await piped("fairlead openapi >/dev/full; echo $?", in: server)
        #expect(full == "can't write the results: No space left on device\n1\n", "\(full)")

        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        process.arguments = ["-c", "exec \(RunningServer.program.path) serve --watch >/dev/full 2>/dev/full"]
        process.currentDirectoryURL = server.folder
        try process.run()
        defer { kill(process.processIdentifier, SIGKILL) }
        try await eventually("it serves") { (try? await server.get("/readyz").status) == 200 }
        _ = try await server.post("/v1/topics/orders/events", "{}")
        try await eventually("the plugin has logged") { try await server.acked("talker") == 1 }
        try server.write(routes: "topic orders\nsubscriber talker { from orders; run talker; concurrency 2 }")
        try await eventually("it has told of a reload") {
            try await server.get("/v1/status").object["generation"] as? Int == 2
        }
        #expect(try await server.get("/readyz").status == 200)
        #expect(process.isRunning)
    }

    @Test(.timeLimit(.minutes(4)))
    func longWorkShowsABarOnATerminalOnly() async throws {
        let server = try RunningServer(
            routes: "topic orders\nsubscriber counter { from orders; run counter }",
            plugins: ["counter": "return function(event, ctx) ctx.state.add('n', 1) end"])
        try await server.start()
        let line = #"{"order_id":"o-1"}"# + "\n"
        for name in ["first.ndjson", "second.ndjson"] {
            // Two files with the same contents would be one import.
            let text = String(repeating: line, count: 30_000) + #"{"file":"\#(name)"}"# + "\n"
            try Data(text.utf8).write(to: server.folder.appendingPathComponent(name))
        }
        _ = try await server.post(
            "/v1/topics/orders/events", String(repeating: line, count: 40), type: "application/x-ndjson")
        let bench = "fairlead bench --events 100000 --rounds 1 --only 'durable publish, 500'"
        for (command, again) in [
            (
                "fairlead import orders first.ndjson --only counter",
                "fairlead import orders second.ndjson --only counter"
            ),
            ("fairlead replay counter --from earliest --rate 20/s", "fairlead replay counter --from earliest"),
            ("fairlead verify", "fairlead verify"), (bench, bench),
        ] {
            let shown = try await onTerminal(command, in: server)
            #expect(shown.contains("█") && shown.contains(" %"), "\(command): \(shown.prefix(500))")
            // What is taken away at the end must have been one line.
            let frames = shown.unicodeScalars.split(separator: "\r").map(String.init).map {
                $0.replacing(/\u{1B}\[[0-9;]*[A-Za-z]/, with: "")
            }
            for frame in frames where frame.contains("█") { #expect(frame.count < 80, "\(command): \(frame)") }
            let quiet = try await piped(again, in: server)
            #expect(!quiet.contains("failed"), "\(again): \(quiet)")
            #expect(!quiet.contains("█") && !quiet.contains(Self.escape), "\(again): \(quiet)")
        }
    }

    private struct Help: Decodable {
        var command: Command

        struct Command: Decodable {
            var commandName: String
            var subcommands: [Command]?
            var arguments: [Argument]?

            /// Paths of the commands that do something, with the names of their options.
            func leaves(_ above: String = "") -> [(path: String, options: [String])] {
                let path = above.isEmpty ? commandName : "\(above) \(commandName)"
                let below = (subcommands ?? []).filter { $0.commandName != "help" }
                let options = (arguments ?? []).flatMap { ($0.names ?? []).map(\.name) }
                return below.isEmpty ? [(path, options)] : below.flatMap { $0.leaves(path) }
            }
        }

        struct Argument: Decodable {
            var names: [Name]?
        }

        struct Name: Decodable {
            var name: String
        }
    }

    private func help(_ server: RunningServer) async throws -> [(path: String, options: [String])] {
        let text = try await server.command("--experimental-dump-help").output
        return try JSONDecoder().decode(Help.self, from: Data(text.utf8)).command.leaves()
    }

    /// They write files or documents, or go on until they are stopped.
    private static let withoutJSON: Set = [
        "fairlead serve", "fairlead fmt", "fairlead plugin new", "fairlead sink", "fairlead openapi",
        "fairlead asyncapi",
    ]

    @Test func everyCommandThatReportsHasJSON() async throws {
        let server = try RunningServer(
            routes: """
                topic orders
                subscriber big { from orders; where data.total >= 100; pull }
                test "small ones are nobody's" { publish orders { data.total 5 }; expect big }
                """)
        let leaves = try await help(server)
        #expect(leaves.count > 30)
        for leaf in leaves where !leaf.options.contains("json") {
            #expect(Self.withoutJSON.contains(leaf.path), "\(leaf.path) has no --json")
        }
        try Data(#"{"total":5}"#.utf8).write(to: server.folder.appendingPathComponent("event.json"))
        let explained = try await server.command("explain", "orders", "event.json", "--json").output
        let object = try #require(try JSONSerialization.jsonObject(with: Data(explained.utf8)) as? [String: Any])
        let subscriber = try #require((object["subscribers"] as? [[String: Any]])?.first)
        #expect(subscriber["taken"] as? Bool == false)
        #expect((subscriber["where"] as? [String: Any])?["verdict"] as? String == "false")
        let tested = try await server.command("test", "--json")
        #expect(tested.code == 1)
        let report = try #require(try JSONSerialization.jsonObject(with: Data(tested.output.utf8)) as? [String: Any])
        #expect(report["failed"] as? Int == 1 && report["passed"] as? Int == 0)
    }

    @Test(.timeLimit(.minutes(2)))
    func manualPagesAreMadeForEveryCommandAndRead() async throws {
        let server = try RunningServer(routes: "")
        let script = ManualPage.repository.appendingPathComponent("packaging/man.py").path
        let made = try await RunningServer.command(
            [script, RunningServer.program.path, "man", "2026-01-01"], of: URL(fileURLWithPath: "/usr/bin/python3"),
            in: server.folder)
        #expect(made.code == 0, "\(made.errors)")
        for leaf in try await help(server) {
            let name = leaf.path.replacing(" ", with: "-")
            let page = server.folder.appendingPathComponent("man/\(name).1")
            let text = try String(contentsOf: page, encoding: .utf8)
            for option in leaf.options {
                #expect(text.contains(option.replacing("-", with: "\\-")), "\(name): \(option)")
            }
        }
        guard FileManager.default.isExecutableFile(atPath: "/usr/bin/groff") else { return }
        let read = try await piped("for page in man/*; do groff -man -ww -z -Tascii $page; done", in: server)
        #expect(read.isEmpty, "\(read.prefix(2000))")
    }

    @Test(.timeLimit(.minutes(2)))
    func completionsKnowTheCommandsAndWhatIsConfigured() async throws {
        let server = try RunningServer(
            routes: "topic orders\ntopic stock\nsubscriber accounting { from orders; pull }")
        func completed(_ words: String...) async throws -> [Substring] {
            let quoted = (["fairlead"] + words).map { "'\($0)'" }.joined(separator: " ")
            let answer = try await piped(
                """
                source <(fairlead --generate-completion-script bash)
                COMP_WORDS=(\(quoted)); COMP_CWORD=\(words.count); COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}
                _fairlead fairlead "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"; printf '%s\\n' "${COMPREPLY[@]}"
                """, in: server)
            return answer.split(whereSeparator: \.isWhitespace)
        }
        #expect(try await completed("publi") == ["publish"])
        #expect(try await completed("dead", "re") == ["redrive"])
        #expect(try await completed("pull", "") == ["accounting"])
        #expect(try await completed("publish", "s") == ["stock"])
        for shell in ["zsh", "fish"] {
            let script = try await server.command("--generate-completion-script", shell)
            #expect(script.code == 0 && script.output.contains("redrive"), "\(shell)")
        }
    }
}
