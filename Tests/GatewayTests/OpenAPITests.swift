// SPDX-License-Identifier: Apache-2.0

import Events
import Gateway
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import Routes
import Testing

struct OpenAPITests {
    private static func members(_ value: JSONValue?) throws -> [String: JSONValue] {
        guard case .object(let members)? = value else {
            Issue.record("an object is expected")
            return [:]
        }
        return members
    }

    private static func text(_ value: JSONValue?) -> String {
        if case .string(let text)? = value { text } else { "" }
    }

    /// `GET /v1/topics` and the operation.
    private static func operations(_ document: JSONValue) throws -> [String: [String: JSONValue]] {
        var all: [String: [String: JSONValue]] = [:]
        for (path, methods) in try members(members(document)["paths"]) {
            for (method, operation) in try members(methods) {
                all["\(method.uppercased()) \(path)"] = try members(operation)
            }
        }
        return all
    }

    private static func described() throws -> JSONValue {
        try JSONValue(text: String(decoding: OpenAPI.document(version: "1.2.3"), as: UTF8.self))
    }

    @Test func everyEndpointIsDescribedAndNoneMore() async throws {
        let front = try await RoutesTests.call(FakeBroker(), .get, "/")
        guard case .array(let list)? = try Self.members(JSONValue(text: front.body))["endpoints"] else {
            Issue.record("the front page lists no endpoints")
            return
        }
        let served = Set(list.map(Self.text)).union(["GET /"])
        let described = Set(try Self.operations(Self.described()).keys)
        #expect(served.subtracting(described) == [], "endpoints that OpenAPI+operations.swift doesn't have")
        #expect(described.subtracting(served) == [], "described, but not served")
    }

    @Test func theServerGivesTheDescription() async throws {
        let answer = try await RoutesTests.call(FakeBroker(), .get, "/v1/openapi.json")
        #expect(answer.headers[.contentType] == "application/json")
        #expect(try JSONValue(text: answer.body) == Self.described())
    }

    /// What a token is asked for, and what repeats its answer, is as the description says.
    @Test func tokensAndIdempotencyKeysAreDescribedAsTheyAre() async throws {
        let access = AccessControl()
        var token = TokenRoute(name: "root", secret: Secret(name: "ROOT", value: "root"))
        token.admin = true
        access.use([token])
        let gateway = Gateway(
            broker: FakeBroker(), settings: .init(port: 0), prometheus: PrometheusMetrics(), logger: silent,
            clock: FixedClock(), access: access, reload: { _, _ in .applied(generation: 2, changes: []) })
        let operations = try Self.operations(Self.described())
        try await gateway.application.test(.router) { client in
            for (name, operation) in operations {
                let parts = name.split(separator: " ")
                let method = try #require(HTTPRequest.Method(String(parts[0])))
                let path = String(parts[1].filter { $0 != "{" && $0 != "}" })
                let bare = try await client.execute(uri: path, method: method)
                #expect((bare.status == .unauthorized) == (operation["security"] == nil), "\(name) \(bare.status)")
                // The answer to /v1/live has no end.
                if path == "/v1/live" { continue }
                // A key that is too long is noticed only where keys count.
                let long = HTTPFields([
                    .init(name: .authorization, value: "Bearer root"),
                    .init(name: .init("Idempotency-Key")!, value: String(repeating: "k", count: 256)),
                ])
                let keyed = try await client.execute(uri: path, method: method, headers: long)
                var counts = false
                if case .array(let parameters)? = operation["parameters"] {
                    counts = try parameters.contains { try Self.text(Self.members($0)["name"]) == "Idempotency-Key" }
                }
                #expect(String(buffer: keyed.body).contains("the Idempotency-Key has 256 bytes") == counts, "\(name)")
            }
        }
    }

    @Test func everyReferenceLeadsSomewhere() throws {
        let document = try Self.described()
        let schemas = try Self.members(Self.members(Self.members(document)["components"])["schemas"])
        func walk(_ value: JSONValue) throws {
            switch value {
            case .object(let members):
                if case .string(let reference)? = members["$ref"], reference.contains("/schemas/") {
                    #expect(schemas[String(reference.split(separator: "/").last ?? "")] != nil, "\(reference)")
                }
                for member in members.values { try walk(member) }
            case .array(let elements): for element in elements { try walk(element) }
            default: break
            }
        }
        try walk(document)
    }
}
