// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import HTTPTypes
import Hummingbird
import Routes

/// Deliveries that were given up on: listed newest first or by what they have in common, read, mended, sent again,
/// discarded.
struct DeadLetters: Sendable {
    let broker: any BrokerSurface

    func list(_ exchange: Exchange) async throws -> Response {
        let filter = try DeadLetterFilter(exchange)
        let before: Int64? = try exchange.unsigned("before")
        let limit = try exchange.integer("limit", default: Limits.pageDefault, max: Limits.pageMax)
        let letters = try await broker.deadLetters(filter, before: before, limit: limit)
        var headers = HTTPFields()
        if letters.count == limit, let last = letters.last {
            headers[.link] = "</v1/dead?\(filter.query)before=\(last.id)&limit=\(limit)>; rel=\"next\""
        }
        let body = JSONWriter.object { json in
            json.array("dead") { json in
                for letter in letters { json.object { Self.write(letter, to: &$0) } }
            }
        }
        return .json(.ok, body, headers: headers)
    }

    func groups(_ exchange: Exchange) async throws -> Response {
        let groups = try await broker.deadLetterGroups(DeadLetterFilter(exchange), limit: Limits.pageMax)
        return .json { json in
            json.array("groups") { json in
                for summary in groups {
                    json.object { json in
                        json.field("group", summary.group.id)
                        json.field("subscriber", summary.subscriber)
                        json.field("count", summary.count)
                        json.field("reason", summary.reason)
                        json.field("place", ifPresent: summary.group.place)
                        json.field("first", summary.first)
                        json.field("last", summary.last)
                        json.field("sample", summary.sample)
                    }
                }
            }
        }
    }

    func show(_ exchange: Exchange) async throws -> Response {
        let id = try Self.id(exchange)
        guard let letter = try await broker.deadLetter(id) else { throw Self.unknown(id) }
        return try await whole(letter)
    }

    /// A merge patch (RFC 7396) of the event as the structured mode writes it: `{"data":{"customer":{"email":"…"}}}`.
    func mend(_ exchange: Exchange) async throws -> Response {
        let id = try Self.id(exchange)
        let patch = try await exchange.object()
        guard let letter = try await broker.deadLetter(id) else { throw Self.unknown(id) }
        let event = try EventPatch.apply(patch, to: letter.event)
        return try await whole(broker.mend(id, with: event))
    }

    func discardOne(_ exchange: Exchange) async throws -> Response {
        let reason = try exchange.query("reason") ?? ""
        _ = try await broker.discard([Self.id(exchange)], reason: reason)
        return Response(status: .noContent)
    }

    func discard(_ exchange: Exchange) async throws -> Response {
        let request = try await exchange.object()
        try request.allow(Self.selectors.union(["reason"]))
        guard let reason = try request.string("reason"), !reason.isEmpty else {
            throw Problem.malformed("say why, for whoever asks later: {\"reason\":\"…\"}")
        }
        let count =
            switch try Self.selection(request) {
            case .ids(let ids): try await broker.discard(ids, reason: reason)
            case .filter(let filter): try await broker.discard(filter, reason: reason)
            }
        return .json { $0.field("discarded", count) }
    }

    /// Answers when the run has begun; `GET /v1/dead/redrives/{id}` tells how it goes.
    func redrive(_ exchange: Exchange) async throws -> Response {
        let request = try await exchange.object()
        try request.allow(Self.selectors.union(["canary", "keepGoing", "rate"]))
        var options = RedriveRun.Options(
            isCanary: try request.boolean("canary"), keepsGoing: try request.boolean("keepGoing"))
        if let text = try request.string("rate") {
            guard let rate = Rate(text: text) else {
                throw Problem.malformed("\"rate\" is \"\(text)\"; write a number per unit, such as 50/s or 600/m")
            }
            options.rate = rate
        }
        let progress =
            switch try Self.selection(request) {
            case .ids(let ids): try await broker.redrive(ids, options)
            case .filter(let filter): try await broker.redrive(filter, options)
            }
        return Self.response(.accepted, progress)
    }

    func redriveProgress(_ exchange: Exchange) async throws -> Response {
        Self.response(.ok, try await broker.redriveProgress(Self.run(exchange)))
    }

    func cancelRedrive(_ exchange: Exchange) async throws -> Response {
        Self.response(.ok, try await broker.cancelRedrive(Self.run(exchange)))
    }

    // MARK: Which

    private enum Selection {
        case ids([Int64])
        case filter(DeadLetterFilter)
    }

    private static let selectors: Set<String> = ["ids", "subscriber", "topic", "group", "all"]

    /// `ids`, or a filter, or `"all": true`; a request that says none of them is about nothing.
    private static func selection(_ request: [String: JSONValue]) throws -> Selection {
        let filter = DeadLetterFilter(
            subscriber: try request.string("subscriber"), topic: try request.string("topic"),
            group: try request.string("group"))
        let all = try request.boolean("all")
        let ids = request["ids", default: .null] == .null ? nil : try request.each("ids", Self.id)
        guard [filter != DeadLetterFilter(), all, ids != nil].count(where: { $0 }) == 1 else {
            throw Problem.malformed(
                "say which: {\"ids\":[…]}, {\"all\":true}, or one or more of \"subscriber\", \"topic\" and \"group\"")
        }
        return ids.map { .ids($0) } ?? .filter(filter)
    }

