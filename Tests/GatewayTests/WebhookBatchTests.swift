// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Hummingbird
import Routes
import Testing

@testable import Gateway

/// Structured mode and batches, over loopback.
@Suite(.timeLimit(.minutes(1)))
struct WebhookBatchTests {
    static func delivery(_ at: Int, bytes: Int = 1, attempt: Int = 1) -> Delivery {
        Delivery(
            record: record(
                Event(
                    id: "\(at)", source: "/s", type: "t",
                    data: .json(Array("\"\(String(repeating: "x", count: bytes))\"".utf8))),
                offset: Offset(at)), attempt: attempt)
    }

    @Sendable static func batched(_ url: String) -> PushRoute {
        var route = PushRoute(url: url)
        route.batch = BatchPolicy(count: 100, every: .seconds(1))
        return route
    }

    /// The ids in a batch's body, or in a structured event's.
    static func ids(_ request: Asked) throws -> [String] {
        let json = try JSONSerialization.jsonObject(with: Data(request.body))
        let events = json as? [[String: Any]] ?? [json as? [String: Any] ?? [:]]
        return events.compactMap { $0["id"] as? String }
    }

    /// What was asked, and what became of it.
    func pushed(
        _ deliveries: [Delivery], _ route: @escaping @Sendable (String) -> PushRoute,
        _ answer: @escaping @Sendable (Asked) throws -> HTTPResponse.Status = { _ in .noContent }
    ) async throws -> (asked: [Asked], settled: Settlements) {
        let asked = Collected<Asked>()
        let sender = HTTPClientSender()
        let settled = try await withEndpoint { request in
            asked.add(request)
            return Response(status: try answer(request))
        } _: { url in
            try await WebhookTests.settlements(of: deliveries, route(url), sender)
        }
        try await sender.shutdown()
        return (asked.all, settled)
    }

    @Test func structuredModeSendsTheWholeEventAsJSONAndSignsIt() async throws {
        let (asked, settled) = try await pushed([Self.delivery(7)]) { url in
            var route = PushRoute(url: url)
            route.mode = .structured
            route.signing = [
                Secret(name: "A", value: WebhookSignatureTests.secret),
                Secret(name: "B", value: WebhookSignatureTests.pair),
            ]
            return route
        }
        let request = try #require(asked.first)
        #expect(request.headers["content-type"] == "application/cloudevents+json; charset=utf-8")
        #expect(request.headers["ce-id"] == nil)
        #expect(
            String(decoding: request.body, as: UTF8.self)
                == #"{"specversion":"1.0","id":"7","source":"/s","type":"t","data":"x"}"#)
        let id = try #require(request.headers["webhook-id"])
        let expected = try [WebhookSignatureTests.secret, WebhookSignatureTests.pair].map {
            try WebhookSignature(secret: $0)!.sign(id: id, timestamp: 1_773_065_100, body: request.body)
        }
        #expect(request.headers["webhook-signature"] == expected.joined(separator: " "))
        #expect(settled.acks.map(\.offset) == [7])
    }

    @Test func aBatchIsOneRequestAndOneOutcomeForAll() async throws {
        let (asked, settled) = try await pushed((0..<5).map { Self.delivery($0) }, Self.batched)
        #expect(asked.map { $0.headers["content-type"] } == ["application/cloudevents-batch+json; charset=utf-8"])
        #expect(try asked.map(Self.ids) == [["0", "1", "2", "3", "4"]])
        #expect(settled.acks.map(\.offset) == [0, 1, 2, 3, 4])

        let failed = try await pushed((0..<5).map { Self.delivery($0) }, Self.batched) { _ in .internalServerError }
        #expect(failed.asked.count == 1)
        #expect(failed.settled.others.map(\.delivery.offset) == [0, 1, 2, 3, 4])
        #expect(Set(failed.settled.others.map(\.outcome)).count == 1)
    }

    @Test func aBatchIsCutWhereItsBytesAreTooMany() async throws {
        let sizes = [600_000, 300_000, 200_000, 3_000_000, 10]
        let (asked, settled) = try await pushed(
            sizes.enumerated().map { Self.delivery($0, bytes: $1) }, Self.batched)
        #expect(try asked.map(Self.ids) == [["0", "1"], ["2"], ["3"], ["4"]])
        #expect(settled.acks.count == 5)
    }

    /// One bad event doesn't take its neighbours with it to the dead letters.
    @Test func whatABatchIsRefusedForIsFoundBySendingEachAlone() async throws {
        let refusing: @Sendable (Asked) throws -> HTTPResponse.Status = { request in
            try Self.ids(request).contains("1") ? .unprocessableContent : .noContent
        }
        let first = try await pushed((0..<3).map { Self.delivery($0) }, Self.batched, refusing)
        #expect(
            first.settled.others.map(\.outcome)
                == Array(
                    repeating: .retry(
                        after: .zero, reason: "the endpoint answered 422, to 3 events at once; each goes alone now"),
                    count: 3))
        let second = try await pushed((0..<3).map { Self.delivery($0, attempt: 2) }, Self.batched, refusing)
        #expect(try second.asked.map(Self.ids) == [["0"], ["1"], ["2"]])
        #expect(second.settled.acks.map(\.offset) == [0, 2])
        #expect(
            second.settled.others.map(\.outcome)
                == [.dead(reason: "the endpoint answered 422; it will never take this event")])
    }
}
