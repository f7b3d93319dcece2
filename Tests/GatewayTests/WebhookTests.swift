// SPDX-License-Identifier: Apache-2.0

import Events
import Gateway
import Hummingbird
import NIOCore
import Routes
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(1)))
struct WebhookTests {
    static let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

    // MARK: Signatures

    @Test func signaturesAreThoseOfTheStandard() throws {
        let signature = try #require(WebhookSignature(secret: Self.secret))
        #expect(
            signature.sign(
                id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: 1_614_265_330, body: Array(#"{"test": 2432232314}"#.utf8)
            )
                == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
    }

    @Test func aSecretMayLackItsPadding() throws {
        let body = Array("x".utf8)
        let padded = try #require(WebhookSignature(secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS="))
        let bare = try #require(WebhookSignature(secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS"))
        #expect(padded.sign(id: "a", timestamp: 1, body: body) == bare.sign(id: "a", timestamp: 1, body: body))
    }

    /// Computed with Python's hmac.
    @Test func aSecretMayBePlainText() throws {
        let signature = try #require(WebhookSignature(secret: "Jefe"))
        #expect(
            signature.sign(id: "msg_1", timestamp: 1, body: Array("x".utf8))
                == "v1,8Ali5r9Pb4bQh7AS85XHQfjhYzR0I3Tepdj5FBXFlMY=")
    }

    @Test(arguments: ["", "whsec_", "whsec_***"])
    func aSecretThatCantSignIsRefused(_ secret: String) {
        #expect(WebhookSignature(secret: secret) == nil)
        var route = PushRoute(url: "http://127.0.0.1/")
        route.signing = [Secret(name: "HOOK", value: secret)]
        let refusal = refused(route)
        #expect(
            refusal
                == #"secret("HOOK") of subscriber "fulfilment" can't sign: it is empty, or not base64 behind whsec_"#)
    }

