// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Testing

/// A page's commands, run one after the other as a reader would, in a folder of their own and on free ports.
final class Walk {
    private let page: ManualPage
    private let server: RunningServer
    private let sinkPort: Int
    /// Bound until somebody listens there: on a busy machine another process would be given the port meanwhile.
    private var held: [Int: Int32] = [:]
    private var jobs: [Job] = []
    private var environment: [String: String] = [:]
    /// Whether the server reloads by itself, so that nobody knows how often it did between two changes.
    private var isWatching = false

    /// What goes on in the background, numbered as a shell does.
    private enum Job {
        case server
        case process(Process)
    }

    init(_ page: ManualPage) throws {
        self.page = page
        server = try RunningServer(routes: "")
        sinkPort = try Loopback.freePort()
        for port in [server.port, sinkPort] {
            let holder = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            held[port] = holder
            _ = try Loopback.bind(holder, port: port)
        }
        let files = FileManager.default
        try files.removeItem(at: server.folder.appendingPathComponent("Plugins"))
        try files.removeItem(at: server.folder.appendingPathComponent("routes.conf"))
        let program = RunningServer.program.deletingLastPathComponent().path
        environment["PATH"] = "\(program):/usr/local/bin:/usr/bin:/bin"
        environment["COLUMNS"] = ""
        guard page.isInShop else { return }
        for name in ["Plugins", "docs", "routes.conf"] {
            try files.copyItem(
                at: ManualPage.repository.appendingPathComponent(name), to: server.folder.appendingPathComponent(name))
        }
        let routes = server.folder.appendingPathComponent("routes.conf")
        try ported(String(contentsOf: routes, encoding: .utf8)).write(to: routes, atomically: true, encoding: .utf8)
    }

    private func release(_ port: Int) {
        if let holder = held.removeValue(forKey: port) { close(holder) }
    }

