// SPDX-License-Identifier: Apache-2.0

import Events
import HTTPTypes
import Hummingbird
import NIOCore
import Routes
import Synchronization
import Testing

@testable import Gateway

@Suite(.timeLimit(.minutes(1)))
struct WebhookTests {
    static let secret = WebhookSignatureTests.secret

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

    @Test func aSecretThatCantSignIsNamedNotShown() {
        var route = PushRoute(url: "http://127.0.0.1/")
        route.signing = [Secret(name: "HOOK", value: "whsec_***")]
        #expect(
            refused(route)
                == #"secret("HOOK") of subscriber "fulfilment" can't sign: it should be whsec_ and base64, whsk_ and the base64 of an ed25519 key, or any other text"#
        )
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
        let id = WebhookSignature.id(subscriber: "fulfilment", deliveries: [Self.deliveries(1)[0].id])
        let expected = [
            "content-type": "application/json", "ce-specversion": "1.0", "ce-id": "0", "ce-source": "/s",
            "ce-type": "gr%C3%B6%C3%9Fe", "ce-x": "true", "x-shop": "1", "webhook-id": id,
            "webhook-timestamp": "1773065100", "content-length": "8",
        ]
        for (name, value) in expected { #expect(request.headers[name] == value, "\(name)") }
        let signatures = try ["older", Self.secret].map {
            try WebhookSignature(secret: $0)!.sign(id: id, timestamp: 1_773_065_100, body: request.body)
        }
        #expect(request.headers["webhook-signature"] == "\(signatures[1]) \(signatures[0])")
        #expect(settled.all[0].acks == [Self.deliveries(1)[0].id])
    }

    struct Answer: Sendable, CustomTestStringConvertible {
        var status: Int
        var headers: [String: String] = [:]
        var body = ""
        var reason = ""
        var sign = EndpointSign.failing
        var after: Duration?
        var isDead = false

        var testDescription: String { "\(status) \(headers)" }
    }

