// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AsyncHTTPClient
import Foundation
import NIOCore
import NIOFoundationEssentialsCompat

struct State: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look at what a subscriber's plugin keeps, and mend it.",
        discussion: """
            A handler that is running may overwrite what is put here; `fairlead pause` the subscriber first where that \
            matters.
            """,
        subcommands: [List.self, Get.self, Put.self, Delete.self])

    private static func path(_ subscriber: String, _ key: String) -> String {
        "/v1/subscribers/\(subscriber.pathSegment)/state/\(key.pathSegment)"
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List keys and values, in order of key.")

        @Argument(help: "The subscriber.", completion: .subscribers) var subscriber: String
        @Option(help: "Only keys that start with this.") var prefix = ""
        @Option(help: "How many at most.") var max = 1_000
        @OptionGroup var server: ServerOptions

        func run() async throws {
            var path: String? =
                "/v1/subscribers/\(subscriber.pathSegment)/state?prefix=\(prefix.queryValue)&limit=\(min(max, 500))"
            var rows: [[String]] = []
            while let page = path, rows.count < max {
                let answer = try await server.client.send("GET", page)
                if server.json { return Console.say(String(decoding: answer.body, as: UTF8.self)) }
                let object = try JSONSerialization.jsonObject(with: answer.body) as? [String: Any]
                for entry in object?["entries"] as? [[String: Any]] ?? [] {
                    let value = try JSONSerialization.data(
                        withJSONObject: entry["value"] ?? NSNull(),
                        options: [.fragmentsAllowed, .sortedKeys, .withoutEscapingSlashes])
                    rows.append([entry["key"] as? String ?? "", String(decoding: value, as: UTF8.self)])
                }
                path = answer.next
            }
            Console.say(rows.isEmpty ? "nothing is kept" : Console.table(["KEY", "VALUE"], Array(rows.prefix(max))))
        }
    }

    struct Get: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print the value of one key, as JSON.")

        @Argument(help: "The subscriber.", completion: .subscribers) var subscriber: String
        @Argument(help: "The key.") var key: String
        @OptionGroup var server: ServerOptions

        func run() async throws {
            let answer = try await server.client.send("GET", State.path(subscriber, key))
            Console.say(String(decoding: answer.body, as: UTF8.self))
        }
    }

    struct Put: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Set the value of one key.")

        @Argument(help: "The subscriber.", completion: .subscribers) var subscriber: String
        @Argument(help: "The key.") var key: String
        @Argument(help: "The value, as JSON: 5, '\"text\"', '{\"a\":1}'.") var value: String
        @OptionGroup var server: ServerOptions

        func run() async throws {
            _ = try await server.client.send(
                "PUT", State.path(subscriber, key), body: .bytes(ByteBuffer(string: value)))
            Console.say("\(key) set")
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove one key.")

        @Argument(help: "The subscriber.", completion: .subscribers) var subscriber: String
        @Argument(help: "The key.") var key: String
        @OptionGroup var server: ServerOptions

        func run() async throws {
            _ = try await server.client.send("DELETE", State.path(subscriber, key))
            Console.say("\(key) removed")
        }
    }
}
