// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Gateway

struct Sink: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Play an HTTP endpoint that is pushed to: print what comes, answer with a status.",
        discussion: "For trying out `push` subscribers. Ends by Ctrl-C.")

    @Argument(help: "The port, on loopback.") var port: Int
    @Option(help: "The status to answer with, such as 503 to play an endpoint in trouble.") var status = 204

    func run() async throws {
        try await EndpointSink(port: port, status: status) { line in Console.say(line) }.run()
    }
}
