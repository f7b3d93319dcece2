// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Hummingbird
import ServiceLifecycle

/// Deliveries for clients that fetch them: leases out, settlements back.
struct Pull: Sendable {
    let broker: any BrokerSurface

    func pull(_ exchange: Exchange) async throws -> Response {
        let name = exchange.parameters[0]
        let request = try await exchange.object()
        try request.allow(["max", "wait"])
        let max = try request.integer("max", default: Limits.pullEventsDefault, max: Limits.pullEventsMax)
        let wait = try request.string("wait").map { try Exchange.wait($0, "member \"wait\"") } ?? .zero
        let leases = try await cancelWhenGracefulShutdown { [broker] in
            try await broker.pull(name, max: max, wait: wait)
        }
        var json = JSONWriter(capacity: leases.reduce(256) { $0 + $1.delivery.record.byteCount + 256 })
        // All of one answer have the same; a topic's name needs no escapes.
        let expires = Array("\"\(leases.first.map { RFC3339.format($0.expires) } ?? "")\"".utf8)
        var topic = leases.first?.delivery.record.topic
        var topicName = Array("\"\(topic?.shownName ?? "")\"".utf8)
        json.object { json in
            json.array("deliveries") { json in
                for lease in leases {
                    if lease.delivery.record.topic != topic {
                        topic = lease.delivery.record.topic
                        topicName = Array("\"\(lease.delivery.record.topic.shownName)\"".utf8)
                    }
                    json.object { json in
                        json.field("lease", lease.id)
                        json.field("expires", json: expires)
                        json.field("attempt", lease.delivery.attempt)
                        json.field("offset", lease.delivery.record.offset)
                        json.field("topic", json: topicName)
                        json.field("replay", lease.delivery.replay)
                        json.field("event", lease.delivery.record)
                    }
                }
            }
        }
        return .json(.ok, json.bytes)
    }

    func settle(_ exchange: Exchange) async throws -> Response {
        let name = exchange.parameters[0]
        let request = try await exchange.object()
        try request.allow(["ack", "retry", "dead", "extend"])
        let settlements = try Self.settlements(request)
        let results = try await broker.settle(name, settlements)
        return .json { json in
            json.array("results") { json in
                for (settlement, result) in zip(settlements, results) {
                    json.object { json in
                        json.field("lease", settlement.lease)
                        json.field("result", result.rawValue)
                        json.field("detail", ifPresent: result.detail)
                    }
                }
            }
        }
    }

    private static func settlements(_ request: [String: JSONValue]) throws -> [LeaseSettlement] {
        var settlements = try request.each("ack") { lease in
            LeaseSettlement(lease: try id(lease, "ack"), action: .ack)
        }
        settlements += try request.each("retry") { entry in
            let entry = try fields(entry, "retry", known: ["lease", "after", "reason"])
            let after = try entry.string("after").map { text in
                guard let after = DurationText.parse(text) else {
                    throw Problem.malformed(
                        "\"after\" of a retry is \"\(text)\"; write a number and a unit, such as 30s")
                }
                return after
            }
            let reason = try entry.string("reason") ?? "the client asked for a retry"
            return LeaseSettlement(
                lease: try id(entry["lease"], "retry"), action: .retry(after: after, reason: reason))
        }
        settlements += try request.each("dead") { entry in
            let entry = try fields(entry, "dead", known: ["lease", "reason"])
            let reason = try entry.string("reason") ?? "the client gave it up"
            return LeaseSettlement(lease: try id(entry["lease"], "dead"), action: .dead(reason: reason))
        }
        settlements += try request.each("extend") { lease in
            LeaseSettlement(lease: try id(lease, "extend"), action: .extend)
        }
        guard settlements.count <= Limits.pullEventsMax else {
            throw Failure(
                .tooLarge, "the request settles \(settlements.count) leases; the limit is \(Limits.pullEventsMax)")
        }
        return settlements
    }

    private static func id(_ value: JSONValue?, _ list: String) throws -> String {
        guard case .string(let id) = value, !id.isEmpty else {
            throw Problem.malformed("each entry of \"\(list)\" names a lease, as a pull gave it")
        }
        return id
    }

    /// A bare lease stands for an entry with nothing else.
    private static func fields(_ entry: JSONValue, _ list: String, known: Set<String>) throws -> [String: JSONValue] {
        switch entry {
        case .string: return ["lease": entry]
        case .object(let fields):
            try fields.allow(known)
            return fields
        default:
            throw Problem.malformed("each entry of \"\(list)\" is a lease, or an object with \"lease\"")
        }
    }
}

extension LeaseResult {
    /// What a client that didn't get its way is told; nil where it did.
    fileprivate var detail: String? {
        switch self {
        case .done: nil
        case .settled: "it was settled before"
        case .expired: "it ran out before it was settled; the event is delivered again. Extend leases that need longer"
        case .unknown: "no lease of this subscriber, or over long ago; send a lease as a pull gave it"
        }
    }
}
