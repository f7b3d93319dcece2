// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import HTTPTypes
import Hummingbird

/// The first of the five verbs: a request's events are decoded, checked and handed to the broker. The answer is 202
/// once they are on disk; until then nothing is accepted, and of a batch with one bad event nothing ever is.
struct Publish: Sendable {
    static let path = "/v1/topics/{topic}/events"

    let broker: any BrokerSurface
    let metrics: GatewayMetrics

    func publish(_ exchange: Exchange) async throws -> Response {
        let name = exchange.parameters[0]
        guard let target = broker.publishing(to: name) else { throw Problem.unknownTopic(name) }
        do {
            var request = Self.request(exchange.headers)
            try Self.read(exchange, into: &request)
            let body = try await exchange.body(upTo: Limits.requestBytesMax)
            let batch = try Self.decode(body, request, for: target)
            return Self.answer(batch.count == 0 ? nil : try await broker.publish(batch)).response
        } catch let failure as Failure {
            throw refused(failure, name, Self.request(exchange.headers))
        }
    }

    /// The same for a request that is whole, without a task: `then` has the answer, from any thread.
    func publish(
        to name: String, _ request: EventRequest, _ body: borrowing PaddedBytes,
        then: @escaping @Sendable (Answer) -> Void
    ) {
        guard let target = broker.publishing(to: name) else { return then(Problem.unknownTopic(name).answer) }
        do {
            let batch = try Self.decode(body, request, for: target)
            guard batch.count > 0 else { return then(Self.answer(nil)) }
            broker.publish(batch) { result in
                switch result {
                case .success(let published): then(Self.answer(published))
                case .failure(let failure): then(Problem(refused(failure, name, request)).answer)
                }
            }
        } catch {
            then(Problem(refused(error, name, request)).answer)
        }
    }

    /// Counts a refusal, and gives it without a place where the request is one event.
    private func refused(_ failure: Failure, _ topic: String, _ request: EventRequest) -> Failure {
        metrics.rejected(batchFor: topic, failure.code)
        guard failure.index != nil, (try? EventPacking(of: request))?.holdsSeveral == false else {
            return failure
        }
        return Failure(failure.code, failure.message)
    }

    private static func decode(
        _ body: borrowing PaddedBytes, _ request: EventRequest, for target: PublishTarget
    ) throws(Failure) -> RecordBatch {
        let decoder = EventDecoder(topic: target.topic, key: target.key, eventBytesMax: target.eventBytesMax)
        return try body.withBytes { (bytes) throws(Failure) in try decoder.decode(bytes, request) }
    }

    private static func answer(_ published: Published?) -> Answer {
        .json(.accepted) { json in
            json.field("accepted", published?.accepted ?? 0)
            json.field("first", ifPresent: published?.first)
            json.field("last", ifPresent: published?.last)
            json.field("duplicates", published?.duplicates ?? 0)
        }
    }

    /// What the headers say about the events.
    private static func request(_ headers: HTTPFields) -> EventRequest {
        var request = EventRequest(contentType: headers[.contentType])
        for field in headers where field.name.canonicalName.hasPrefix("ce-") {
            request.attributes.append((String(field.name.canonicalName.dropFirst(3)), field.value))
        }
        return request
    }

    /// What the query says about them.
    private static func read(_ exchange: Exchange, into request: inout EventRequest) throws {
        guard exchange.request.uri.query != nil else { return }
        request.type = try exchange.query("type")
        request.source = try exchange.query("source")
        request.subject = try exchange.query("subject")
        for name in ScheduleAttribute.allCases {
            if let value = try exchange.query(name.rawValue) { request.schedule.append((name, value)) }
        }
    }
}
