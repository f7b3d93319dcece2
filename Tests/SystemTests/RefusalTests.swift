// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// What the running program says of input that it can't take, and that nothing is lost by it.
struct RefusalTests {
    private static let routes = """
        topic orders { retain 30d }
        retry once { attempts 2; backoff 10ms; timeout 5s }
        subscriber thrower { from orders; run thrower; retry once }
        """
    private static let thrower = """
        return function(event, ctx)
          local order = event.data.order
          return order.id ~= nil
        end
        """

    private struct Refused: Sendable {
        var topic = "orders"
        var body: [UInt8]
        var type = "application/json"
        var status: Int
        var says: String
    }

    private static let refusals = [
        Refused(
            body: Array(#"{"order": }"#.utf8), status: 400, says: "not valid JSON at byte 10: a value is expected here"),
        Refused(
            topic: "ordres", body: Array("{}".utf8), status: 404,
            says: #"no topic \"ordres\"; declare it in routes.conf: topic ordres { }"#),
        Refused(
            body: Array(#"{"a":""#.utf8) + [0xFF, 0xFE] + Array(#""}"#.utf8), status: 400, says: "UTF-8"),
        Refused(
            body: Array(#"{"specversion":"1.0","id":"1","source":"/shop"}"#.utf8), type: "application/cloudevents+json",
            status: 400, says: "type"),
        Refused(
            body: Array(("{\"order_id\":1}\n{\"order_id\":\n").utf8), type: "application/x-ndjson", status: 400,
            says: "line 2"),
        Refused(
            body: Array(#"{"note":""#.utf8) + [UInt8](repeating: UInt8(ascii: "x"), count: 9 << 20)
                + Array(#""}"#.utf8),
            status: 413, says: "limit"),
    ]

    @Test func badEventsAreRefusedInWordsAndNothingOfThemIsKept() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: ["thrower": Self.thrower])
        try await server.start()
        for refused in Self.refusals {
            let answer = try await Loopback.send(
                "POST", server.port, "/v1/topics/\(refused.topic)/events", body: refused.body, type: refused.type)
            #expect(answer.status == refused.status, "\(answer.text)")
            #expect(answer.head.lowercased().contains("application/problem+json"))
            #expect(answer.text.contains(refused.says), "\(answer.text)")
        }
        let topics = try await server.get("/v1/status").object["topics"] as? [[String: Any]] ?? []
        #expect(topics.first { $0["name"] as? String == "orders" }?["end"] as? Int == 0)
    }

    @Test func theCommandShowsTheServersWords() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: ["thrower": Self.thrower])
        try await server.start()
        try Data("{\"n\":1}\n{\"n\":\n".utf8).write(to: server.folder.appendingPathComponent("bad.ndjson"))
        let refused = try await server.command("publish", "orders", "bad.ndjson")
        #expect(refused.code == 2)
        #expect(refused.errors.contains("refused:") && refused.errors.contains("line 2"), "\(refused.errors)")
        let missing = try await server.command("publish", "orders", "none.json")
        #expect(missing.code == 2)
        #expect(missing.errors.contains("can't read none.json"), "\(missing.errors)")
        let unknown = try await server.command("pull", "nobody")
        #expect(unknown.code == 2)
        #expect(unknown.errors.contains(#"no subscriber "nobody" in routes.conf"#), "\(unknown.errors)")
    }

    @Test func aPluginThatThrowsEndsAsADeadLetterWithItsLine() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: ["thrower": Self.thrower])
        try await server.start()
        _ = try await server.post("/v1/topics/orders/events", #"{"n":1}"#)
        try await eventually("it is given up on") { try await server.subscriber("thrower")["dead"] as? Int == 1 }
        let dead = try await server.command("dead", "list")
        #expect(
            dead.output.contains(
                "gave up after 2 attempts: Plugins/thrower.lua:3: attempt to index a nil value (local 'order')"),
            "\(dead.output)")
        let shown = try await server.command("dead", "show", "1")
        #expect(shown.output.contains(#""n" : 1"#) && shown.output.contains("  2. "), "\(shown.output)")
    }

    @Test func aCommandWithoutAServerSaysHowToGetOne() async throws {
        let server = try RunningServer(routes: Self.routes)
        let failed = try await server.command("status")
        #expect(failed.code == 1)
        #expect(failed.errors.contains("(connection refused); "), "\(failed.errors)")
        #expect(failed.errors.contains("is the server running? `fairlead serve` starts it"), "\(failed.errors)")
    }
}
