// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

struct Dead: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look at dead letters, mend them, send them again, or discard them.",
        discussion: """
            A dead letter is a delivery that was given up on. It keeps its event, every attempt with its error, and the place \
            in the script. Mend its cause (the plugin, routes.conf, the other side) or the event itself, then send it again.
            """,
        subcommands: [List.self, Groups.self, Show.self, Edit.self, Redrive.self, Discard.self],
        defaultSubcommand: List.self)

    struct Letter: Decodable {
        var id: Int64
        var state: String
        var subscriber: String
        var topic: String
        var `import`: Int64?
        var offset: UInt64
        var attempts: Int
        var time: String
        var reason: String
        var place: String?

        /// With the import that its event came with.
        var origin: String { `import`.map { "\(topic) (import \($0))" } ?? topic }
    }

    /// Which dead letters a listing is about.
    struct Filter: ParsableArguments {
        @Option(help: "Only of this subscriber.", completion: .subscribers) var subscriber: String?
        @Option(help: "Only of this topic.", completion: .topics) var topic: String?
        @Option(help: "Only of this group, as `dead groups` names it.") var group: String?

        var query: [String] {
            [("subscriber", subscriber), ("topic", topic), ("group", group)].compactMap { name, value in
                value.map { "\(name)=\($0.queryValue)" }
            }
        }

        var body: [String: Any] {
            var body: [String: Any] = [:]
            body["subscriber"] = subscriber
            body["topic"] = topic
            body["group"] = group
            return body
        }

        var isEmpty: Bool { query.isEmpty }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List dead letters, the newest first.")

        @OptionGroup var filter: Filter
        @Option(help: "open, underway (sent again, not settled yet), resolved, or any.") var state = "open"
        @Option(help: "Only those whose reason has this in it.") var reason: String?
        @Option(help: "How many at most.") var max = 100
        @OptionGroup var server: ServerOptions

        private struct Page: Decodable {
            var dead: [Letter]
        }

        func run() async throws {
            var query = filter.query + ["state=\(state.queryValue)", "limit=\(Swift.min(max, 500))"]
            if let reason { query.append("q=\(reason.queryValue)") }
            var path: String? = "/v1/dead?" + query.joined(separator: "&")
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
                    ["ID", "SUBSCRIBER", "TOPIC", "OFFSET", "ATTEMPTS", "SINCE", "PLACE", "REASON"],
                    letters.prefix(max).map {
                        [
                            "\($0.id)", $0.subscriber, $0.origin, "\($0.offset)", "\($0.attempts)", $0.time.shortTime,
                            $0.place ?? "-", String($0.reason.prefix(100)),
                        ]
                    }))
        }
    }

    struct Groups: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List dead letters by what they have in common: subscriber, place in the script, error.")

        @OptionGroup var filter: Filter
        @OptionGroup var server: ServerOptions

        private struct Answer: Decodable {
            var groups: [Group]

            struct Group: Decodable {
                var group: String
                var subscriber: String
                var count: Int
                var reason: String
                var place: String?
                var first: String
                var last: String
                var sample: Int64
            }
        }

        func run() async throws {
            let path = "/v1/dead/groups?" + filter.query.joined(separator: "&")
            let answer = try await server.client.send("GET", path)
            if server.json {
                Console.say(String(decoding: answer.body, as: UTF8.self))
                return
            }
            let groups = try answer.decoded(Answer.self).groups
            if groups.isEmpty {
                Console.say("no dead letters")
                return
            }
            Console.say(
                Console.table(
                    ["GROUP", "SUBSCRIBER", "COUNT", "FIRST", "LAST", "SAMPLE", "PLACE", "REASON"],
                    groups.map {
                        [
                            $0.group, $0.subscriber, "\($0.count)", $0.first.shortTime, $0.last.shortTime,
                            "\($0.sample)", $0.place ?? "-", String($0.reason.prefix(100)),
                        ]
                    }))
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one dead letter whole: its event, and every attempt with its error.")

        @Argument(help: "The dead letter's id.") var id: Int64
        @OptionGroup var server: ServerOptions

        private struct Whole: Decodable {
            var history: [AttemptLine]
            var resolution: String?
            var note: String?
            var trace: String?
            var mended: String?
        }

        func run() async throws {
            let answer = try await server.client.send("GET", "/v1/dead/\(id)")
            if server.json {
                Console.say(String(decoding: answer.body, as: UTF8.self))
                return
            }
            let letter = try answer.decoded(Letter.self)
            let whole = try answer.decoded(Whole.self)
            Console.say(
                Console.styled("dead letter \(letter.id)", .bold)
                    + " of \(letter.subscriber): \(letter.origin) offset \(letter.offset), \(letter.state)"
                    + (whole.resolution.map { $0 == letter.state ? "" : ", \($0)" } ?? "")
                    + (whole.note.map { ": \($0)" } ?? ""))
            Console.say(Console.styled(letter.reason, .red))
            if let trace = whole.trace { Console.say(trace) }
            Console.say("\nattempts")
            if whole.history.isEmpty { Console.say("  none is kept any more") }
            for attempt in whole.history { Console.say("  " + attempt.text) }
            let object = try JSONSerialization.jsonObject(with: answer.body) as? [String: Any] ?? [:]
            if let original = object["original"] {
                Console.say("\nevent, as it was published")
                Console.say(try Console.pretty(original))
                Console.say("\nevent, as it was mended at \((whole.mended ?? "").shortTime)")
            } else {
                Console.say("\nevent")
            }
            Console.say(try Console.pretty(object["event"] ?? [:]))
        }
    }
}

/// One attempt as the server tells it.
struct AttemptLine: Decodable {
    var attempt: Int
    var outcome: String
    var began: String
    var milliseconds: Int
    var reason: String?
    var trace: String?
    var generation: Int
    /// The plugin's, in that generation.
    var version: String?
    var replay: Bool?
    var published: [Name]?

    struct Name: Decodable {
        var topic: String
        var id: String
    }

    var text: String {
        var text =
            "\(attempt). \(began.shortTime)  \(outcome) after \(milliseconds) ms, generation \(generation)"
            + (version.map { ", version \($0)" } ?? "") + (replay == true ? ", replay" : "")
        if let reason { text += ": \(reason)" }
        for line in (trace ?? "").split(separator: "\n") { text += "\n       \(line)" }
        for name in published ?? [] { text += "\n     published \(name.id) to \(name.topic)" }
        return text
    }
}

extension String {
    /// An RFC 3339 time without fractions of a second.
    var shortTime: String {
        replacing(#/\.[0-9]+Z$/#, with: "Z")
    }
}
