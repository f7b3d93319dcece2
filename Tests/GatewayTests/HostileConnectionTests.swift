// SPDX-License-Identifier: Apache-2.0

import Events
import Gateway
import NIOCore
import NIOPosix
import Routes
import ServiceLifecycle
import Testing

@testable import Broker

/// What a hostile network sends, as bytes on connections of the real listener.
@Suite(.timeLimit(.minutes(2)))
struct HostileConnectionTests {
    struct Raw: Sendable, CustomTestStringConvertible {
        var name: String
        var bytes: String
        /// 0 where the connection closes without an answer.
        var status: Int
        var testDescription: String { name }

        init(_ name: String, _ bytes: String, _ status: Int) {
            self.name = name
            self.bytes = bytes
            self.status = status
        }

        /// A publish request whose body would be `{}`.
        static func publish(_ name: String, _ headers: String, body: String = "{}", _ status: Int = 400) -> Raw {
            Raw(name, line + "Host: localhost\r\n" + type + headers + "\r\n" + body, status)
        }
    }

    static let line = "POST /v1/topics/orders/events HTTP/1.1\r\n"
    static let type = "Content-Type: application/json\r\n"
    static let chunked = "Transfer-Encoding: chunked\r\n"
    static let wholeChunks = "2\r\n{}\r\n0\r\n\r\n"

