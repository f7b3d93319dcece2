// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The session in docs/routes.md: its commands are run, and must print what the page says.
struct WalkTests {
    private static let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("docs/routes.md")

    @Test(.timeLimit(.minutes(2)))
    func theSessionOfTheManualIsReal() async throws {
        let server = try RunningServer(routes: "")
        try FileManager.default.removeItem(at: server.folder.appendingPathComponent("Plugins"))
        try FileManager.default.removeItem(at: server.folder.appendingPathComponent("routes.conf"))
        let text = try String(contentsOf: Self.page, encoding: .utf8)
        var lines: [String] = []
        var command: String?
        var isInside = false
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
            if line == "```console" {
                isInside = true
            } else if isInside, line == "```" {
                if let command { lines += try await run(command, on: server) }
                command = nil
                isInside = false
            } else if isInside {
                if line.hasPrefix("$ ") {
                    if let command { lines += try await run(command, on: server) }
                    command = String(line.dropFirst(2))
                } else if let open = command, Self.isUnfinished(open) {
                    command = open + "\n" + line
                } else {
                    // What the command printed when the page was written.
                    continue
                }
            }
            lines.append(line)
        }
        let real = lines.joined(separator: "\n")
        if ProcessInfo.processInfo.environment["UPDATE_FIXTURES"] == "1" {
            try real.write(to: Self.page, atomically: true, encoding: .utf8)
        }
        #expect(real == text, "to write the page anew: UPDATE_FIXTURES=1 swift test --filter WalkTests")
    }

    /// Whether a text that the command reads from the page goes on.
    private static func isUnfinished(_ command: String) -> Bool {
        command.split(separator: "\n").first?.hasSuffix("<<'END'") == true && !command.hasSuffix("\nEND")
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
