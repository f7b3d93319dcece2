// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

struct Pause: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Stop delivering to a subscriber; its events wait.")

    @Argument(help: "The subscriber.") var subscriber: String
    @OptionGroup var server: ServerOptions

    func run() async throws {
        _ = try await server.client.send("POST", "/v1/subscribers/\(subscriber.pathSegment)/pause")
        Console.say("\(subscriber) is paused")
    }
}

struct Resume: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Go on delivering to a paused subscriber, from where it stopped.")

    @Argument(help: "The subscriber.") var subscriber: String
    @OptionGroup var server: ServerOptions

    func run() async throws {
        _ = try await server.client.send("POST", "/v1/subscribers/\(subscriber.pathSegment)/resume")
        Console.say("\(subscriber) goes on")
    }
}
