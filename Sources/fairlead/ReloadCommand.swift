// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

struct Reload: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make the running server load its changed configuration and plugins, and wait for the verdict.",
        discussion: "Exit code 0: applied. 2: refused, and everything is as it was. 3: it takes a restart.")

    @Flag(help: "Try again what an earlier reload broke and what was undone, though its files are the same.")
    var force = false
    @OptionGroup var server: ServerOptions

    private struct Verdict: Decodable {
        var generation: Int?
        var changes: [String]?
    }

    func run() async throws {
        let answer = try await server.client.sendUnchecked("POST", force ? "/v1/reload?force=true" : "/v1/reload")
        if server.json { Console.say(String(decoding: answer.body, as: UTF8.self)) }
        let verdict = try? answer.decoded(Verdict.self)
        switch answer.status {
        case 200:
            guard !server.json else { return }
            Console.say("generation \(verdict?.generation ?? 0) applied")
            for change in verdict?.changes ?? [] { Console.say("  \(change)") }
        case 409:
            if !server.json { server.client.showRefusal(answer, "a restart is needed; everything is as it was") }
            throw ExitCode.needsRestart
        case 422:
            if !server.json { server.client.showRefusal(answer, "refused; everything is as it was") }
            throw ExitCode.refused
        default:
            throw server.client.complain(answer)
        }
    }
}
