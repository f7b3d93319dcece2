// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

struct Tail: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the events of a topic as they come, one on a line.",
        discussion: "Ends by Ctrl-C, or after --max events.")

    @Argument(help: "The topic.", completion: .topics) var topic: String
    @Option(help: "The first offset; without it, only what comes from now on.") var from: UInt64?
    @Option(help: "End after so many events.") var max: Int?
    @OptionGroup var server: ServerOptions

    private struct Line: Decodable {
        var offset: UInt64
    }

    func run() async throws {
        var next = from
        var left = max ?? .max
        while left > 0 {
            var path = "/v1/topics/\(topic.pathSegment)/events?wait=20s&max=\(min(left, 500))"
            if let next { path += "&from=\(next)" }
            let answer = try await server.client.send("GET", path)
            for line in answer.body.split(separator: UInt8(ascii: "\n")) {
                next = try JSONDecoder().decode(Line.self, from: line).offset + 1
                left -= 1
                if server.json {
                    Console.say(String(decoding: line, as: UTF8.self))
                } else if let object = try JSONSerialization.jsonObject(with: line) as? [String: Any],
                    let event = object["event"]
                {
                    let text = try JSONSerialization.data(
                        withJSONObject: event, options: [.sortedKeys, .withoutEscapingSlashes])
                    Console.say(String(decoding: text, as: UTF8.self))
                }
            }
        }
    }
}
