// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// What became of an event, on the real program.
struct WhyTests {
    private static func routes(where filter: String) -> String {
        """
        topic orders { retain 30d }
        topic stock
        retry twice { attempts 2; backoff 10ms; timeout 5s }
        subscriber inventory { from orders; run inventory; allow publish stock; start earliest }
        subscriber big { from orders; where \(filter); pull; start earliest }
        subscriber picky { from orders; run picky; retry twice; start earliest }
        """
    }

    private static let plugins = [
        "inventory": #"return function(event, ctx) ctx.publish("stock", { left = 3 }, { type = "stock.low" }) end"#,
        "picky": """
        return function(event, ctx)
          if event.attempt == 1 then error("not yet") end
          return ctx.drop("not for us")
        end
        """,
    ]

    private func publish(_ server: RunningServer, _ id: String, total: Int) async throws {
        _ = try await server.post(
            "/v1/topics/orders/events",
            #"{"specversion":"1.0","id":"\#(id)","source":"/shop","type":"order.placed","data":{"total":\#(total)}}"#,
            type: "application/cloudevents+json")
    }

    @Test(.timeLimit(.minutes(2)))
    func anEventsWholeStoryIsTold() async throws {
        let server = try RunningServer(routes: Self.routes(where: "data.total >= 100"), plugins: Self.plugins)
        try await server.start()
        try await publish(server, "o-1", total: 50)
        try await eventually("both plugins are done") {
            let inventory = try await server.subscriber("inventory")["acked"] as? Int
            let picky = try await server.subscriber("picky")["dropped"] as? Int
            return inventory == 1 && picky == 1
        }
        let told = try await server.command("why", "o-1")
        #expect(told.code == 0, "\(told.errors)")
        let text = told.output
        #expect(text.hasPrefix("o-1 (order.placed) from /shop: orders offset 0, received "), "\(text)")
        #expect(text.contains(", generation 1\n"), "\(text)")
        #expect(text.contains("inventory: acknowledged\n  1. "), "\(text)")
        #expect(text.contains(" to stock\n"), "what it published: \(text)")
        #expect(text.contains("big: not delivered\n  where data.total >= 100: false\n"), "\(text)")
        #expect(text.contains("false  data.total >= 100  (data.total = 50)"), "\(text)")
        #expect(text.contains("picky: dropped\n  1. "), "\(text)")
        #expect(text.contains("picky.lua:2: not yet"), "\(text)")
        #expect(text.contains("2. ") && text.contains("drop after") && text.contains(": not for us"), "\(text)")

        let one = try await server.command("why", "o-1", "big")
        #expect(!one.output.contains("picky"), "\(one.output)")
        let nobody = try await server.command("why", "o-1", "nobody")
        #expect(nobody.code == 2 && nobody.errors.contains("there are inventory, big, picky"), "\(nobody.errors)")
        let unknown = try await server.command("why", "o-2")
        #expect(
            unknown.code == 2 && unknown.errors.contains(#"no event with the id "o-2" is kept"#), "\(unknown.errors)")
    }

    @Test(.timeLimit(.minutes(2)))
    func negativesAreToldByTheConfigurationThatRoutedTheEvent() async throws {
        let server = try RunningServer(routes: Self.routes(where: "data.total >= 100"), plugins: Self.plugins)
        try await server.start()
        try await publish(server, "o-1", total: 50)
        try server.write(routes: Self.routes(where: "data.total >= 10"))
        #expect(try await server.command("reload").code == 0)
        try await publish(server, "o-2", total: 50)
        server.killHard()
        try await server.start()
        let before = try await server.command("why", "o-1", "big")
        #expect(before.output.contains(", generation 1\n"), "\(before.output)\(before.errors)")
        #expect(before.output.contains("where data.total >= 100: false"), "\(before.output)")
        let after = try await server.command("why", "o-2", "big")
        #expect(after.output.contains(", generation 2\n"), "\(after.output)\(after.errors)")
        #expect(after.output.contains("big: waiting\n  where data.total >= 10: true"), "\(after.output)")
        _ = try await server.command("pull", "big", "--max", "10")
        try await eventually("it is told as acknowledged") {
            try await server.command("why", "o-2", "big").output.contains("big: acknowledged")
        }
        let generations = try await server.command("generations")
        #expect(generations.output.contains("big changed"), "\(generations.output)")
        #expect(generations.output.split(separator: "\n").count == 4, "\(generations.output)")
        let event = try await server.get("/v1/events/o-2")
        #expect(event.text.contains(#""id":"o-2","source":"/shop""#), "\(event.text)")
    }

    @Test(.timeLimit(.minutes(2)))
    func eachAttemptSaysWhichVersionOfThePluginMadeIt() async throws {
        let failing = #"return { version = "1.2.0", handle = function() return nil, "not yet" end }"#
        let server = try RunningServer(
            routes: """
                topic orders { retain 30d }
                retry often { attempts 10000; backoff 10ms; timeout 5s }
                subscriber picky { from orders; run picky; retry often; start earliest }
                subscriber plain { from orders; run plain; start earliest }
                """,
            plugins: ["picky": failing, "plain": "return function() end"])
        try await server.start()
        try await publish(server, "o-1", total: 50)
        try await eventually("it has failed") { try await server.subscriber("picky")["retried"] as? Int ?? 0 > 0 }
        try server.write(plugin: "picky", #"return { version = "1.3.0", handle = function() end }"#)
        let reload = try await server.command("reload")
        #expect(reload.code == 0, "\(reload.errors)")
        try await eventually("the new version has taken it") {
            try await server.subscriber("picky")["acked"] as? Int == 1
        }
        for isRestarted in [false, true] {
            if isRestarted {
                server.signal(SIGTERM)
                server.process.waitUntilExit()
                try await server.start()
            }
            let told = try await server.command("why", "o-1")
            let lines = told.output.split(separator: "\n")
            #expect(
                lines.contains { $0.contains("retry after") && $0.contains("generation 1, version 1.2.0: not yet") },
                "\(told.output)\(told.errors)")
            #expect(
                lines.contains { $0.contains("ack after") && $0.hasSuffix("generation 2, version 1.3.0") },
                "\(told.output)")
            #expect(lines.contains { $0.contains("ack after") && $0.hasSuffix("generation 1") }, "\(told.output)")
            let versioned = #""version":"1.3.0","subscribers":["picky"]"#
            #expect(try await server.get("/v1/plugins").text.contains(versioned))
            let status = try await server.command("status", "--json")
            #expect(status.output.contains(versioned), "\(status.output)")
            let generations = try await server.command("generations")
            #expect(
                generations.output.contains("picky 1.2.0") && generations.output.contains("picky 1.3.0"),
                "\(generations.output)")
            let listed = try await server.get("/v1/generations")
            #expect(listed.text.contains(#""versions":[{"subscriber":"picky","version":"1.2.0"}]"#), "\(listed.text)")
        }
        try server.write(plugin: "picky", #"return { version = {}, handle = function() end }"#)
        let refused = try await server.command("check")
        #expect(refused.errors.contains("version is a table, not a string"), "\(refused.errors)")
    }
}
