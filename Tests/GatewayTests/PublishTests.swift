// SPDX-License-Identifier: Apache-2.0

import Events
import Gateway
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import Testing

@testable import Broker

struct PublishTests {
    @Test func aPlainEventIsAccepted() async throws {
        let broker = FakeBroker()
        try await gateway(broker).application.test(.router) { client in
            let response = try await client.execute(
                uri: "/v1/topics/orders/events?type=order.placed&subject=a%20b+c", method: .post,
                headers: [.contentType: "application/json"], body: ByteBuffer(string: "{\"total\": 250}"))
            #expect(response.status == .accepted)
            #expect(response.headers[.contentType] == "application/json")
            #expect(String(buffer: response.body) == #"{"accepted":1,"first":7,"last":7,"duplicates":0}"#)
        }
        let event = broker.with { $0.published[0][0].event }
        #expect(event.type == "order.placed")
        #expect(event["subject"] == "a b c")
        #expect(event.data == .json(Array("{\"total\": 250}".utf8)))
    }

    @Test func aBinaryEventIsReadFromItsHeaders() async throws {
        let broker = FakeBroker()
        try await gateway(broker).application.test(.router) { client in
            let response = try await client.execute(
                uri: "/v1/topics/orders/events", method: .post,
                headers: [
                    .contentType: "text/plain", HTTPField.Name("CE-Id")!: "1", HTTPField.Name("ce-source")!: "/s",
                    HTTPField.Name("ce-type")!: "gr%C3%BC%C3%9Fe", HTTPField.Name("ce-specversion")!: "1.0",
                ], body: ByteBuffer(string: "hello"))
            #expect(response.status == .accepted)
        }
        #expect(
            broker.with { $0.published[0][0].event }
                == Event(
                    id: "1", source: "/s", type: "grüße",
                    attributes: [.init("datacontenttype", .string("text/plain"))], data: .text(Array("hello".utf8))))
    }

    @Test func duplicatesAreCounted() async throws {
        let broker = FakeBroker()
        broker.with { $0.publication = Published(accepted: 0, first: nil, last: nil, duplicates: 2) }
        try await gateway(broker).application.test(.router) { client in
            let response = try await client.execute(
                uri: "/v1/topics/orders/events", method: .post, headers: [.contentType: "application/x-ndjson"],
                body: ByteBuffer(string: "1\n2\n"))
            #expect(String(buffer: response.body) == #"{"accepted":0,"duplicates":2}"#)
        }
        #expect(broker.with { $0.published[0].count } == 2)
    }

    @Test func anEmptyBatchIsAcceptedAsNothing() async throws {
        let broker = FakeBroker()
        try await gateway(broker).application.test(.router) { client in
            let response = try await client.execute(
                uri: "/v1/topics/orders/events", method: .post,
                headers: [.contentType: "application/cloudevents-batch+json"], body: ByteBuffer(string: "[]"))
            #expect(response.status == .accepted)
            #expect(String(buffer: response.body) == #"{"accepted":0,"duplicates":0}"#)
        }
        #expect(broker.with { $0.published.isEmpty })
    }

    struct Refused: Sendable {
        var path = "/v1/topics/orders/events"
        var contentType: String? = "application/json"
        var body = "{}"
        var status: HTTPResponse.Status
        var type: String
        var detail: String
    }

    @Test(arguments: [
        Refused(
            path: "/v1/topics/ordres/events", status: .notFound, type: "unknown-topic",
            detail: #"no topic \"ordres\"; declare it in routes.conf: topic ordres { }"#),
        Refused(
            contentType: nil, status: .unsupportedMediaType, type: "unsupported-media-type",
            detail: "the request has neither a Content-Type nor ce- headers; send one of application/json, "
                + "application/x-ndjson, application/cloudevents+json, application/cloudevents-batch+json"),
        Refused(
            contentType: "application/x-www-form-urlencoded", status: .unsupportedMediaType,
            type: "unsupported-media-type",
            detail:
                #"Content-Type \"application/x-www-form-urlencoded\" needs ce- headers that say what the event is; "#
                + "without them send one of application/json, application/x-ndjson, application/cloudevents+json, "
                + "application/cloudevents-batch+json"),
        Refused(
            body: "{\"a\":}", status: .badRequest, type: "malformed",
            detail: "not valid JSON at byte 5: a value is expected here"),
        Refused(
            body: "", status: .badRequest, type: "malformed",
            detail: "not valid JSON at byte 0: the text ends too early"),
        Refused(
            path: "/v1/topics/orders/events?type=%FF", status: .badRequest, type: "malformed",
            detail: #"query parameter \"type\" isn't percent-encoded UTF-8"#),
        Refused(
            path: "/v1/topics/orders/events?subject=", status: .badRequest, type: "malformed",
            detail: #"attribute \"subject\" is empty; give it a value or leave it out"#),
        Refused(
            path: "/v1/topics/%FF/events", status: .badRequest, type: "malformed",
            detail: "the path isn't percent-encoded UTF-8"),
    ])
    func whatIsWrongIsRefusedAndSaidSo(_ refused: Refused) async throws {
        let broker = FakeBroker()
        try await gateway(broker).application.test(.router) { client in
            var headers = HTTPFields()
            headers[.contentType] = refused.contentType
            let response = try await client.execute(
                uri: refused.path, method: .post, headers: headers, body: ByteBuffer(string: refused.body))
            #expect(response.status == refused.status)
            #expect(response.headers[.contentType] == "application/problem+json")
            let body = String(buffer: response.body)
            #expect(body.hasPrefix(#"{"type":"urn:fairlead:problem:\#(refused.type)","title":""#), "\(body)")
            #expect(body.hasSuffix(#","status":\#(refused.status.code),"detail":"\#(refused.detail)"}"#), "\(body)")
            if refused.status == .unsupportedMediaType {
                #expect(response.headers[.accept]?.contains("application/x-ndjson") == true)
            }
        }
        #expect(broker.with { $0.published.isEmpty })
    }

    @Test func ofABatchWithOneBadEventNothingIsAccepted() async throws {
        let broker = FakeBroker()
        let good = #"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#
        try await gateway(broker).application.test(.router) { client in
            let response = try await client.execute(
                uri: "/v1/topics/orders/events", method: .post,
                headers: [.contentType: "application/cloudevents-batch+json"],
                body: ByteBuffer(string: "[\(good),{\"specversion\":\"1.0\",\"id\":\"2\"}]"))
            #expect(response.status == .badRequest)
            let detail = #"required attribute \"source\" is missing"#
            #expect(
                String(buffer: response.body)
                    == #"{"type":"urn:fairlead:problem:malformed","title":"Malformed request","status":400,"#
                    + #""detail":"\#(detail)","errors":[{"index":1,"detail":"\#(detail)"}]}"#)
        }
        #expect(broker.with { $0.published.isEmpty })
    }

    @Test(arguments: [
        (Failure(.overloaded, "the journal is full; publish again in a second"), "overloaded"),
        (Failure(.storage, "the disk failed"), "storage"),
    ])
    func whenThereIsNoRoomPublishersAreToldToWait(_ failure: Failure, _ type: String) async throws {
        let broker = FakeBroker()
        broker.with { $0.publishFailure = failure }
        try await gateway(broker).application.test(.router) { client in
            let response = try await client.execute(
                uri: "/v1/topics/orders/events", method: .post, headers: [.contentType: "application/json"],
                body: ByteBuffer(string: "{}"))
            #expect(response.status == .serviceUnavailable)
            #expect(response.headers[.retryAfter] == "1")
            #expect(String(buffer: response.body).contains("problem:\(type)\""))
        }
    }

    @Test(arguments: [TestingSetup.router, .live])
    func aBodyBeyondTheLimitIsRefused(_ setup: TestingSetup) async throws {
        let broker = FakeBroker()
        try await gateway(broker).application.test(setup) { client in
            let response = try await client.execute(
                uri: "/v1/topics/orders/events", method: .post, headers: [.contentType: "application/json"],
                body: ByteBuffer(repeating: 0x20, count: Limits.requestBytesMax + 1))
            #expect(response.status == .contentTooLarge)
            #expect(String(buffer: response.body).contains("problem:too-large\""))
            #expect(String(buffer: response.body).contains("the limit is 16777216"))
        }
        #expect(broker.with { $0.published.isEmpty })
    }

    @Test func aLargeBodyThatComesInPiecesIsReadWhole() async throws {
        let broker = FakeBroker()
        let text = "\"" + String(repeating: "é", count: 300_000) + "\""
        try await gateway(broker).application.test(.live) { client in
            let response = try await client.execute(
                uri: "/v1/topics/orders/events", method: .post, headers: [.contentType: "application/json"],
                body: ByteBuffer(string: text))
            #expect(response.status == .accepted)
        }
        #expect(broker.with { $0.published[0][0].event.data } == .json(Array(text.utf8)))
    }
}
