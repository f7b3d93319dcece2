// SPDX-License-Identifier: Apache-2.0

import Events
import Gateway
import NIOCore
import NIOPosix
import ServiceLifecycle
import Testing

/// What only bytes on a connection can show.
@Suite(.timeLimit(.minutes(1)))
struct ConnectionTests {
    /// Sends `steps`, each once the answer so far contains what stands before it, and gives the whole answer up to
    /// what the last waits for.
    static func talk(
        _ broker: FakeBroker, _ steps: [(send: String, until: String)]
    ) async throws -> String {
        try await talk(gateway(broker), steps)
    }

    static func talk(_ gateway: Gateway, _ steps: [(send: String, until: String)]) async throws -> String {
        let group = ServiceGroup(services: [gateway], logger: silent)
        async let running: Void = group.run()
        let port = try #require(await gateway.port())
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connect(
            host: "127.0.0.1", port: port
        ) { channel in
            channel.eventLoop.makeCompletedFuture {
                try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
            }
        }
        let answer = try await channel.executeThenClose { inbound, outbound in
            var answer = ""
            var chunks = inbound.makeAsyncIterator()
            for step in steps {
                try await outbound.write(ByteBuffer(string: step.send))
                var new = ""
                while !new.contains(step.until), let chunk = try await chunks.next() { new += String(buffer: chunk) }
                answer += new
            }
            return answer
        }
        await group.triggerGracefulShutdown()
        try await running
        return answer
    }

    static let head =
        "POST /v1/topics/orders/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

    @Test func whoWaitsToBeAskedForTheBodyIsAsked() async throws {
        let broker = FakeBroker()
        let answer = try await Self.talk(
            broker,
            [
                (Self.head + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n"),
                ("{}", "\"duplicates\":0}"),
            ])
        #expect(answer.hasPrefix("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\n"))
        #expect(broker.with { $0.published.count } == 1)
    }

    @Test func whoAnnouncesTooMuchIsRefusedAtOnce() async throws {
        let answer = try await Self.talk(
            FakeBroker(),
            [(Self.head + "Expect: 100-continue\r\nContent-Length: 16777217\r\n\r\n", "several requests\"}")])
        #expect(answer.hasPrefix("HTTP/1.1 413 "))
        #expect(answer.lowercased().contains("\r\nconnection: close\r\n"))
        #expect(answer.contains("the body has 16777217 bytes; the limit is 16777216"))
    }

    @Test func aChunkedBodyIsReadWhole() async throws {
        let broker = FakeBroker()
        let answer = try await Self.talk(
            broker,
            [
                (
                    Self.head + "Transfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n",
                    "\"duplicates\":0}"
                )
            ])
        #expect(answer.hasPrefix("HTTP/1.1 202 "))
        #expect(broker.with { $0.published[0][0].event.data } == .json(Array("{\"a\":1}".utf8)))
    }

    @Test func requestsFollowEachOtherOnOneConnection() async throws {
        let broker = FakeBroker()
        let request = Self.head + "Content-Length: 2\r\n\r\n{}"
        let answer = try await Self.talk(
            broker, [(request, "\"duplicates\":0}"), ("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "ok\n")])
        #expect(answer.contains("HTTP/1.1 200 OK"))
        #expect(broker.with { $0.published.count } == 1)
    }

    @Test(arguments: [
        "NONSENSE\r\n\r\n", Self.head + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        Self.head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", Self.head + "Content-Length: -1\r\n\r\n",
    ])
    func whatIsNoRequestIsRefused(_ bytes: String) async throws {
        let broker = FakeBroker()
        let answer = try await Self.talk(broker, [(bytes, "\r\n\r\n")])
        #expect(answer.hasPrefix("HTTP/1.1 400 "), "\(answer)")
        #expect(broker.with { $0.published.isEmpty })
    }
}