    deinit {
        for holder in held.values { close(holder) }
        for case .process(let process) in jobs where process.isRunning {
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
    }

    /// The page as it would be if each command had printed what it prints now.
    func lines() async throws -> [String] {
        var lines: [String] = []
        var at = 0
        for block in page.blocks where block.isRun {
            for line in at..<block.range.lowerBound {
                if let command = page.hidden[line] { try await runWell(command) }
            }
            lines += page.lines[at..<block.range.lowerBound]
            let content = Array(page.lines[block.range])
            if block.kind == .session {
                for entry in Self.entries(content) {
                    lines += entry.command
                    lines += try await output(of: entry)
                }
            } else {
                for command in Self.commands(content) { try await runWell(command) }
                lines += content
            }
            at = block.range.upperBound
        }
        return lines + page.lines[at...]
    }

    private struct Entry {
        /// As the page has it.
        var command: [String]
        var output: [String] = []
        var isOpen: Bool { Walk.isOpen(command) }
        var text: String { command.joined(separator: "\n").replacing(#/^\$ /#, with: "") }
    }

    private static func entries(_ lines: [String]) -> [Entry] {
        var entries: [Entry] = []
        for line in lines {
            if let last = entries.last, last.isOpen {
                entries[entries.count - 1].command.append(line)
            } else if line.hasPrefix("$ ") {
                entries.append(Entry(command: [line]))
            } else if !entries.isEmpty {
                entries[entries.count - 1].output.append(line)
            }
        }
        return entries
    }

    private static func commands(_ lines: [String]) -> [String] {
        var commands: [[String]] = []
        for line in lines where !line.isEmpty {
            if let last = commands.last, isOpen(last) {
                commands[commands.count - 1].append(line)
            } else {
                commands.append([line])
            }
        }
        return commands.map { $0.joined(separator: "\n") }
    }

    /// Whether a command goes on in the next line: a text that it reads from the page, or a backslash.
    private static func isOpen(_ command: [String]) -> Bool {
        if command[0].hasSuffix("<<'END'") { return command.last != "END" }
        return command.last?.hasSuffix("\\") == true
    }

    private func runWell(_ command: String) async throws {
        let deadline = ContinuousClock.now + Self.patience
        var result = try await run(command)
        // The letter that it is about may not be there yet.
        while result.code != 0, command.hasPrefix("fairlead dead "), ContinuousClock.now < deadline {
            try await Task.sleep(for: Self.pause)
            result = try await run(command)
        }
        #expect(result.code == 0, "\(page.path): \(command)\n\(result.lines.joined(separator: "\n"))")
    }

    /// What only looks is asked again until it says what the page says: readers don't type as fast as this.
    private static let patience: Duration = .seconds(20)
    private static let pause: Duration = .milliseconds(250)
    private static let quiet: Duration = .seconds(4)
    private static let isWritingAnew = ProcessInfo.processInfo.environment["UPDATE_FIXTURES"] == "1"
    private nonisolated(unsafe) static let look =
        /^(fairlead (status|why|rehearse|dead (list|show|groups)|tail|state (list|get)|generations)\b|cat (?!>)|(tail|ls|head|grep) )/

    private func output(of entry: Entry) async throws -> [String] {
        let deadline = ContinuousClock.now + Self.patience
        var lines = try await run(entry.text).lines
        let isLook = entry.text.contains(Self.look)
        if isLook, Self.isWritingAnew {
            // Nobody knows what is to come: until nothing changes any more.
            var before: [String]?
            while before != shape(lines), ContinuousClock.now < deadline {
                before = shape(lines)
                try await Task.sleep(for: Self.quiet)
                lines = try await run(entry.text).lines
            }
        }
        while isLook, !Self.isWritingAnew, shape(lines) != shape(entry.output), ContinuousClock.now < deadline {
            try await Task.sleep(for: Self.pause)
            lines = try await run(entry.text).lines
        }
        return shape(lines) == shape(entry.output) ? entry.output : lines
    }

    /// The lines without what is another each time: moments, digests, ids that were made up, how long something took.
    private func shape(_ lines: [String]) -> [String] {
        lines.map { line in
            line.replacing(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/, with: "TIME")
                .replacing(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/, with: "UUID")
                .replacing(/\b([0-9a-f]{64}|[0-9a-f]{12}|[0-9a-f]{16})\b/, with: "HASH")
                .replacing(/[0-9.]+( → [0-9.]+)? m?s\b/, with: "SPAN")
                .replacing(/config-\d+-\d+/, with: "CONFIG")
                .replacing(/-\d{13}\b/, with: "-MILLISECONDS")
                .replacing(/\b01[0-9A-HJKMNP-TV-Z]{6,24}\b/, with: "ULID")
                .replacing(isWatching ? /generation \d+/ : /generation N/, with: "generation N")
                .replacing(#/ +/#, with: " ")
        }
    }

    private func run(_ command: String) async throws -> (code: Int32, lines: [String]) {
        if let match = command.wholeMatch(of: /export ([A-Z_]+)=(.*)/) {
            environment[String(match.1)] = ported(String(match.2).trimmingCharacters(in: ["\"", "'"]))
            return (0, [])
        }
        if let match = command.wholeMatch(of: /kill %(\d+)/) {
            try end(jobs[Int(match.1)! - 1])
            return (0, [])
        }
        let bare = command.replacing(##/ +#.*$/##, with: "")
        if bare.hasSuffix("&") {
            try await begin(bare.dropLast().trimmingCharacters(in: .whitespaces))
            return (0, [])
        }
        let result = try await RunningServer.command(
            ["-c", "exec 2>&1; \(ported(command))"], of: URL(fileURLWithPath: "/bin/bash"), in: server.folder,
            environment: environment)
        // Mail has line ends of its own.
        let output = result.output.replacing("\r\n", with: "\n").replacing(server.folder.path, with: "/shop")
            .replacing(":\(server.port)", with: ":8080").replacing(":\(sinkPort)", with: ":9090")
        let lines = output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        return (result.code, output.hasSuffix("\n") || output.isEmpty ? lines.dropLast() : lines)
    }

    /// The usual ports may be taken.
    private func ported(_ text: String) -> String {
        text.replacing(/\b8080\b/, with: "\(server.port)").replacing(/\b9090\b/, with: "\(sinkPort)")
    }

    private func begin(_ command: String) async throws {
        if let match = command.firstMatch(of: /^(?:make run|fairlead serve(?: routes.conf)?((?: --\S+)*))(?: >.*)?$/) {
            let file = server.folder.appendingPathComponent("routes.conf")
            let routes = try String(contentsOf: file, encoding: .utf8)
            if !routes.contains(/(?m)^listen/) {
                try "listen 127.0.0.1:\(server.port)\n\(routes)".write(to: file, atomically: true, encoding: .utf8)
            }
            let options = (match.1 ?? "").split(separator: " ").map(String.init)
            isWatching = options.contains("--watch")
            release(server.port)
            try await server.start(options, environment: environment)
            jobs.append(.server)
            return
        }
        if command.hasPrefix("fairlead sink") { release(sinkPort) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        process.arguments = ["-c", "exec \(ported(command))"]
        process.currentDirectoryURL = server.folder
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        jobs.append(.process(process))
        guard command.hasPrefix("fairlead sink") else { return }
        try await eventually("the sink listens") {
            (try? await Loopback.send("GET", self.sinkPort, "/")) != nil
        }
    }

    private func end(_ job: Job) throws {
        switch job {
        case .server:
            server.signal(SIGTERM)
            server.waitUntilExit()
        case .process(let process):
            kill(process.processIdentifier, SIGTERM)
            process.waitUntilExit()
        }
    }
}
