// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The sessions in the manual: their commands are run, and must print what the page says.
struct WalkTests {
    private static let docs = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("docs")

    @Test(.timeLimit(.minutes(3)), arguments: ["routes.md", "operations.md"])
    func theSessionOfTheManualIsReal(_ name: String) async throws {
        let page = Self.docs.appendingPathComponent(name)
        let server = try RunningServer(routes: "")
        try FileManager.default.removeItem(at: server.folder.appendingPathComponent("Plugins"))
        try FileManager.default.removeItem(at: server.folder.appendingPathComponent("routes.conf"))
        let text = try String(contentsOf: page, encoding: .utf8)
        var lines: [String] = []
        var command: String?
        var printed: [String] = []
        var isInside = false
        func finish() async throws {
            if let command { lines += try await output(of: command, as: printed, on: server) }
            command = nil
            printed = []
        }
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
            if line == "```console" {
                isInside = true
            } else if isInside, line == "```" {
                try await finish()
                isInside = false
            } else if isInside {
                if line.hasPrefix("$ ") {
                    try await finish()
                    command = String(line.dropFirst(2))
                } else if let open = command, Self.isUnfinished(open) {
                    command = open + "\n" + line
                } else {
                    // What the command printed when the page was written.
                    printed.append(line)
                    continue
                }
            }
            lines.append(line)
        }
        let real = lines.joined(separator: "\n")
        if Self.isUpdate, Self.steady(real) != Self.steady(text) {
            try real.write(to: page, atomically: true, encoding: .utf8)
        }
        #expect(
            Self.steady(real) == Self.steady(text),
            "to write the page anew: UPDATE_FIXTURES=1 swift test --filter WalkTests")
    }

    private static var isUpdate: Bool { ProcessInfo.processInfo.environment["UPDATE_FIXTURES"] == "1" }

    /// Whether a text that the command reads from the page goes on.
    private static func isUnfinished(_ command: String) -> Bool {
        command.split(separator: "\n").first?.hasSuffix("<<'END'") == true && !command.hasSuffix("\nEND")
    }

    /// Without what differs from run to run: times, the hash of a configuration that has the port in it, processor time.
    private static func steady(_ text: String) -> String {
        text.replacing(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/, with: "TIME")
            .replacing(/\b[0-9a-f]{12}\b/, with: "HASH")
            .replacing(/-\d{13}\b/, with: "-MILLISECONDS")
            .replacing(/\d+\.\d{3}(?= ms| →)/, with: "CPU")
    }

    /// What a command prints. One that only looks may come before what the last one did is written: it looks again, a while
    /// long, until it sees what the page says.
    private func output(of command: String, as printed: [String], on server: RunningServer) async throws -> [String] {
        let expected = Self.steady(printed.joined(separator: "\n"))
        let looks = ["status", "generations", "state list", "rehearse"]
        let deadline = ContinuousClock.now + (Self.isUpdate ? .seconds(2) : .seconds(30))
        while true {
            let real = try await run(command, on: server)
            let isAsWritten = Self.steady(real.joined(separator: "\n")) == expected
            let isLook = looks.contains {
                command == "fairlead \($0)" || (command.hasPrefix("fairlead \($0) ") && !command.contains("&&"))
            }
            if isAsWritten || !isLook || ContinuousClock.now > deadline { return real }
            try await Task.sleep(for: .milliseconds(200))
        }
    }

    /// The lines that a command prints. One that ends in `&` is the server, which goes on.
    private func run(_ command: String, on server: RunningServer) async throws -> [String] {
        if command.hasSuffix("&") {
            let file = server.folder.appendingPathComponent("routes.conf")
            let routes = try String(contentsOf: file, encoding: .utf8)
            // The page's server listens on the usual port, this one on a free one.
            try "listen 127.0.0.1:\(server.port)\n\(routes)".write(to: file, atomically: true, encoding: .utf8)
            try await server.start()
            return []
        }
        let result = try await RunningServer.command(
            ["-c", "exec 2>&1; \(command)"], of: URL(fileURLWithPath: "/bin/bash"), in: server.folder,
            environment: ["PATH": "\(RunningServer.program.deletingLastPathComponent().path):/usr/bin:/bin"])
        let output = result.output.replacing(server.folder.path, with: "/shop")
        return output.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
    }
}