    // MARK: Answers

    private func whole(_ letter: DeadLetter) async throws -> Response {
        let attempts = try await broker.attempts(
            of: letter.subscriber, DeliveryID(topic: .named(letter.topic), offset: letter.offset))
        return .json { json in
            Self.write(letter, to: &json)
            json.array("history") { json in
                for attempt in attempts { json.object { attempt.write(to: &$0) } }
            }
        }
    }

    private static func write(_ letter: DeadLetter, to json: inout JSONWriter) {
        json.field("id", letter.id)
        json.field("state", letter.state.rawValue)
        json.field("subscriber", letter.subscriber)
        let topic = Topic.named(letter.topic)
        json.field("topic", topic.shownName)
        if let number = topic.importNumber { json.field("import", number) }
        json.field("offset", letter.offset)
        json.field("key", ifPresent: letter.key)
        json.field("reason", letter.reason)
        json.field("trace", ifPresent: letter.trace)
        json.field("group", letter.group.id)
        json.field("place", ifPresent: letter.group.place)
        json.field("attempts", letter.attempts)
        json.field("generation", letter.generation)
        json.field("time", letter.time)
        if let previous = letter.previous { json.field("previous", previous) }
        if let time = letter.redriven { json.field("redriven", time) }
        if let time = letter.resolved { json.field("resolved", time) }
        json.field("resolution", ifPresent: letter.end?.name)
        json.field("note", ifPresent: letter.end?.note)
        json.field("event", letter.event)
        if letter.mended != nil { json.field("original", letter.original) }
        if let time = letter.mendedTime { json.field("mended", time) }
    }

    private static func response(_ status: HTTPResponse.Status, _ progress: RedriveRun.Progress) -> Response {
        .json(status) { json in
            json.field("run", progress.id)
            switch progress.state {
            case .running: json.field("state", "running")
            case .finished: json.field("state", "finished")
            case .cancelled: json.field("state", "cancelled")
            case .stopped(let letter, let reason):
                json.field("state", "stopped")
                json.field("stoppedBy", letter)
                json.field("reason", reason)
            }
            json.field("total", progress.total)
            json.field("waiting", progress.waiting)
            json.field("underway", progress.underway)
            json.field("succeeded", progress.succeeded)
            json.field("failed", progress.failed)
            json.field("skipped", progress.skipped)
        }
    }

    private static func id(_ exchange: Exchange) throws -> Int64 {
        let text = exchange.parameters[0]
        guard let id = Int64(text), id >= 0 else {
            throw Problem.malformed("\"\(text)\" isn't the id of a dead letter; GET /v1/dead lists them")
        }
        return id
    }

    private static func id(_ value: JSONValue) throws -> Int64 {
        if case .number(let text) = value, let id = Int64(text) { return id }
        throw Problem.malformed("\"ids\" are whole numbers; GET /v1/dead lists them")
    }

    private static func run(_ exchange: Exchange) throws -> Int {
        let text = exchange.parameters[0]
        guard let id = Int(text) else { throw Problem.malformed("\"\(text)\" isn't the number of a redrive") }
        return id
    }

    private static func unknown(_ id: Int64) -> Failure {
        Failure(.notFound, "no dead letter \(id); GET /v1/dead lists those there are")
    }
}

extension DeadLetterFilter {
    fileprivate init(_ exchange: Exchange) throws {
        self.init(
            subscriber: try exchange.query("subscriber"), topic: try exchange.query("topic"),
            group: try exchange.query("group"), text: try exchange.query("q"))
        if let name = try exchange.query("state") {
            guard let state = State(rawValue: name) else {
                let names = State.allCases.map(\.rawValue).joined(separator: ", ")
                throw Problem.malformed("query parameter \"state\" is \"\(name)\"; it may be \(names)")
            }
            self.state = state
        }
        if let text = try exchange.query("since") {
            guard let time = RFC3339.parse(text.utf8) else {
                throw Problem.malformed(
                    "query parameter \"since\" is \"\(text)\"; write a time such as 2026-03-09T14:05:00Z")
            }
            since = time
        }
    }

    /// As a query, each part ending in `&`.
    fileprivate var query: String {
        var parts: [(String, String)] = []
        if let subscriber { parts.append(("subscriber", subscriber)) }
        if let topic { parts.append(("topic", topic)) }
        if let group { parts.append(("group", group)) }
        if state != .open { parts.append(("state", state.rawValue)) }
        if let since { parts.append(("since", RFC3339.format(since))) }
        if let text { parts.append(("q", text)) }
        return parts.map { "\($0)=\(PercentText.encode($1))&" }.joined()
    }
}

extension Attempt {
    func write(to json: inout JSONWriter) {
        json.field("attempt", number)
        json.field("outcome", outcome.rawValue)
        json.field("began", began)
        json.field("ended", ended)
        json.field("milliseconds", (ended - began).milliseconds)
        json.field("reason", ifPresent: reason)
        json.field("trace", ifPresent: trace)
        json.field("generation", generation)
        if replay { json.field("replay", true) }
        if !published.isEmpty {
            json.array("published") { json in
                for name in published {
                    json.object { json in
                        json.field("topic", name.topic)
                        json.field("id", name.id)
                    }
                }
            }
        }
    }
}