    @Test(arguments: [
        Answer(
            status: 301, headers: ["location": "https://b/"],
            reason: ", a redirect to https://b/; redirects aren't followed, push to where it leads"),
        Answer(status: 400, body: "no\n  \u{1B}[2Jway", reason: ": no [2Jway", sign: .up),
        Answer(status: 401), Answer(status: 403), Answer(status: 404), Answer(status: 408),
        Answer(status: 409, sign: .up),
        Answer(status: 410, reason: "; it is gone for good, so the subscriber pauses", sign: .gone),
        Answer(status: 413, reason: "; it will never take this event", sign: .up, isDead: true),
        Answer(status: 415, reason: "; it will never take this event", sign: .up, isDead: true),
        Answer(status: 422, reason: "; it will never take this event", sign: .up, isDead: true),
        Answer(status: 429, headers: ["retry-after": "120"], sign: .busy(.seconds(120)), after: .seconds(120)),
        Answer(status: 429, sign: .busy(.seconds(10))),
        Answer(
            status: 503, headers: ["retry-after": "Mon, 09 Mar 2026 14:06:00 GMT"], sign: .busy(.seconds(60)),
            after: .seconds(60)),
        Answer(status: 503, headers: ["retry-after": "later"]), Answer(status: 503),
        Answer(status: 500, headers: ["retry-after": "9"]), Answer(status: 502),
    ])
    func theAnswerDecides(_ answer: Answer) async throws {
        let sender = HTTPClientSender()
        let settlement = try await withEndpoint { _ in
            var headers = HTTPFields()
            for (name, value) in answer.headers { headers[HTTPField.Name(name)!] = value }
            return Response(
                status: .init(code: answer.status), headers: headers,
                body: .init(byteBuffer: .init(string: answer.body)))
        } _: { url in
            try await Self.settlements(of: Self.deliveries(1), PushRoute(url: url), sender).others.first
        }
        try await sender.shutdown()
        let reason = "the endpoint answered \(answer.status)\(answer.reason)"
        #expect(
            settlement?.outcome == (answer.isDead ? .dead(reason: reason) : .retry(after: answer.after, reason: reason))
        )
        #expect(settlement?.endpoint == answer.sign)
    }

    @Test(arguments: [200, 201, 202, 204]) func anySuccessIsAnAck(_ status: Int) async throws {
        let sender = HTTPClientSender()
        let acks = try await withEndpoint { _ in
            Response(status: .init(code: status))
        } _: { url in
            try await Self.settlements(of: Self.deliveries(1), PushRoute(url: url), sender).acks
        }
        try await sender.shutdown()
        #expect(acks == [Self.deliveries(1)[0].id])
    }

    /// The event was delivered again and became a dead letter, although the endpoint had taken it.
    @Test func aLongAnswerIsAnAnswerAndOnlyItsBeginningIsKept() async throws {
        let sender = HTTPClientSender()
        let settled = Collected<Settlements>()
        let status = Mutex(200)
        try await withEndpoint { _ in
            Response(
                status: .init(code: status.withLock { $0 }),
                body: .init(byteBuffer: .init(repeating: 0x61, count: 1 << 20)))
        } _: { url in
            settled.add(try await Self.settlements(of: Self.deliveries(1), PushRoute(url: url), sender))
            status.withLock { $0 = 500 }
            settled.add(try await Self.settlements(of: Self.deliveries(1), PushRoute(url: url), sender))
        }
        try await sender.shutdown()
        #expect(settled.all[0].acks.count == 1)
        let reason = "the endpoint answered 500: " + String(repeating: "a", count: 200)
        #expect(settled.all[1].others.map(\.outcome) == [.retry(after: nil, reason: reason)])
    }

    @Test func anEndpointThatEchoesSecretsDoesNotGetThemIntoTheReason() async throws {
        let sender = HTTPClientSender()
        let outcomes = try await withEndpoint { request in
            let key = request.headers["x-key"] ?? ""
            return Response(status: .internalServerError, body: .init(byteBuffer: .init(string: "key \(key) is wrong")))
        } _: { url in
            var route = PushRoute(url: url)
            route.headers = ["x-key": .secret(Secret(name: "API_KEY", value: "correct horse"))]
            return try await Self.settlements(of: Self.deliveries(1), route, sender).others.map(\.outcome)
        }
        try await sender.shutdown()
        #expect(
            outcomes == [
                .retry(after: nil, reason: #"the endpoint answered 500: key secret("API_KEY") is wrong"#)
            ])
    }

    @Test func nobodyListeningIsUnreachable() async throws {
        let sender = HTTPClientSender()
        let settlements = try await Self.settlements(
            of: Self.deliveries(1), PushRoute(url: "http://127.0.0.1:1/secret"), sender)
        try await sender.shutdown()
        #expect(settlements.others.first?.endpoint == .unreachable)
        #expect(
            settlements.others.first?.outcome
                == .retry(after: nil, reason: "no connection to http://127.0.0.1:1: connection refused"))
    }

    @Test(arguments: [
        (OutboundFailure.timeout, "the endpoint didn't answer within 2s", EndpointSign.failing),
        (.responseTooLarge(limit: 9), "the endpoint's answer is longer than 9 bytes; a short one will do", .up),
        (.badRequest("\"x\" isn't a URL that can be sent to"), "\"x\" isn't a URL that can be sent to", .refusing),
    ])
    func theFailureDecides(_ failure: OutboundFailure, _ reason: String, _ sign: EndpointSign) async throws {
        let sender = FakeSender { _ throws(OutboundFailure) in throw failure }
        let settlements = try await Self.settlements(of: Self.deliveries(1), PushRoute(url: "http://x"), sender)
        #expect(settlements.others.map(\.outcome) == [.retry(after: nil, reason: reason)])
        #expect(settlements.others.map(\.endpoint) == [sign])
    }

    /// What becomes of `deliveries`, once all of them are answered.
    static func settlements(
        of deliveries: [Delivery], _ route: PushRoute, _ sender: any HTTPSender, rate: Rate? = nil, concurrency: Int = 1
    ) async throws -> Settlements {
        let settled = Collected<Settlements>()
        let destination = try WebhookDestination(
            subscriber: "s", route: route, timeout: .seconds(2), concurrency: concurrency, rate: rate, sender: sender,
            clock: FixedClock())
        destination.start { settled.add($0) }
        destination.deliver(deliveries)
        func answered() -> Int { settled.all.reduce(0) { $0 + $1.acks.count + $1.others.count } }
        await until { answered() >= deliveries.count }
        await destination.stop(.shutdown, deadline: .seconds(5))
        var all = Settlements(acks: settled.all.flatMap(\.acks), others: settled.all.flatMap(\.others))
        all.allowance = settled.all.compactMap(\.allowance).last
        return all
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
