// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AsyncHTTPClient
import Foundation
import NIOCore
import NIOFoundationEssentialsCompat

struct Pull: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Lease events of a pull subscriber, print them one on a line, and acknowledge them.",
        discussion: "With --no-ack the leases are left to run out, and the events come again.")

    @Argument(help: "The subscriber.", completion: .subscribers) var subscriber: String
    @Option(help: "Events at most.") var max = 100
    @Option(help: "How long to wait for the first, such as 20s.") var wait = "0s"
    @Flag(name: .customLong("no-ack"), help: "Only look.") var noAck = false
    @OptionGroup var server: ServerOptions

    func run() async throws {
        let path = "/v1/subscribers/\(subscriber.pathSegment)"
        let request = try JSONSerialization.data(withJSONObject: ["max": max, "wait": wait] as [String: Any])
        let answer = try await server.client.send("POST", path + "/pull", body: .bytes(ByteBuffer(data: request)))
        guard let object = try JSONSerialization.jsonObject(with: answer.body) as? [String: Any],
            let deliveries = object["deliveries"] as? [[String: Any]]
        else {
            Console.complain(
                "the server's answer isn't a list of deliveries: \(String(decoding: answer.body, as: UTF8.self))")
            throw ExitCode.failure
        }
        var leases: [String] = []
        for delivery in deliveries {
            let shown = server.json ? delivery : (delivery["event"] as? [String: Any] ?? [:])
            let line = try JSONSerialization.data(
                withJSONObject: shown, options: [.sortedKeys, .withoutEscapingSlashes])
            Console.say(String(decoding: line, as: UTF8.self))
            if let lease = delivery["lease"] as? String { leases.append(lease) }
        }
        guard !noAck, !leases.isEmpty else { return }
        let settle = try JSONSerialization.data(withJSONObject: ["ack": leases])
        _ = try await server.client.send("POST", path + "/settle", body: .bytes(ByteBuffer(data: settle)))
    }
}
