// SPDX-License-Identifier: Apache-2.0

import Gateway
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import Routes
import Testing

struct AccessTests {
    private static func token(_ name: String, _ change: (inout TokenRoute) -> Void) -> TokenRoute {
        var token = TokenRoute(name: name, secret: Secret(name: name.uppercased(), value: "\(name)-token"))
        change(&token)
        return token
    }

    private static let tokens = [
        token("shop") { $0.publish = [TopicPattern("orders"), TopicPattern("stock.*")] },
        token("books") { $0.pull = ["history"] },
        token("eyes") { $0.read = true },
        token("root") { $0.admin = true },
    ]

    private func status(
        _ method: HTTPRequest.Method, _ path: String, _ authorization: String?, tokens: [TokenRoute] = tokens
    ) async throws -> (status: HTTPResponse.Status, headers: HTTPFields, body: String) {
        let access = AccessControl()
        access.use(tokens)
        let gateway = Gateway(
            broker: FakeBroker(), settings: .init(port: 0), prometheus: PrometheusMetrics(), logger: silent,
            clock: FixedClock(), access: access, reload: { _, _ in .applied(generation: 2, changes: []) })
        return try await gateway.application.test(.router) { client in
            var headers: HTTPFields = [.contentType: "application/json"]
            headers[.authorization] = authorization
            let response = try await client.execute(
                uri: path, method: method, headers: headers, body: ByteBuffer(string: "{}"))
            return (response.status, response.headers, String(buffer: response.body))
        }
    }

    @Test(arguments: [
        ("/v1/topics/orders/events", "shop", true), ("/v1/topics/orders/events", "root", false),
        ("/v1/topics/orders/events", "eyes", false), ("/v1/subscribers/history/pull", "books", true),
        ("/v1/subscribers/other/pull", "books", false), ("/v1/subscribers/history/pull", "shop", false),
        ("/v1/reload", "root", true), ("/v1/reload", "eyes", false), ("/v1/dead/redrive", "books", false),
    ])
    func aTokenDoesWhatItsScopesSay(_ path: String, _ name: String, _ isAllowed: Bool) async throws {
        let answer = try await status(.post, path, "Bearer \(name)-token")
        #expect((answer.status == .forbidden) == !isAllowed, "\(answer.body)")
        if !isAllowed { #expect(answer.body.contains(#"token \"\#(name)\" may not"#), "\(answer.body)") }
    }

    @Test(arguments: [("eyes", true), ("root", true), ("shop", false), ("books", false)])
    func readingIsAScopeToo(_ name: String, _ isAllowed: Bool) async throws {
        for path in ["/v1/status", "/metrics", "/v1/dead", "/"] {
            let answer = try await status(.get, path, "bearer \(name)-token")
            #expect(answer.status == (isAllowed ? .ok : .forbidden), "\(path) \(answer.body)")
        }
    }

    @Test(arguments: [nil, "Bearer", "Bearer nobody", "Basic cm9vdDpyb290", "Bearer root-token2", "Bearer "])
    func withoutATokenNothingIsDone(_ authorization: String?) async throws {
        let answer = try await status(.get, "/v1/status", authorization)
        #expect(answer.status == .unauthorized)
        #expect(answer.headers[.wwwAuthenticate] == "Bearer")
        #expect(answer.body.contains("urn:fairlead:problem:unauthorized"))
        #expect(!answer.body.contains("root-token"))
    }

    @Test func probesNeedNoTokenAndWithoutTokensEverybodyMay() async throws {
        #expect(try await status(.get, "/healthz", nil).status == .ok)
        #expect(try await status(.get, "/readyz", nil).status == .ok)
        #expect(try await status(.get, "/v1/status", nil, tokens: []).status == .ok)
        #expect(try await status(.post, "/v1/reload", nil, tokens: []).status == .ok)
    }
}
