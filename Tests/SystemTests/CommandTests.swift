// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Commands that need no server.
struct CommandTests {
    private static let untidy = "topic orders {retain 5d}\nsubscriber a{from orders\npull}\n"

    private func folder(_ routes: String, plugins: [String: String] = [:]) throws -> RunningServer {
        let server = try RunningServer(routes: "", plugins: plugins)
        try Data(routes.utf8).write(to: server.folder.appendingPathComponent("routes.conf"))
        return server
    }

    private func routes(of server: RunningServer) throws -> String {
        try String(contentsOf: server.folder.appendingPathComponent("routes.conf"), encoding: .utf8)
    }

    @Test func fmtLaysOutOnceAndChecksAndShowsFirst() async throws {
        let server = try folder(Self.untidy)
        let check = try await server.command("fmt", "--check")
        #expect(check.code == 1 && check.output == "routes.conf would be laid out otherwise\n", "\(check.errors)")
        let diff = try await server.command("fmt", "--diff")
        #expect(diff.code == 1 && diff.output.contains("+topic orders { retain 5d }"), "\(diff.output)")
        #expect(try routes(of: server) == Self.untidy)
        let done = try await server.command("fmt")
        #expect(done.code == 0 && done.output == "routes.conf laid out\n")
        #expect(try routes(of: server).hasPrefix("topic orders { retain 5d }\nsubscriber a {\n  from orders\n"))
        let again = try await server.command("fmt", "--check")
        #expect(again.code == 0 && again.output.isEmpty)
    }

    @Test func fmtLaysOutWhatCheckRefusesAndNamesWhatItCanNotRead() async throws {
        let server = try folder("topic orders {retan 5d}\n")
        #expect(try await server.command("fmt").code == 0)
        #expect(try routes(of: server) == "topic orders { retan 5d }\n")
        let missing = try await server.command("fmt", "nowhere.conf")
        #expect(missing.code == 2 && missing.errors.contains("can't read nowhere.conf"), "\(missing.errors)")
    }

    /// It was Foundation's description of an error, over several lines.
    @Test func aMissingConfigurationIsOneShortLine() async throws {
        let server = try folder("")
        let missing = try await server.command("check", "nowhere.conf")
        #expect(missing.code == 2)
        #expect(
            missing.errors.hasPrefix("error[R001] can't read nowhere.conf: No such file or directory\n"),
            "\(missing.errors)")
    }

    @Test func checkSpeaksJSONToEditors() async throws {
        let server = try folder(
            "topic orders { retain 5 }\nsubscriber a { from orders; run p { x 1 } }\n",
            plugins: ["p": "return { config = {}, handle = function() end }"])
        let refused = try await server.command("check", "--json")
        #expect(refused.code == 2 && refused.errors.isEmpty)
        let first = try #require(
            try JSONSerialization.jsonObject(with: Data(refused.output.split(separator: "\n")[0].utf8))
                as? [String: Any])
        #expect(first["code"] as? String == "R021" && first["line"] as? Int == 1 && first["column"] as? Int == 23)

        try Data("topic orders { retain 5d }\nsubscriber a { from orders; run p { x 1 } }\n".utf8)
            .write(to: server.folder.appendingPathComponent("routes.conf"))
        let plugin = try await server.command("check", "--json")
        #expect(plugin.code == 2)
        #expect(
            plugin.output.hasPrefix(
                #"{"file":"routes.conf","line":2,"column":37,"endColumn":38,"severity":"error","code":"P001""#),
            "\(plugin.output)")
    }

    @Test func testsAreReportedAsTAP() async throws {
        let server = try folder(
            """
            topic orders
            subscriber a { from orders; run p }
            test "it #1 gets there" { publish orders { type "x" }; expect a }
            test "it does not" { publish orders { type "x" }; reject a }
            """,
            plugins: [
                "p": "return function() return true end",
                "p_test": """
                local t = require "fairlead.test"
                t.test("acks", function() t.eq(t.load("p"):handle(t.event {}).outcome, "ack") end)
                """,
            ])
        let results = try await server.command("test", "--tap")
        #expect(results.code == 1)
        let lines = results.output.split(separator: "\n")
        #expect(lines.first == "TAP version 13" && lines.last == "1..3", "\(results.output)")
        #expect(lines.contains("ok 1 - it \\#1 gets there") && lines.contains("not ok 2 - it does not"))
        #expect(lines.contains("ok 3 - Plugins/p_test.lua: acks"))
    }

    @Test func explainSaysWhoGetsAnEventAndWhy() async throws {
        let server = try folder(
            """
            topic orders { key data.id }
            retry patient { attempts 20 }
            subscriber big { from orders; where type = 'order' and data.total > 10; pull; retry patient }
            subscriber small { from orders; where data.total < 10; pull }
            """)
        try Data(#"{"specversion":"1.0","id":"1","source":"/s","type":"order","data":{"id":"k","total":12}}"#.utf8)
            .write(to: server.folder.appendingPathComponent("event.json"))
        let said = try await server.command("explain", "orders", "event.json")
        #expect(said.code == 0)
        #expect(said.output.hasPrefix("event order on topic orders, key \"k\"\n"), "\(said.output)")
        #expect(said.output.contains("big (routes.conf:3:1): kept until pulled"))
        #expect(said.output.contains("small (routes.conf:4:1): not delivered: `where` is false"))
        #expect(said.output.contains("attempts 20") && said.output.contains("retry patient, routes.conf:2:17"))
        let bad = try await server.command("explain", "orders", "routes.conf")
        #expect(bad.code == 2 && bad.errors.contains("not valid JSON"), "\(bad.errors)")
    }
}
