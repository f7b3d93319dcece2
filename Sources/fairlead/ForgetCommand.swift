// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

struct Forget: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Remove what is kept of a subscriber that is in no configuration any more.",
        discussion: """
            Its positions, retries, state, attempts and dead letters are gone for good. Without this they are kept for seven \
            days after its block was removed, and it goes on where it stopped if the block comes back.
            """)

    @Argument(help: "The subscriber.", completion: .subscribers) var subscriber: String
    @Flag(help: "Yes, for good.") var yes = false
    @OptionGroup var server: ServerOptions

    func run() async throws {
        guard yes else {
            Console.complain("this can't be undone; to remove all that is kept of \(subscriber), add --yes")
            throw ExitCode.refused
        }
        _ = try await server.client.send("DELETE", "/v1/subscribers/\(subscriber.pathSegment)")
        Console.say("\(subscriber) is forgotten")
    }
}
