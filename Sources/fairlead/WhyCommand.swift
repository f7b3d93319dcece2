// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

struct Why: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say what became of an event: who got it and how, who didn't and which part of the filter decided.",
        discussion: """
            Filters are told by the configuration that routed the event. Attempts are kept as long as `keep` in routes.conf \
            says; what a handler published in turn is named, to be asked about next.
            """)

    @Argument(help: "The event's id.") var event: String
    @Argument(help: "Only this subscriber.", completion: .subscribers) var subscriber: String?
    @Option(help: "The event's source, where several have the id.") var source: String?
    @Option(help: "The topic, where the search would take long.") var topic: String?
    @OptionGroup var server: ServerOptions

    struct Trace: Decodable {
        var topic: String
        var offset: UInt64
        var received: String
        var key: String?
        var event: Name
        var generation: Int?
        var recomputed: Bool?
        var subscribers: [Subscriber]

        struct Name: Decodable {
            var id: String
            var source: String
            var type: String
        }

        struct Subscriber: Decodable {
            var name: String
            var matched: Bool
            var later: Bool?
            var reason: String?
            var filter: Filter?
            var state: String?
            var due: String?
            var deadLetter: Int64?
            var attempts: [AttemptLine]?
        }

        struct Filter: Decodable {
            var text: String
            var verdict: String
            var terms: [Term]
        }

        struct Term: Decodable {
            var text: String
            var verdict: String
            var values: [String]
        }
    }

    func run() async throws {
        var query: [String] = []
        if let source { query.append("source=\(source.queryValue)") }
        if let topic { query.append("topic=\(topic.queryValue)") }
        let answer = try await server.client.send(
            "GET", "/v1/events/\(event.pathSegment)/why" + (query.isEmpty ? "" : "?" + query.joined(separator: "&")))
        if server.json {
            Console.say(String(decoding: answer.body, as: UTF8.self))
            return
        }
        let trace = try answer.decoded(Trace.self)
        let shown = trace.subscribers.filter { subscriber == nil || $0.name == subscriber }
        guard subscriber == nil || !shown.isEmpty else {
            Console.complain(
                "no subscriber \"\(subscriber ?? "")\"; there are \(trace.subscribers.map(\.name).joined(separator: ", "))"
            )
            throw ExitCode.refused
        }
        Console.say(
            Console.styled(trace.event.id, .bold)
                + " (\(trace.event.type)) from \(trace.event.source): \(trace.topic) offset \(trace.offset), "
                + "received \(trace.received.shortTime)" + (trace.generation.map { ", generation \($0)" } ?? ""))
        if trace.recomputed == true {
            Console.say("the configuration that routed it isn't kept; filters are told by the running one")
        }
        for subscriber in shown { Self.say(subscriber) }
    }

    private static func say(_ subscriber: Trace.Subscriber) {
        Console.say("")
        guard subscriber.matched || subscriber.attempts?.isEmpty == false else {
            Console.say(
                "\(Console.styled(subscriber.name, .bold)): not delivered"
                    + (subscriber.later == true ? ", added later" : ""))
            if let reason = subscriber.reason { Console.say("  \(reason)") }
            if let filter = subscriber.filter { say(filter) }
            return
        }
        var state = subscriber.state ?? "unknown"
        if state == "settled", let last = subscriber.attempts?.last {
            state = last.outcome == "drop" ? "dropped" : "acknowledged"
        }
        let style: Console.Style = state == "dead" ? .red : state == "acknowledged" ? .green : .yellow
        Console.say(
            "\(Console.styled(subscriber.name, .bold)): \(Console.styled(state, style))"
                + (subscriber.due.map { ", next attempt \($0.shortTime)" } ?? "")
                + (subscriber.deadLetter.map { ", dead letter \($0)" } ?? ""))
        if let filter = subscriber.filter { say(filter) }
        for attempt in subscriber.attempts ?? [] { Console.say("  " + attempt.text) }
        if subscriber.attempts?.isEmpty ?? true, state == "settled" { Console.say("  its attempts are no longer kept") }
    }

    private static func say(_ filter: Trace.Filter) {
        Console.say("  where \(filter.text): \(filter.verdict)")
        for term in filter.terms where filter.verdict != "true" {
            Console.say(
                "    \(term.verdict)  \(term.text)"
                    + (term.values.isEmpty ? "" : "  (\(term.values.joined(separator: ", ")))"))
        }
    }
}