    @Test func idsAreStableAndHaveNoDots() {
        let delivery = DeliveryID(topic: .named("orders.eu"), offset: 7)
        let id = WebhookSignature.id(subscriber: "a.b", delivery: delivery)
        #expect(id == WebhookSignature.id(subscriber: "a.b", delivery: delivery))
        #expect(id.hasPrefix("msg_") && !id.contains(".") && id.utf8.count == 36)
        #expect(id != WebhookSignature.id(subscriber: "a.c", delivery: delivery))
        #expect(
            id != WebhookSignature.id(subscriber: "a.b", delivery: DeliveryID(topic: .named("orders.eu"), offset: 8)))
    }

    // MARK: Destination

    func refused(_ route: PushRoute) -> String? {
        do {
            let sender = FakeSender { _ throws(OutboundFailure) in throw .timeout }
            _ = try WebhookDestination(
                subscriber: "fulfilment", route: route, timeout: .seconds(1), concurrency: 1, sender: sender,
                clock: FixedClock())
            return nil
        } catch {
            return error.message
        }
    }

    @Test func aRouteThatCantWorkIsRefused() {
        #expect(
            refused(PushRoute(url: "ftp://x"))
                == #"subscriber "fulfilment" pushes to "ftp://x"; a URL starts with https:// or http://"#)
        var route = PushRoute(url: "http://x")
        route.headers = ["authorization": .secret(Secret(name: "TOKEN", value: "a\r\nb"))]
        #expect(
            refused(route) == #"header "authorization" of subscriber "fulfilment" has a control character in its value"#
        )
        route.headers = ["x": .block([])]
        #expect(refused(route) == #"header "x" of subscriber "fulfilment" must be a text or a secret"#)
    }

    static func deliveries(_ count: Int) -> [Delivery] {
        (0..<count).map { at in
            Delivery(
                record: record(
                    Event(
                        id: "\(at)", source: "/s", type: "größe", attributes: [.init("x", .boolean(true))],
                        data: .json(Array("{\"n\": \(at)}".utf8))), offset: Offset(at)),
                attempt: 1)
        }
    }

    @Test func deliveriesArriveSignedAndInBinaryMode() async throws {
        let asked = Collected<Asked>()
        let settled = Collected<Settlements>()
        let sender = HTTPClientSender()
        try await withEndpoint { request in
            asked.add(request)
            return Response(status: .noContent)
        } _: { url in
            var route = PushRoute(url: url)
            route.signing = [Secret(name: "A", value: Self.secret), Secret(name: "B", value: "older")]
            route.headers = ["X-Shop": .string("1")]
            let destination = try WebhookDestination(
                subscriber: "fulfilment", route: route, timeout: .seconds(10), concurrency: 1, sender: sender,
                clock: FixedClock())
            destination.start { settled.add($0) }
            destination.deliver(Self.deliveries(1))
            await until { !settled.all.isEmpty }
            await destination.stop(.shutdown, deadline: .seconds(5))
        }
        try await sender.shutdown()
        let request = try #require(asked.all.first)
        #expect(request.method == "POST")
        #expect(request.path == "/hook")
        #expect(request.body == Array("{\"n\": 0}".utf8))
        let id = WebhookSignature.id(subscriber: "fulfilment", delivery: Self.deliveries(1)[0].id)
        let expected = [
            "content-type": "application/json", "ce-specversion": "1.0", "ce-id": "0", "ce-source": "/s",
            "ce-type": "gr%C3%B6%C3%9Fe", "ce-x": "true", "x-shop": "1", "webhook-id": id,
            "webhook-timestamp": "1773065100", "content-length": "8",
        ]
        for (name, value) in expected { #expect(request.headers[name] == value, "\(name)") }
        let signatures = ["older", Self.secret].map {
            WebhookSignature(secret: $0)!.sign(id: id, timestamp: 1_773_065_100, body: request.body)
        }
        #expect(request.headers["webhook-signature"] == "\(signatures[1]) \(signatures[0])")
        #expect(settled.all[0].acks == [Self.deliveries(1)[0].id])
    }

    struct Answer: Sendable {
        var status: Int
        var headers: [(name: String, value: String)] = []
        var body = ""
        var outcome: Outcome
    }

    @Test(arguments: [
        Answer(status: 200, body: "ok", outcome: .ack),
        Answer(status: 202, outcome: .ack),
        Answer(
            status: 301, headers: [("location", "https://b/")],
            outcome: .retry(
                after: nil,
                reason:
                    "the endpoint answered 301, a redirect to https://b/; redirects aren't followed, push to where it leads"
            )
        ),
        Answer(
            status: 400, body: "no\n  way", outcome: .retry(after: nil, reason: "the endpoint answered 400: no way")),
        Answer(status: 401, outcome: .retry(after: nil, reason: "the endpoint answered 401")),
        Answer(status: 404, outcome: .retry(after: nil, reason: "the endpoint answered 404")),
        Answer(status: 408, outcome: .retry(after: nil, reason: "the endpoint answered 408")),
        Answer(status: 410, outcome: .dead(reason: "the endpoint answered 410; it is gone for good")),
        Answer(status: 413, outcome: .dead(reason: "the endpoint answered 413; it will never take this event")),
        Answer(status: 415, outcome: .dead(reason: "the endpoint answered 415; it will never take this event")),
        Answer(status: 422, outcome: .dead(reason: "the endpoint answered 422; it will never take this event")),
        Answer(
            status: 429, headers: [("retry-after", "120")],
            outcome: .retry(after: .seconds(120), reason: "the endpoint answered 429")),
        Answer(
            status: 503, headers: [("retry-after", "Mon, 09 Mar 2026 14:06:00 GMT")],
            outcome: .retry(after: .seconds(60), reason: "the endpoint answered 503")),
        Answer(
            status: 503, headers: [("retry-after", "later")],
            outcome: .retry(after: nil, reason: "the endpoint answered 503")),
        Answer(
            status: 500, headers: [("retry-after", "9")],
            outcome: .retry(after: nil, reason: "the endpoint answered 500")),
    ])
    func theAnswerDecides(_ answer: Answer) async throws {
        let sender = FakeSender { _ throws(OutboundFailure) in
            OutboundResponse(status: answer.status, headers: answer.headers, body: Array(answer.body.utf8))
        }
        #expect(try await outcome(sender) == answer.outcome)
    }

    @Test(arguments: [
        (OutboundFailure.timeout, Outcome.retry(after: nil, reason: "the endpoint didn't answer within 2s")),
        (.connection("no connection to http://x"), .retry(after: nil, reason: "no connection to http://x")),
        (
            .responseTooLarge(limit: 9),
            .retry(after: nil, reason: "the endpoint's answer is longer than 9 bytes; a short one will do")
        ),
        (.badRequest("\"x\" isn't a URL that can be sent to"), .dead(reason: "\"x\" isn't a URL that can be sent to")),
    ])
    func theFailureDecides(_ failure: OutboundFailure, _ expected: Outcome) async throws {
        let sender = FakeSender { _ throws(OutboundFailure) in throw failure }
        #expect(try await outcome(sender) == expected)
    }

    func outcome(_ sender: FakeSender) async throws -> Outcome? {
        let settled = Collected<Settlements>()
        let destination = try WebhookDestination(
            subscriber: "s", route: PushRoute(url: "http://x"), timeout: .seconds(2), concurrency: 1, sender: sender,
            clock: FixedClock())
        destination.start { settled.add($0) }
        destination.deliver(Self.deliveries(1))
        await until { !settled.all.isEmpty }
        return settled.all[0].acks.isEmpty ? settled.all[0].others.first?.outcome : .ack
    }

    @Test func asManyRunAtOnceAsMayAndAllAreAnswered() async throws {
        let gate = Gate()
        let sender = FakeSender { _ throws(OutboundFailure) in
            await gate.pass()
            return OutboundResponse(status: 200, headers: [], body: [])
        }
        let settled = Collected<Settlements>()
        let destination = try WebhookDestination(
            subscriber: "s", route: PushRoute(url: "http://x"), timeout: .seconds(60), concurrency: 3, sender: sender,
            clock: FixedClock())
        destination.start { settled.add($0) }
        destination.deliver(Self.deliveries(10))
        await until { gate.waiting == 3 }
        gate.open()
        await until { settled.all.count == 10 }
        #expect(Set(settled.all.flatMap(\.acks)) == Set(Self.deliveries(10).map(\.id)))
        #expect(gate.most == 3)
    }

    @Test func stoppingGivesBackWhatHasNotBegunAndWaitsForTheRest() async throws {
        let gate = Gate()
        let sender = FakeSender { _ throws(OutboundFailure) in
            await gate.pass()
            return OutboundResponse(status: 200, headers: [], body: [])
        }
        let settled = Collected<Settlements>()
        let destination = try WebhookDestination(
            subscriber: "s", route: PushRoute(url: "http://x"), timeout: .seconds(60), concurrency: 1, sender: sender,
            clock: FixedClock())
        destination.start { settled.add($0) }
        destination.deliver(Self.deliveries(3))
        await until { gate.waiting == 1 }
        async let stopped: Void = destination.stop(.reload, deadline: .seconds(60))
        await until { settled.all.count == 1 }
        #expect(settled.all[0].others.map(\.outcome) == [.returned, .returned])
        gate.open()
        await stopped
        #expect(settled.all.flatMap(\.acks).map(\.offset) == [0])
        destination.deliver(Self.deliveries(1))
        #expect(settled.all.last?.others.map(\.outcome) == [.returned])
    }

    @Test func whatRunsPastTheDeadlineIsGivenBackOnce() async throws {
        let sender = FakeSender { _ throws(OutboundFailure) in
            do {
                try await Task.sleep(for: .seconds(3_600))
            } catch {
                throw .connection("given up")
            }
            throw .timeout
        }
        let settled = Collected<Settlements>()
        let destination = try WebhookDestination(
            subscriber: "s", route: PushRoute(url: "http://x"), timeout: .seconds(60), concurrency: 1, sender: sender,
            clock: FixedClock())
        destination.start { settled.add($0) }
        destination.deliver(Self.deliveries(2))
        await destination.stop(.shutdown, deadline: .milliseconds(20))
        let outcomes = settled.all.flatMap(\.others).map { "\($0.delivery.offset) \($0.outcome)" }
        #expect(outcomes.sorted() == ["0 returned", "1 returned"])
    }

    // MARK: Retry-After

    @Test(arguments: [
        ("0", Duration.zero), ("120", .seconds(120)), ("1.5", .milliseconds(1_500)), ("-1", nil), ("soon", nil),
        ("", nil),
        ("1e99", nil), ("nan", nil), ("Mon, 09 Mar 2026 14:05:30 GMT", .seconds(30)),
        ("Mon, 09 Mar 2020 14:05:30 GMT", .zero), ("Mon, 31 Feb 2026 14:05:30 GMT", nil),
    ])
    func retryAfterIsReadInBothForms(_ text: String, _ expected: Duration?) {
        #expect(RetryAfter.parse(text, now: FixedClock().now()) == expected)
    }

    @Test(arguments: [
        ("500ms", Duration.milliseconds(500)), ("30s", .seconds(30)), ("2m", .seconds(120)), ("1h", .seconds(3_600)),
        ("7d", .seconds(604_800)), ("0s", .zero),
    ])
    func durationsAreReadAndWritten(_ text: String, _ duration: Duration) {
        #expect(DurationText.parse(text) == duration)
        #expect(DurationText.format(duration) == text)
    }

    @Test(arguments: ["", "5", "s", "-5s", "1.5s", "5 s", "5S", "99999999999999999999s", "9223372036854775807d", "٥s"])
    func whatIsNoDurationIsRefused(_ text: String) {
        #expect(DurationText.parse(text) == nil)
    }
}

struct FakeSender: HTTPSender {
    var answer: @Sendable (OutboundRequest) async throws(OutboundFailure) -> OutboundResponse

    init(_ answer: @escaping @Sendable (OutboundRequest) async throws(OutboundFailure) -> OutboundResponse) {
        self.answer = answer
    }

    func send(_ request: OutboundRequest) async throws(OutboundFailure) -> OutboundResponse {
        try await answer(request)
    }
}

/// Holds whoever passes until it is opened.
final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var waiting: [CheckedContinuation<Void, Never>] = []
        var most = 0
    }

    private let state = Mutex(State())

    var waiting: Int { state.withLock { $0.waiting.count } }
    var most: Int { state.withLock { $0.most } }

    func pass() async {
        await withCheckedContinuation { continuation in
            let passes = state.withLock { state in
                if !state.isOpen { state.waiting.append(continuation) }
                state.most = max(state.most, state.waiting.count)
                return state.isOpen
            }
            if passes { continuation.resume() }
        }
    }

    func open() {
        let waiting = state.withLock { state in
            state.isOpen = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }
}
