// SPDX-License-Identifier: Apache-2.0

import Foundation
import Gateway
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import Routes
import Testing

@testable import Broker

/// What the dashboard is made of and asks for.
struct DashboardTests {
    private static func call(
        _ method: HTTPRequest.Method, _ uri: String, _ headers: HTTPFields = [:],
        gateway one: Gateway = gateway(FakeBroker())
    ) async throws -> (status: HTTPResponse.Status, headers: HTTPFields, body: String) {
        try await one.application.test(.router) { client in
            let response = try await client.execute(uri: uri, method: method, headers: headers, body: nil)
            return (response.status, response.headers, String(buffer: response.body))
        }
    }

    private static let browser: HTTPFields = [.accept: "text/html,application/xhtml+xml,*/*;q=0.8"]

    @Test func aBrowserGetsAPageThatRunsOnlyItsOwnFiles() async throws {
        let page = try await Self.call(.get, "/", Self.browser)
        #expect(page.status == .ok)
        #expect(page.headers[.contentType] == "text/html; charset=utf-8")
        let policy = try #require(page.headers[.contentSecurityPolicy])
        #expect(policy.contains("default-src 'none'; script-src 'self'; style-src 'self'"))
        #expect(!policy.contains("unsafe") && !policy.contains("http"))
        #expect(page.headers[.xContentTypeOptions] == "nosniff")
        #expect(page.headers[HTTPField.Name("Referrer-Policy")!] == "no-referrer")
        #expect(page.headers[.setCookie] == nil)
        #expect(try await Self.call(.get, "/", [.accept: "application/json"]).body.hasPrefix(#"{"name":"fairlead""#))
    }

    @Test func everyFileThatAnyOfThemNamesIsServedAndUnchangedOnesAreNotSentAgain() async throws {
        var seen: Set<String> = []
        var open = ["/"]
        while let path = open.popLast() {
            guard seen.insert(path).inserted else { continue }
            let file = try await Self.call(.get, path, path == "/" ? Self.browser : [:])
            #expect(file.status == .ok, "\(path)")
            open += file.body.matches(of: #/"(\/dashboard\/[a-z.]+)"/#).map { String($0.1) }
            for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://"] {
                #expect(!file.body.contains(word), "\(path) has \(word)")
            }
            let tag = try #require(file.headers[.eTag])
            var again = path == "/" ? Self.browser : [:]
            again[.ifNoneMatch] = "\"other\", \(tag)"
            let second = try await Self.call(.get, path, again)
            #expect(second.status == .notModified && second.body.isEmpty, "\(path)")
            #expect(second.headers[.contentSecurityPolicy] != nil)
        }
        #expect(seen.count == 15, "\(seen.sorted())")
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../Sources/Gateway/Dashboard")
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(Set(files) == Set(seen.map { $0 == "/" ? "index.html" : String($0.dropFirst("/dashboard/".count)) }))
        let unknown = try await Self.call(.get, "/dashboard/..%2Fsecret")
        #expect(unknown.status == .notFound)
        #expect(unknown.body.contains("urn:fairlead:problem:not-found"))
    }

    @Test func pagesOfOtherSitesChangeNothing() async throws {
        func pause(_ headers: HTTPFields) async throws -> HTTPResponse.Status {
            try await Self.call(.post, "/v1/subscribers/history/pause", headers).status
        }
        let site = HTTPField.Name("Sec-Fetch-Site")!
        for origin in ["https://evil.example", "null", "http://localhost:9090", "http://localhost.evil.example"] {
            #expect(try await pause([.origin: origin]) == .forbidden, "\(origin)")
        }
        #expect(try await pause([site: "cross-site"]) == .forbidden)
        // Its own page, and programs that are no browser.
        #expect(try await pause([.origin: "http://localhost", site: "same-origin"]) == .noContent)
        #expect(try await pause([:]) == .noContent)
        let refused = try await Self.call(.post, "/v1/reload", [.origin: "https://evil.example"])
        #expect(refused.body.contains("urn:fairlead:problem:cross-site"), "\(refused.body)")
        // Reading is harmless: the other page isn't shown the answer.
        #expect(try await Self.call(.get, "/v1/status", [.origin: "https://evil.example"]).status == .ok)
    }

    @Test func theRoutingIsAGraphWithoutSecrets() async throws {
        let source = """
            topic orders { retain 30d; key data.order_id }
            topic orders.eu
            topic stock
            subscriber counts {
              from orders, orders.*; where data.total > 5; run counts; allow publish stock; ordered
            }
            subscriber posts {
              from stock; push "https://shop.example/hook?key=hidden#part" { sign secret("KEY") }
              on dead publish orders
            }
            """
        let table = try #require(
            RouteCompiler.compile("routes.conf", from: OneSource(text: source), strictEnvironment: true).table)
        let one = Gateway(
            broker: FakeBroker(), settings: .init(port: 0), prometheus: PrometheusMetrics(), logger: silent,
            clock: FixedClock(), reload: { _ in .applied(generation: 1, changes: []) },
            routes: { RunningRoutes(generation: 6, table: table) })
        let body = try await Self.call(.get, "/v1/routing", gateway: one).body
        #expect(
            body.hasPrefix(#"{"generation":6,"topics":[{"name":"orders","retain":"30d","key":"data.order_id"}"#),
            "\(body)")
        #expect(body.contains(#"{"name":"$dead","system":true"#), "\(body)")
        #expect(
            body.contains(
                #""from":["orders","orders.*"],"topics":["orders","orders.eu"],"where":"data.total > 5","method":"run","#
                    + #""target":"counts","ordered":true"#), "\(body)")
        #expect(body.contains(#""publishes":["stock"]"#) && body.contains(#""publishes":["orders"]"#), "\(body)")
        #expect(body.contains(#""target":"https://shop.example/hook""#), "\(body)")
        #expect(!body.contains("hidden") && !body.contains("whsec"), "\(body)")
        #expect(try await Self.call(.get, "/v1/routing").status == .serviceUnavailable)
    }

    @Test func aDifferenceNamesBothGenerations() async throws {
        let one = Gateway(
            broker: FakeBroker(), settings: .init(port: 0), prometheus: PrometheusMetrics(), logger: silent,
            clock: FixedClock(), reload: { _ in .applied(generation: 1, changes: []) },
            difference: { number, against in
                guard number == 3 else { return nil }
                var difference = GenerationDifference(number: number, against: against ?? 2)
                difference.files = [.init(path: "routes.conf", change: .changed, diff: "-a\n+b\n")]
                return difference
            })
        #expect(
            try await Self.call(.get, "/v1/generations/3/diff", gateway: one).body
                == #"{"number":3,"against":2,"files":[{"path":"routes.conf","change":"changed","diff":"-a\n+b\n"}]}"#)
        #expect(
            try await Self.call(.get, "/v1/generations/3/diff?against=1", gateway: one).body.contains(#""against":1"#))
        #expect(try await Self.call(.get, "/v1/generations/4/diff", gateway: one).status == .notFound)
        #expect(try await Self.call(.get, "/v1/generations/x/diff", gateway: one).status == .badRequest)
        #expect(try await Self.call(.get, "/v1/generations/3/diff?against=-1", gateway: one).status == .badRequest)
    }
}

private struct OneSource: RouteSources {
    var text: String

    func bytes(of path: String) throws -> [UInt8] { Array(text.utf8) }
    func files(matching pattern: String) throws -> [String] { [] }
    func environment(_ name: String) -> String? { nil }
    func secret(_ name: String) throws -> String? { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }
}
