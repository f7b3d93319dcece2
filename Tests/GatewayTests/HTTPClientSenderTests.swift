// SPDX-License-Identifier: Apache-2.0

import Events
import Gateway
import Hummingbird
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(1)))
struct HTTPClientSenderTests {
    static func send(
        _ url: String, method: String = "GET", body: [UInt8] = [], timeout: Duration = .seconds(20), limit: Int = 1_000,
        reach: OutboundRequest.Reach = .anywhere
    ) async throws -> Result<OutboundResponse, OutboundFailure> {
        let sender = HTTPClientSender()
        let result: Result<OutboundResponse, OutboundFailure>
        do throws(OutboundFailure) {
            result = .success(
                try await sender.send(
                    OutboundRequest(
                        method: method, url: url, headers: [("x-a", "1"), ("X-A", "2")], body: body, timeout: timeout,
                        responseBytesMax: limit, reach: reach)))
        } catch {
            result = .failure(error)
        }
        try await sender.shutdown()
        return result
    }

    @Test func anyStatusIsAnAnswer() async throws {
        try await withEndpoint { request in
            #expect(request.method == "PATCH")
            #expect(request.headers["x-a"] == "2")
            return Response(
                status: .init(code: 418), headers: [.contentType: "text/plain"],
                body: .init(byteBuffer: ByteBuffer(bytes: request.body.reversed())))
        } _: { url in
            let response = try await Self.send(url, method: "PATCH", body: Array("abc".utf8)).get()
            #expect(response.status == 418)
            #expect(response.body == Array("cba".utf8))
            #expect(response.headers.contains { $0 == ("content-type", "text/plain") })
        }
    }

    @Test func redirectsAreNotFollowed() async throws {
        let asked = Collected<Asked>()
        try await withEndpoint { request in
            asked.add(request)
            return Response(status: .found, headers: [.location: "/elsewhere"])
        } _: { url in
            let response = try await Self.send(url).get()
            #expect(response.status == 302)
        }
        #expect(asked.all.count == 1)
    }

    @Test func whoDoesNotAnswerTimesOut() async throws {
        try await withEndpoint { _ in
            try? await Task.sleep(for: .milliseconds(500))
            return Response(status: .ok)
        } _: { url in
            guard case .failure(.timeout) = try await Self.send(url, timeout: .milliseconds(50)) else {
                Issue.record("no timeout")
                return
            }
        }
    }

    @Test func aLongAnswerIsNotReadToItsEnd() async throws {
        try await withEndpoint { _ in
            Response(status: .ok, body: .init(byteBuffer: ByteBuffer(repeating: 0, count: 1_001)))
        } _: { url in
            guard case .failure(.responseTooLarge(limit: 1_000)) = try await Self.send(url) else {
                Issue.record("it was read")
                return
            }
            let response = try await Self.send(url, limit: 1_001).get()
            #expect(response.body.count == 1_001)
        }
    }

    @Test func noConnectionIsSaidSoWithoutThePath() async throws {
        guard case .failure(.connection(let text)) = try await Self.send("http://127.0.0.1:1/secret") else {
            Issue.record("it connected")
            return
        }
        #expect(text == "no connection to http://127.0.0.1:1: connection refused")
    }

    /// `localhost` stands for any name whose DNS answers with an address of the local network.
    @Test(arguments: ["localhost", "127.0.0.1"])
    func aNameWithALocalAddressIsNotReachedByWhatMayReachThePublicOnly(_ name: String) async throws {
        let asked = Collected<Asked>()
        try await withEndpoint { request in
            asked.add(request)
            return Response(status: .ok)
        } _: { url in
            let url = url.replacing("127.0.0.1", with: name)
            #expect(try await Self.send(url).get().status == 200)
            #expect(asked.all.count == 1)
            let refused = try await Self.send(url, reach: .publicOnly)
            guard case .failure(.localAddress(let host, let address)) = refused else {
                Issue.record("\(refused)")
                return
            }
            #expect(host.hasPrefix("http://\(name):"))
            #expect(address == "127.0.0.1" || address == "::1")
        }
        #expect(asked.all.count == 1, "the second request was not written")
    }

    /// What one may reach, another doesn't get to through its open connection.
    @Test func aConnectionThatIsOpenIsNotSharedWithWhatMayReachThePublicOnly() async throws {
        let sender = HTTPClientSender()
        try await withEndpoint { _ in
            Response(status: .ok)
        } _: { url in
            for reach in [OutboundRequest.Reach.anywhere, .publicOnly, .anywhere] {
                let request = OutboundRequest(
                    method: "GET", url: url, timeout: .seconds(20), responseBytesMax: 10, reach: reach)
                do throws(OutboundFailure) {
                    _ = try await sender.send(request)
                    #expect(reach == .anywhere)
                } catch {
                    #expect(reach == .publicOnly)
                    #expect(
                        error
                            == .localAddress(
                                host: String(url.split(separator: "/").prefix(2).joined(separator: "//")),
                                address: "127.0.0.1"))
                }
            }
        }
        try await sender.shutdown()
    }

    @Test(arguments: ["ftp://127.0.0.1/", "nonsense", "http://", ""])
    func whatIsNoURLIsRefused(_ url: String) async throws {
        guard case .failure(.badRequest) = try await Self.send(url) else {
            Issue.record("it was sent")
            return
        }
    }
}
