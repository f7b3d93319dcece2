// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Reload on the real program: all or nothing, and whoever asked is told.
struct ReloadTests {
    static let routes = """
        topic orders { retain 30d }
        subscriber first { from orders; run first; start earliest }
        """
    static let plugin = "return function(event, ctx) end"

    @Test func aPluginDroppedInAndAHangupStartANewSubscriber() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: ["first": Self.plugin])
        try await server.start()
        _ = try await server.post("/v1/topics/orders/events", #"{"n":1}"#)
        try server.write(plugin: "second", Self.plugin)
        try server.write(routes: Self.routes + "\nsubscriber second { from orders; run second; start earliest }")
        server.signal(SIGHUP)
        try await eventually("the new subscriber has had what was there before it") {
            (try? await server.subscriber("second")["acked"] as? Int) == 1
        }
        #expect(try await server.get("/v1/status").object["generation"] as? Int == 2)
        #expect(try await server.subscriber("first")["acked"] as? Int == 1, "an unchanged subscriber goes on")
    }

    @Test func aBrokenConfigurationIsRefusedAndTheOldOneGoesOn() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: ["first": Self.plugin])
        try await server.start()
        try server.write(routes: Self.routes.replacing("run first", with: "rum first"))
        let refused = try await server.command("reload")
        #expect(refused.code == 2)
        #expect(refused.errors.contains(#"unknown keyword "rum""#), "\(refused.errors)")
        #expect(refused.errors.contains("routes.conf:3:"))
        #expect(refused.errors.contains(#"did you mean "run"?"#))
        #expect(refused.errors.contains("refused; everything is as it was"))
        _ = try await server.post("/v1/topics/orders/events", #"{"n":1}"#)
        try await eventually("the old generation delivers") {
            try await server.subscriber("first")["acked"] as? Int == 1
        }
    }

    @Test func aPluginWithASyntaxErrorIsRefusedWithItsLine() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: ["first": Self.plugin])
        try await server.start()
        try server.write(plugin: "first", "return function(event, ctx)\n  local x = = 1\nend")
        let refused = try await server.command("reload")
        #expect(refused.code == 2)
        #expect(refused.errors.contains("Plugins/first.lua:2: unexpected symbol near '='"), "\(refused.errors)")
        #expect(refused.errors.contains("routes.conf:3:1: subscriber \"first\""))
    }

    @Test func whatTakesARestartIsNamedAndNothingIsApplied() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: ["first": Self.plugin])
        try await server.start()
        try server.write(routes: Self.routes + "\ndata \"elsewhere\"\ntopic more { retain 1d }")
        let refused = try await server.command("reload")
        #expect(refused.code == 3)
        #expect(refused.errors.contains("data"), "\(refused.errors)")
        #expect(try await server.post("/v1/topics/more/events", "{}").status == 404)
    }

    /// "removed" and "added" would make whoever renamed it look for what it had.
    @Test func aSubscriberThatIsRenamedIsSaidToBe() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: ["first": Self.plugin])
        try await server.start()
        try server.write(
            routes: """
                topic orders { retain 30d }
                subscriber other { from orders; run first; was first }
                subscriber new { from orders; pull }
                """)
        let answer = try await server.post("/v1/reload", "{}")
        #expect(try answer.object["changes"] as? [String] == ["first is other now", "new added"], "\(answer.text)")
    }

    @Test func aPlanSaysWhatAReloadWouldDoAndDoesNothing() async throws {
        let server = try RunningServer(
            routes: Self.routes + "\nsubscriber gone { from orders; pull }", plugins: ["first": Self.plugin])
        try await server.start()
        for number in 1...5 { _ = try await server.post("/v1/topics/orders/events", #"{"n":\#(number)}"#) }
        let same = try await server.command("plan")
        #expect(same.output == "nothing would change; generation 1 is running\n2 subscribers unchanged\n")

        try server.write(
            routes: """
                topic orders { retain 30d }
                topic more { retain 1d }
                subscriber first { from orders; where data.n > 3; run first; start earliest }
                subscriber second { from orders; run first; start earliest }
                """)
        let plan = try await server.command("plan")
        #expect(
            plan.output == """
                a reload of generation 1 would change:
                  + second
                      starts at the first event there is
                      takes 5 of 5 retained events
                  ~ first
                      where added: data.n > 3
                      takes 2 of 5 retained events, 5 before
                  - gone
                      its position stays in the ledger; a subscriber with `was gone` takes it over
                  + topic more
                0 subscribers unchanged

                """, "\(plan.output)\(plan.errors)")
        try server.write(plugin: "first", "return")
        let refused = try await server.command("plan")
        #expect(refused.code == 2)
        #expect(refused.errors.contains("a reload would be refused"), "\(refused.errors)")
        #expect(try await server.get("/v1/status").object["generation"] as? Int == 1)
    }

    @Test func aHangupStormEndsInTheLastConfiguration() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: ["first": Self.plugin])
        try await server.start()
        for number in 1...20 {
            try server.write(routes: Self.routes + "\ntopic t\(number) { retain 1d }")
            server.signal(SIGHUP)
        }
        try await eventually("the last one is in force") {
            try await server.post("/v1/topics/t20/events", "{}").status == 202
        }
    }

    @Test func aChangedPluginTakesOverWithoutLosingOrRepeatingAnything() async throws {
        let routes = """
            topic orders { retain 30d }
            topic seen { retain 30d }
            subscriber first { from orders; run first; allow publish seen; start earliest }
            """
        func plugin(_ version: Int) -> String {
            """
            return function(event, ctx)
              ctx.publish("seen", { n = event.data.n, version = \(version) }, { type = "seen" })
            end
            """
        }
        let server = try RunningServer(routes: routes, plugins: ["first": plugin(1)])
        try await server.start()
        for number in 1...300 {
            #expect(try await server.post("/v1/topics/orders/events", #"{"n":\#(number)}"#).status == 202)
            if number % 60 == 0 {
                try server.write(plugin: "first", plugin(number / 60 + 1))
                server.signal(SIGHUP)
            }
        }
        try await eventually("all are handled") {
            try await server.get("/v1/topics/seen/events?from=0&max=500&wait=0s").text.split(separator: "\n").count
                >= 300
        }
        let lines = try await server.get("/v1/topics/seen/events?from=0&max=500&wait=0s").text.split(separator: "\n")
        let numbers = try lines.map { line in
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
            return ((object?["event"] as? [String: Any])?["data"] as? [String: Any])?["n"] as? Int ?? 0
        }
        #expect(numbers.sorted() == Array(1...300))
    }
}
