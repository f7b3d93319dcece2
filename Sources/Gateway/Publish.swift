// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import HTTPTypes
import Hummingbird

/// The first of the five verbs: a request's events are decoded, checked and handed to the broker. The answer is 202
/// once they are on disk; until then nothing is accepted, and of a batch with one bad event nothing ever is.
struct Publish: Sendable {
    let broker: any BrokerSurface
    let metrics: GatewayMetrics

    func publish(_ exchange: Exchange) async throws -> Response {
        let name = exchange.parameters[0]
        guard let target = broker.publishing(to: name) else { throw Problem.unknownTopic(name) }
        do {
            let request = try Self.request(exchange)
            let body = try await exchange.body(upTo: Limits.requestBytesMax)
            let decoder = EventDecoder(topic: target.topic, key: target.key)
            let batch = try body.withBytes { (bytes) throws(Failure) in try decoder.decode(bytes, request) }
            let published = try await append(batch)
            return Self.answer(published)
        } catch let failure as Failure {
            metrics.rejected(batchFor: name, failure.code)
            throw failure
        }
    }

    private func append(_ batch: RecordBatch) async throws(Failure) -> Published? {
        batch.count == 0 ? nil : try await broker.publish(batch)
    }

    private static func answer(_ published: Published?) -> Response {
        .json(.accepted) { json in
            json.field("accepted", published?.accepted ?? 0)
            json.field("first", ifPresent: published?.first)
            json.field("last", ifPresent: published?.last)
            json.field("duplicates", published?.duplicates ?? 0)
        }
    }

    /// What the headers and the query say about the events.
    private static func request(_ exchange: Exchange) throws -> EventRequest {
        var request = EventRequest(contentType: exchange.headers[.contentType])
        for field in exchange.headers where field.name.canonicalName.hasPrefix("ce-") {
            request.attributes.append((String(field.name.canonicalName.dropFirst(3)), field.value))
        }
        if exchange.request.uri.query != nil {
            request.type = try exchange.query("type")
            request.source = try exchange.query("source")
            request.subject = try exchange.query("subject")
            for name in ScheduleAttribute.allCases {
                if let value = try exchange.query(name.rawValue) { request.schedule.append((name, value)) }
            }
        }
        return request
    }
}
