// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AsyncHTTPClient
import Foundation
import NIOCore
import NIOFoundationEssentialsCompat

struct Pause: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Stop delivering to a subscriber; its events wait.",
        discussion: "It stays paused, over reloads and restarts, until `fairlead resume`.")

    @Argument(help: "The subscriber.", completion: .subscribers) var subscriber: String
    @Option(help: "Why, for whoever reads `fairlead status`.") var reason: String?
    @OptionGroup var server: ServerOptions

    func run() async throws {
        let body = try JSONEncoder().encode(reason.map { ["reason": $0] } ?? [:])
        _ = try await server.client.send(
            "POST", "/v1/subscribers/\(subscriber.pathSegment)/pause", body: .bytes(ByteBuffer(data: body)))
        Console.say("\(subscriber) is paused")
    }
}

struct Resume: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Go on delivering to a paused subscriber, from where it stopped.")

    @Argument(help: "The subscriber.", completion: .subscribers) var subscriber: String
    @OptionGroup var server: ServerOptions

    func run() async throws {
        _ = try await server.client.send("POST", "/v1/subscribers/\(subscriber.pathSegment)/resume")
        Console.say("\(subscriber) goes on")
    }
}
