// SPDX-License-Identifier: Apache-2.0

import Events
import Gateway
import Routes
import Testing

@testable import Broker

/// Publish requests that are answered on the event loop, beside those that the responder answers.
@Suite(.timeLimit(.minutes(1)))
struct PublishHandlerTests {
    /// What is sent of a request, but for how its body's length is told.
    struct Sent: CustomTestStringConvertible, Sendable {
        var testDescription: String
        var topic = "orders"
        var headers = ""
        var body = "{}"
        var failure: Failure?

        func request(isChunked: Bool) -> String {
            let head = "POST /v1/topics/\(topic)/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\(headers)"
            let length = String(body.utf8.count, radix: isChunked ? 16 : 10)
            return isChunked
                ? head + "Transfer-Encoding: chunked\r\n\r\n\(length)\r\n\(body)\r\n0\r\n\r\n"
                : head + "Content-Length: \(length)\r\n\r\n\(body)"
        }
    }

    private static let json = "Content-Type: application/json\r\n"
    private static let event = #"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}"#

    static let sent = [
        Sent(testDescription: "plain JSON", headers: json),
        Sent(
            testDescription: "binary mode",
            headers: json + "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\n"),
        Sent(
            testDescription: "structured mode", headers: "Content-Type: application/cloudevents+json\r\n", body: event),
        Sent(
            testDescription: "a batch", headers: "Content-Type: application/cloudevents-batch+json\r\n",
            body: "[\(event),\(event)]"),
        Sent(
            testDescription: "an empty batch", headers: "Content-Type: application/cloudevents-batch+json\r\n",
            body: "[]"),
        Sent(
            testDescription: "a batch with a bad event",
            headers: "Content-Type: application/cloudevents-batch+json\r\n", body: "[\(event),{}]"),
        Sent(testDescription: "lines", headers: "Content-Type: application/x-ndjson\r\n", body: "{}\n{}\n"),
        Sent(testDescription: "no JSON", headers: json, body: "{"),
        Sent(testDescription: "an unknown type", headers: "Content-Type: image/png\r\n"),
        Sent(testDescription: "no type"),
        Sent(testDescription: "an unknown topic", topic: "nothing", headers: json),
        Sent(testDescription: "a page of another site", headers: json + "Origin: http://evil.example\r\n"),
        Sent(
            testDescription: "an event that is too large", headers: json,
            body: #""\#(String(repeating: "a", count: 1_100_000))""#),
        Sent(testDescription: "a full broker", headers: json, failure: Failure(.overloaded, "wait")),
        Sent(testDescription: "a bad disk", headers: json, failure: Failure(.storage, "the disk fails")),
    ]

    @Test(arguments: sent)
    func theAnswerIsTheResponders(_ sent: Sent) async throws {
        func answer(isChunked: Bool) async throws -> (text: String, published: Int, metrics: [String]) {
            let broker = FakeBroker()
            broker.with { $0.publishFailure = sent.failure }
            let prometheus = PrometheusMetrics()
            let answer = try await ConnectionTests.talk(
                gateway(broker, prometheus: prometheus), [(sent.request(isChunked: isChunked), "\0")])
            let counters = prometheus.render().split(separator: "\n").filter { $0.contains("_total{") }.map(String.init)
            return (answer, broker.with { $0.published.reduce(0) { $0 + $1.count } }, counters)
        }
        func lines(_ answer: String) -> [String] {
            answer.split(separator: "\r\n").map { $0.lowercased().hasPrefix("date: ") ? "date" : String($0) }.sorted()
        }
        let (whole, chunked) = (try await answer(isChunked: false), try await answer(isChunked: true))
        #expect(lines(whole.text) == lines(chunked.text))
        #expect(whole.text.hasPrefix("HTTP/1.1 "))
        #expect(whole.published == chunked.published)
        #expect(whole.metrics == chunked.metrics)
    }

    @Test func aTokenMayDoNoMoreOnTheLoop() async throws {
        let access = AccessControl()
        var token = TokenRoute(name: "shop", secret: Secret(name: "SHOP", value: "shop"))
        token.publish = [TopicPattern("orders")]
        var other = TokenRoute(name: "stock", secret: Secret(name: "STOCK", value: "stock"))
        other.publish = [TopicPattern("stock")]
        access.use([token, other])
        for (header, status) in [
            ("", "401"), ("Authorization: Bearer nobody\r\n", "401"), ("Authorization: Bearer stock\r\n", "403"),
            ("Authorization: Bearer shop\r\n", "202"),
        ] {
            let broker = FakeBroker()
            let gateway = Gateway(
                broker: broker, settings: .init(port: 0), prometheus: PrometheusMetrics(), logger: silent,
                access: access, reload: { _, _ in .applied(generation: 1, changes: []) })
            let sent = Sent(testDescription: "", headers: Self.json + header)
            let answer = try await ConnectionTests.talk(gateway, [(sent.request(isChunked: false), "\0")])
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(header)\(answer)")
            #expect(broker.with { $0.published.count } == (status == "202" ? 1 : 0))
        }
    }

    @Test func aRequestMayComeInAnyTwoPieces() async throws {
        let request = ConnectionTests.head + "Content-Length: 10\r\n\r\n{\"a\":\"b\"} "
        let look = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        let broker = FakeBroker()
        var steps: [(send: String, until: String)] = []
        for count in 1..<request.count {
            // What is asked for in between shows that the first piece has been read.
            steps.append((look + String(request.prefix(count)), "ok\n"))
            steps.append((String(request.dropFirst(count)), "HTTP/1.1 202 "))
        }
        let answer = try await ConnectionTests.talk(broker, steps)
        let statuses = answer.matches(of: /HTTP\/1\.1 (\d+)/).map { String($0.1) }
        #expect(statuses == (1..<request.count).flatMap { _ in ["200", "202"] })
        #expect(broker.with { $0.published.count } == request.count - 1)
        // The client may have all of an answer before the server has put it away; the responder takes the next one then.
        #expect(broker.with { $0.publishedOnLoop } > request.count / 2)
    }

    /// A bug once: nobody told the responder that it had been handed all there was.
    @Test func whatFollowsAPublishInTheSamePacketIsAnswered() async throws {
        let publish = ConnectionTests.head + "Content-Length: 2\r\n\r\n{}"
        let look = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        let answer = try await ConnectionTests.talk(FakeBroker(), [(publish + look, "ok\n"), (look, "ok\n")])
        #expect(answer.matches(of: /HTTP\/1\.1 (\d+)/).map { String($0.1) } == ["202", "200", "200"])
    }

    @Test func aClientThatSendsOnAndOnIsServedToTheEnd() async throws {
        let broker = FakeBroker()
        let body = "\"" + String(repeating: "a", count: 998) + "\""
        let publish = ConnectionTests.head + "Content-Length: 1000\r\n\r\n" + body
        let last = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        let round = String(repeating: publish, count: 500) + last
        let answer = try await ConnectionTests.talk(broker, Array(repeating: (round, "ok\n"), count: 10))
        #expect(answer.ranges(of: "HTTP/1.1 202 ").count == 5_000)
        #expect(broker.with { $0.published.count } == 5_000)
    }

    /// Sent at once, some for the loop and some for the responder.
    @Test func answersLeaveInTheOrderOfTheirRequests() async throws {
        let broker = FakeBroker()
        let publish = ConnectionTests.head + "Content-Length: 2\r\n\r\n{}"
        let bad = ConnectionTests.head + "Content-Length: 1\r\n\r\n{"
        let chunked = ConnectionTests.head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        let look = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        let last = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        let round = publish + look + publish + publish + bad + chunked + look
        let answer = try await ConnectionTests.talk(
            broker, [((0..<50).map { _ in round }.joined() + last, "ready\n")])
        let statuses = answer.matches(of: /HTTP\/1\.1 (\d+)/).map { String($0.1) }
        #expect(statuses == (0..<50).flatMap { _ in ["202", "200", "202", "202", "400", "202", "200"] } + ["200"])
        #expect(broker.with { $0.published.count } == 200)
    }
}
