// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import HTTPTypes
import Hummingbird

/// What plugins keep, to be looked at and mended by hand.
struct PluginStates: Sendable {
    let broker: any BrokerSurface

    func list(_ exchange: Exchange) async throws -> Response {
        let limit = try exchange.integer("limit", default: Limits.pageDefault, max: Limits.pageMax)
        let prefix = try exchange.query("prefix") ?? ""
        let entries = try await broker.stateEntries(
            of: exchange.parameters[0], prefix: prefix, after: try exchange.query("after"), limit: limit)
        var headers = HTTPFields()
        if entries.count == limit, let last = entries.last {
            headers[.link] =
                "</v1/subscribers/\(PercentText.encode(exchange.parameters[0]))/state?prefix=\(PercentText.encode(prefix))"
                + "&after=\(PercentText.encode(last.key))&limit=\(limit)>; rel=\"next\""
        }
        let body = JSONWriter.object { json in
            json.array("entries") { json in
                for entry in entries {
                    json.object { json in
                        json.field("key", entry.key)
                        json.field("value", json: entry.value)
                    }
                }
            }
        }
        return .json(.ok, body, headers: headers)
    }

    func get(_ exchange: Exchange) async throws -> Response {
        let (subscriber, key) = (exchange.parameters[0], exchange.parameters[1])
        guard let value = try await broker.stateValue(of: subscriber, key: key) else {
            throw Failure(.notFound, "subscriber \"\(subscriber)\" has nothing under the key \"\(key)\"")
        }
        return .json(.ok, value)
    }

    func put(_ exchange: Exchange) async throws -> Response {
        let body = try await exchange.body(upTo: Limits.controlBytesMax)
        let value = try body.withBytes { (bytes) throws(Failure) in
            _ = try JSONValue(bytes)
            return Array(bytes)
        }
        try await broker.writeState(
            of: exchange.parameters[0], .put(key: exchange.parameters[1], value: value, expires: nil))
        return Response(status: .noContent)
    }

    func delete(_ exchange: Exchange) async throws -> Response {
        try await broker.writeState(of: exchange.parameters[0], .delete(key: exchange.parameters[1]))
        return Response(status: .noContent)
    }
}
