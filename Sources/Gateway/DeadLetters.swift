// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import HTTPTypes
import Hummingbird

/// Deliveries that were given up on: listed newest first, read, sent again, discarded.
struct DeadLetters: Sendable {
    let broker: any BrokerSurface

    func list(_ exchange: Exchange) async throws -> Response {
        let subscriber = try exchange.query("subscriber")
        let before: Int64? = try exchange.unsigned("before")
        let limit = try exchange.integer("limit", default: Limits.pageDefault, max: Limits.pageMax)
        let letters = try await broker.deadLetters(subscriber: subscriber, before: before, limit: limit)
        var headers = HTTPFields()
        if letters.count == limit, let last = letters.last {
            let filter = subscriber.map { "subscriber=\(PercentText.encode($0))&" } ?? ""
            headers[.link] = "</v1/dead?\(filter)before=\(last.id)&limit=\(limit)>; rel=\"next\""
        }
        let body = JSONWriter.object { json in
            json.array("dead") { json in
                for letter in letters { json.object { Self.write(letter, to: &$0) } }
            }
        }
        return .json(.ok, body, headers: headers)
    }

    func show(_ exchange: Exchange) async throws -> Response {
        let id = try Self.id(exchange)
        guard let letter = try await broker.deadLetter(id) else { throw Self.unknown(id) }
        return .json { Self.write(letter, to: &$0) }
    }

    func discard(_ exchange: Exchange) async throws -> Response {
        let id = try Self.id(exchange)
        guard try await broker.discard(id) else { throw Self.unknown(id) }
        return Response(status: .noContent)
    }

    /// One of `ids`, `subscriber` and `"all": true` says which; a request that says none of them redrives nothing.
    func redrive(_ exchange: Exchange) async throws -> Response {
        let request = try await exchange.object()
        try request.allow(["ids", "subscriber", "all"])
        let subscriber = try request.string("subscriber")
        let all = request["all"] == .boolean(true)
        let ids = request["ids"] == nil ? nil : try request.array("ids").map(Self.id)
        guard [subscriber != nil, all, ids != nil].count(where: { $0 }) == 1 else {
            throw Problem.malformed("say which: {\"ids\":[…]}, {\"subscriber\":\"…\"} or {\"all\":true}")
        }
        let count = ids == [] ? 0 : try await broker.redrive(ids: ids, subscriber: subscriber)
        return .json { $0.field("redriven", count) }
    }

    private static func write(_ letter: DeadLetter, to json: inout JSONWriter) {
        json.field("id", letter.id)
        json.field("subscriber", letter.subscriber)
        json.field("topic", letter.topic)
        json.field("offset", letter.offset)
        json.field("key", ifPresent: letter.key)
        json.field("reason", letter.reason)
        json.field("trace", ifPresent: letter.trace)
        json.field("attempts", letter.attempts)
        json.field("time", letter.time)
        json.field("event", letter.event)
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

    private static func unknown(_ id: Int64) -> Failure {
        Failure(.notFound, "no dead letter \(id); it was redriven or discarded, or never was")
    }
}
