// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AsyncHTTPClient
import Events
import Foundation
import Gateway
import NIOCore
import NIOFoundationEssentialsCompat

struct Reload: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make the running server load its changed configuration and plugins, and wait for the verdict.",
        discussion: ReloadOptions.exitCodes)

    @OptionGroup var options: ReloadOptions
    @Flag(help: "Try again what an earlier reload broke and what was undone, though its files are the same.")
    var force = false
    @OptionGroup var server: ServerOptions

    func run() async throws {
        try await options.ask(server, "/v1/reload", force: force ? true : nil)
    }
}

struct Rollback: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make the running server go back to the files of an earlier generation, and wait for the verdict.",
        discussion: """
            The files come from the ledger, secrets and variables are those of now. Files on disk stay as they are: the next \
            reload loads them. \(ReloadOptions.exitCodes)
            """)

    @Argument(help: "The generation, as `fairlead generations` lists them. Default: the last one with other files.")
    var generation: Int?
    @OptionGroup var options: ReloadOptions
    @OptionGroup var server: ServerOptions

    func run() async throws {
        try await options.ask(server, "/v1/rollback", generation: generation)
    }
}

/// What reloads and rollbacks have in common.
struct ReloadOptions: ParsableArguments {
    static let exitCodes = """
        Exit code 0: applied. 2: refused. 3: it takes a restart. 4: not ready in time. In all cases but the first everything \
        is as it was.
        """

    @Option(help: "How long the new generation may take to be ready; what isn't ready then is called off.")
    var wait = DurationText.format(Limits.reloadWait)

    func validate() throws {
        guard let wait = DurationText.parse(wait), wait > .zero, wait <= Limits.reloadWaitMax else {
            throw ValidationError(
                "--wait is \"\(self.wait)\"; write a number and a unit, such as 30s, up to "
                    + DurationText.format(Limits.reloadWaitMax))
        }
    }

    private struct Request: Encodable {
        var wait: String
        var generation: Int?
        var force: Bool?
    }

    private struct Verdict: Decodable {
        var generation: Int?
        var changes: [String]?
    }

    func ask(_ server: ServerOptions, _ path: String, generation: Int? = nil, force: Bool? = nil) async throws {
        let body = try JSONEncoder().encode(Request(wait: wait, generation: generation, force: force))
        // It may have to wait for one that runs, and for the end of what that replaced.
        let longest = DurationText.parse(wait) ?? .zero
        let patience = longest + longest + .seconds(90)
        let answer = try await server.client.sendUnchecked(
            "POST", path, body: .bytes(ByteBuffer(data: body)), timeout: .milliseconds(patience.milliseconds))
        if server.json { Console.say(String(decoding: answer.body, as: UTF8.self)) }
        func refused(_ summary: String) {
            if !server.json { server.client.showRefusal(answer, summary) }
        }
        switch answer.status {
        case 200:
            guard !server.json else { return }
            let verdict = try answer.decoded(Verdict.self)
            Console.say("generation \(verdict.generation ?? 0) applied")
            for change in verdict.changes ?? [] { Console.say("  \(change)") }
        case 409:
            refused("a restart is needed; everything is as it was")
            throw ExitCode.needsRestart
        case 422:
            refused("refused; everything is as it was")
            throw ExitCode.refused
        case 504:
            refused("not ready within \(wait); everything is as it was")
            throw ExitCode.timedOut
        default:
            throw server.client.complain(answer)
        }
    }
}
