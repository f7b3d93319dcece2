// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AsyncHTTPClient
import Foundation
import NIOCore
import NIOFoundationEssentialsCompat

struct Dead: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look at dead letters, send them again, or discard them.",
        subcommands: [List.self, Show.self, Redrive.self, Discard.self], defaultSubcommand: List.self)

    struct Letter: Decodable {
        var id: Int64
        var subscriber: String
        var topic: String
        var offset: UInt64
        var attempts: Int
        var reason: String
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List dead letters, the newest first.")

        @Option(help: "Only of this subscriber.") var subscriber: String?
        @Option(help: "How many at most.") var max = 100
        @OptionGroup var server: ServerOptions

        private struct Page: Decodable {
            var dead: [Letter]
        }

        func run() async throws {
            var path: String? = "/v1/dead?limit=\(Swift.min(max, 500))"
            if let subscriber { path! += "&subscriber=\(subscriber.queryValue)" }
            var letters: [Letter] = []
            while let page = path, letters.count < max {
                let answer = try await server.client.send("GET", page)
                if server.json {
                    Console.say(String(decoding: answer.body, as: UTF8.self))
                    return
                }
                letters += try answer.decoded(Page.self).dead
                path = answer.next
            }
            if letters.isEmpty {
                Console.say("no dead letters")
                return
            }
            Console.say(
                Console.table(
                    ["ID", "SUBSCRIBER", "TOPIC", "OFFSET", "ATTEMPTS", "REASON"],
                    letters.prefix(max).map {
                        [
                            "\($0.id)", $0.subscriber, $0.topic, "\($0.offset)", "\($0.attempts)",
                            String($0.reason.prefix(100)),
                        ]
                    }))
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one dead letter whole, with its event.")

        @Argument(help: "The dead letter's id.") var id: Int64
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let answer = try await server.client.send("GET", "/v1/dead/\(id)")
            let object = try JSONSerialization.jsonObject(with: answer.body)
            let text = try JSONSerialization.data(
                withJSONObject: object, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
            Console.say(String(decoding: server.json ? answer.body : text, as: UTF8.self))
        }
    }

    struct Redrive: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Send dead letters to their subscriber again, with all their attempts before them.")

        @Argument(help: "Ids of dead letters.") var ids: [Int64] = []
        @Option(help: "All of this subscriber.") var subscriber: String?
        @Flag(help: "All there are.") var all = false
        @OptionGroup var server: ServerOptions

        private struct Answer: Decodable {
            var redriven: Int
        }

        func validate() throws {
            guard [!ids.isEmpty, subscriber != nil, all].count(where: { $0 }) == 1 else {
                throw ValidationError("say which: ids, or --subscriber NAME, or --all")
            }
        }

        func run() async throws {
            var body: [String: Any] = [:]
            if !ids.isEmpty { body["ids"] = ids }
            if let subscriber { body["subscriber"] = subscriber }
            if all { body["all"] = true }
            let data = try JSONSerialization.data(withJSONObject: body)
            let answer = try await server.client.send("POST", "/v1/dead/redrive", body: .bytes(ByteBuffer(data: data)))
            Console.say(
                server.json
                    ? String(decoding: answer.body, as: UTF8.self)
                    : "\(try answer.decoded(Answer.self).redriven) sent again")
        }
    }

    struct Discard: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Give dead letters up for good.")

        @Argument(help: "Ids of dead letters.") var ids: [Int64]
        @OptionGroup var server: ServerOptions

        func run() async throws {
            for id in ids {
                _ = try await server.client.send("DELETE", "/v1/dead/\(id)")
                Console.say("\(id) discarded")
            }
        }
    }
}