    static let refused: [Raw] = [
        .publish("two lengths of the body", "Content-Length: 2\r\n" + chunked, body: wholeChunks),
        .publish("two Content-Lengths", "Content-Length: 2\r\nContent-Length: 3\r\n"),
        .publish("the same Content-Length twice", "Content-Length: 2\r\nContent-Length: 2\r\n"),
        .publish("a list of Content-Lengths", "Content-Length: 2, 2\r\n"),
        .publish("a Content-Length with a sign", "Content-Length: +2\r\n"),
        .publish("a negative Content-Length", "Content-Length: -2\r\n"),
        .publish("a hexadecimal Content-Length", "Content-Length: 0x2\r\n"),
        .publish("a Content-Length that overflows", "Content-Length: 99999999999999999999\r\n"),
        .publish("an unknown coding", "Transfer-Encoding: xchunked\r\n", body: wholeChunks, 501),
        .publish("a coding before chunked", "Transfer-Encoding: gzip, chunked\r\n", body: wholeChunks, 501),
        .publish("a coding behind chunked", "Transfer-Encoding: chunked, identity\r\n", body: wholeChunks),
        .publish("chunked twice", chunked + chunked, body: wholeChunks),
        .publish("a chunk of no size", chunked, body: "zz\r\n{}\r\n0\r\n\r\n"),
        .publish("a chunk size with 0x", chunked, body: "0x2\r\n{}\r\n0\r\n\r\n"),
        .publish("a negative chunk size", chunked, body: "-2\r\n{}\r\n0\r\n\r\n"),
        .publish("a chunk size that overflows", chunked, body: "10000000000000002\r\n{}\r\n0\r\n\r\n"),
        .publish("a chunk longer than it says", chunked, body: "2\r\n{}XX0\r\n\r\n"),
        .publish("chunks that end with a bare LF", chunked, body: "2\n{}\n0\n\n"),
        .publish("a bare LF in a chunk extension", chunked, body: "2;a\nb\r\n{}\r\n0\r\n\r\n"),
        .publish("a space behind a chunk size", chunked, body: "2 \r\n{}\r\n0\r\n\r\n"),
        .publish("a folded header", "X-A: a\r\n b\r\nContent-Length: 2\r\n"),
        .publish("a folded Transfer-Encoding", "Transfer-Encoding:\r\n chunked\r\n", body: wholeChunks),
        .publish("a bare LF behind a header", "X-A: a\nX-B: b\r\nContent-Length: 2\r\n"),
        .publish("a bare CR in a header", "X-A: a\rb\r\nContent-Length: 2\r\n"),
        .publish("a space before the colon", "Content-Length : 2\r\n"),
        .publish("NUL in a header", "X-A: a\0b\r\nContent-Length: 2\r\n"),
        .publish("a control character in a header", "X-A: a\u{1}b\r\nContent-Length: 2\r\n"),
        .publish("NUL in a header's name", "X\0A: a\r\nContent-Length: 2\r\n"),
        .publish("a header without a name", ": a\r\nContent-Length: 2\r\n"),
        Raw("a space before the first header", line + " Host: localhost\r\nContent-Length: 2\r\n\r\n{}", 400),
        Raw("bare LFs only", "POST /v1/topics/orders/events HTTP/1.1\nHost: localhost\nContent-Length: 2\n\n{}", 505),
        Raw("no Host", line + type + "Content-Length: 2\r\n\r\n{}", 400),
        .publish("two Hosts", "Host: localhost\r\nContent-Length: 2\r\n"),
        Raw("a Host that is none", line + "Host: a b/c@d\r\n" + type + "Content-Length: 2\r\n\r\n{}", 400),
        Raw("an empty Host", line + "Host:\r\n" + type + "Content-Length: 2\r\n\r\n{}", 400),
        Raw("a foreign Host", line + "Host: evil.example\r\n" + type + "Content-Length: 2\r\n\r\n{}", 403),
        Raw(
            "a foreign host in the target",
            "POST http://evil.example/v1/topics/orders/events HTTP/1.1\r\nHost: localhost\r\n" + type
                + "Content-Length: 2\r\n\r\n{}", 403),
        Raw(
            "chunks in HTTP/1.0",
            "POST /v1/topics/orders/events HTTP/1.0\r\nHost: localhost\r\n" + type + chunked + "\r\n" + wholeChunks, 400
        ),
        Raw("a target in authority form", "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        Raw("the target *", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        Raw("a target with a fragment", "GET /healthz#a HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        Raw("NUL in the target", "GET /health\0z HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        Raw("a target beyond ASCII", "GET /h\u{e9} HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        Raw("a target without a slash", "GET healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        Raw("a foreign scheme", "GET ftp://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        Raw("an unknown method", "FOO /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        Raw("HTTP/0.9", "GET /healthz\r\n\r\n", 505),
        Raw("HTTP/1.2", "GET /healthz HTTP/1.2\r\nHost: localhost\r\n\r\n", 505),
        Raw("HTTP/2.0 in words", "GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        Raw("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0", 400),
        Raw("TLS on a plain port", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{3}\u{3}", 400),
        Raw(
            "a header of 70,000 bytes",
            line + "Host: localhost\r\nX-A: " + String(repeating: "a", count: 70_000) + "\r\n\r\n", 431),
        Raw(
            "300 headers",
            line + "Host: localhost\r\n" + (0..<300).map { "X-\($0): a\r\n" }.joined() + "\r\n", 431),
        Raw("a target of 70,000 bytes", "GET /" + String(repeating: "a", count: 70_000) + " HTTP/1.1\r\n\r\n", 431),
    ]

    @Test(arguments: refused)
    func whatOthersMayReadOtherwiseIsRefusedAndTheConnectionCloses(_ raw: Raw) async throws {
        let broker = FakeBroker()
        let metrics = PrometheusMetrics()
        // Whoever smuggles has a second request in the same bytes.
        let answer = try await Self.whole(broker, raw.bytes + Self.second, metrics: metrics)
        #expect(answer.hasPrefix("HTTP/1.1 \(raw.status) "), "\(answer.prefix(200))")
        #expect(Self.answers(in: answer) == 1, "one answer, and it is the last: \(answer)")
        #expect(broker.with { $0.published.isEmpty }, "nothing reached the broker")
        let counts = metrics.render().split(separator: "\n").filter { $0.hasPrefix("fairlead_http_refused_total{") }
        #expect(counts.count { !$0.hasSuffix(" 0") } == 1, "it is counted once: \(counts)")
    }

    private static let second = "GET /v1/topics/orders/events HTTP/1.1\r\nHost: localhost\r\n\r\n"

    @Test(arguments: [
        Raw("an absolute target", "GET http://LocalHost:80/healthz HTTP/1.1\r\nHost: evil.example\r\n", 200),
        Raw("an absolute target without a path", "GET http://localhost HTTP/1.1\r\nHost: localhost\r\n", 200),
        Raw("HTTP/1.0 without a Host", "GET /healthz HTTP/1.0\r\n", 200),
        Raw("an upgrade that isn't taken", "GET /healthz HTTP/1.1\r\nHost: [::1]:80\r\nUpgrade: h2c\r\n", 200),
        Raw("empty lines before", "\r\n\r\nGET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n", 200),
        Raw("a name below localhost", "GET /healthz HTTP/1.1\r\nHost: fairlead.localhost\r\n", 200),
    ])
    func whatIsUnusualAndRightIsServed(_ raw: Raw) async throws {
        let answer = try await Self.whole(FakeBroker(), raw.bytes + "Connection: close\r\n\r\n")
        #expect(answer.hasPrefix("HTTP/1.1 \(raw.status) "), "\(answer)")
    }

    @Test func withTokensAnyHostIsServed() async throws {
        let access = AccessControl()
        access.use([TokenRoute(name: "a", secret: Secret(name: "A", value: "a-token"))])
        let answer = try await Self.whole(
            FakeBroker(), "GET /healthz HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n", access: access)
        #expect(answer.hasPrefix("HTTP/1.1 200 "), "\(answer)")
    }

    @Test func aRefusalFollowsTheAnswersBeforeIt() async throws {
        let good = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        let answer = try await Self.whole(FakeBroker(), good + "GET / HTTP/1.1\r\n\r\n" + good)
        #expect(answer.hasPrefix("HTTP/1.1 200 "), "\(answer)")
        #expect(answer.contains("HTTP/1.1 400 ") && Self.answers(in: answer) == 2, "\(answer)")
    }

    @Test func aHeaderThatNeverEndsIsCutOff() async throws {
        var bounds = Self.quick
        bounds.headerTime = .milliseconds(100)
        let answer = try await Self.whole(FakeBroker(), "GET / HTTP/1.1\r\nHost: loc", bounds: bounds)
        #expect(answer.hasPrefix("HTTP/1.1 408 "), "\(answer)")
    }

    @Test func aBodyThatNeverEndsIsCutOff() async throws {
        var bounds = Self.quick
        bounds.bodyGrace = .milliseconds(100)
        let broker = FakeBroker()
        let metrics = PrometheusMetrics()
        _ = try await Self.whole(
            broker, ConnectionTests.head + "Content-Length: 100\r\n\r\n{", metrics: metrics, bounds: bounds)
        #expect(metrics.render().contains("fairlead_http_refused_total{reason=\"slow-body\"} 1"))
        #expect(broker.with { $0.published.isEmpty })
    }

    @Test(arguments: [
        ConnectionTests.head + "Content-Length: 2\r\n\r\n{}", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ])
    func aConnectionIsClosedWhenNothingHappensOnItAnyMore(_ request: String) async throws {
        var bounds = Self.quick
        bounds.idle = .milliseconds(50)
        let metrics = PrometheusMetrics()
        let answer = try await Self.whole(FakeBroker(), request, metrics: metrics, bounds: bounds)
        #expect(Self.answers(in: answer) == 1 && answer.hasPrefix("HTTP/1.1 20"), "\(answer)")
        #expect(metrics.render().matches(of: #/fairlead_http_refused_total{.*} [1-9]/#).isEmpty, "that is no refusal")
    }

    @Test func chunkExtensionsWithoutEndAreCutOff() async throws {
        let metrics = PrometheusMetrics()
        let extensions = String(repeating: "a", count: 4 << 20)
        _ = try await Self.whole(
            FakeBroker(), ConnectionTests.head + Self.chunked + "\r\n2;" + extensions, metrics: metrics,
            bounds: Self.quick)
        #expect(metrics.render().contains("fairlead_http_refused_total{reason=\"chunk-flood\"} 1"))
    }

    @Test func aBodyInAMillionChunksIsReadWhole() async throws {
        let broker = FakeBroker()
        let count = 1_000_000
        let body = String(repeating: "1\r\n \r\n", count: count - 2) + "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
        let head = ConnectionTests.head + "Connection: close\r\n" + Self.chunked + "\r\n"
        let answer = try await Self.whole(broker, head + body)
        #expect(answer.hasPrefix("HTTP/1.1 202 "), "\(answer)")
        #expect(broker.with { $0.published.count } == 1)
    }

    @Test func whoComesBeyondTheBoundIsTurnedAwayAndLaterServed() async throws {
        var bounds = ConnectionBounds()
        bounds.total = 1
        bounds.loopbackReserve = 0
        let metrics = PrometheusMetrics()
        try await Self.serving(FakeBroker(), metrics: metrics, bounds: bounds) { port in
            let get = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            let holder = try await Self.connect(port)
            // Each connection is counted on an event loop of its own, so the next one could come first.
            let deadline = ContinuousClock.now + .seconds(30)
            while !metrics.render().contains("\nfairlead_http_connections 1\n"), ContinuousClock.now < deadline {
                await Task.yield()
            }
            let refused = try await Self.read(port, "")
            #expect(refused.hasPrefix("HTTP/1.1 503 "), "\(refused)")
            #expect(metrics.render().contains("fairlead_http_refused_total{reason=\"connections\"} 1"))
            try await holder.close()
            var served = ""
            for _ in 0..<10_000 where !served.hasPrefix("HTTP/1.1 200 ") {
                served = (try? await Self.read(port, get)) ?? ""
            }
            #expect(served.hasPrefix("HTTP/1.1 200 "), "\(served)")
        }
    }

    private static func answers(in text: String) -> Int { text.matches(of: #/HTTP/1\.1 [0-9]{3} /#).count }

    // MARK: The listener

    private static var quick: ConnectionBounds {
        var bounds = ConnectionBounds()
        bounds.look = .milliseconds(20)
        return bounds
    }

    private static func whole(
        _ broker: FakeBroker, _ bytes: String, access: AccessControl = AccessControl(),
        metrics: PrometheusMetrics = PrometheusMetrics(), bounds: ConnectionBounds = ConnectionBounds()
    ) async throws -> String {
        try await serving(broker, access: access, metrics: metrics, bounds: bounds) { try await read($0, bytes) }
    }

    private static func serving<Value: Sendable>(
        _ broker: FakeBroker, access: AccessControl = AccessControl(), metrics: PrometheusMetrics,
        bounds: ConnectionBounds, _ body: (Int) async throws -> Value
    ) async throws -> Value {
        let gateway = Gateway(
            broker: broker, settings: .init(port: 0, bounds: bounds), prometheus: metrics, logger: silent,
            access: access, reload: { _, _ in .applied(generation: 2, changes: []) })
        let group = ServiceGroup(services: [gateway], logger: silent)
        async let running: Void = group.run()
        let port = try #require(await gateway.port())
        let value = try await body(port)
        await group.triggerGracefulShutdown()
        try await running
        return value
    }

    private static func connect(_ port: Int) async throws -> any Channel {
        try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port).get()
    }

    /// Sends `bytes`, one for each scalar, and gives what comes until the server closes.
    private static func read(_ port: Int, _ bytes: String) async throws -> String {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        return try await channel.executeThenClose { inbound, outbound in
            var answer = ""
            let sent = ByteBuffer(bytes: bytes.unicodeScalars.map { UInt8($0.value) })
            // The server may close before it has read everything.
            async let sending: Void? = try? outbound.write(sent)
            do {
                for try await chunk in inbound { answer += String(buffer: chunk) }
            } catch is IOError {
                // It closed with bytes of ours unread.
            }
            _ = await sending
            return answer
        }
    }
}
