// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// A reload that breaks a subscriber, on the real program.
@Suite(.timeLimit(.minutes(4)))
struct BadReloadTests {
    /// Two attempts: without a refund the bad plugin would make dead letters of all that it fails.
    private static func routes(_ more: String = "", backoff: String = "20ms") -> String {
        """
        topic orders { retain 30d }
        subscriber slack { from orders; run slack; retry { attempts 2; backoff \(backoff); timeout 5s }; \(more) }
        subscriber steady { from orders; run steady }
        subscriber oncall { from $alert; run oncall }
        """
    }

    private static let good = """
        return function(event, ctx) ctx.state.put(("n:%03d"):format(event.data.n), event.attempt) end
        """

    private static let bad = """
        local function total(order)
          return order.lines.total
        end
        return function(event, ctx) ctx.state.put("never", total(event.data)) end
        """

    private static let oncall = """
        return function(event, ctx)
          local d = event.data
          ctx.state.put("alert:" .. event.offset, { type = event.type, subscriber = d.subscriber, finish = d["end"] })
        end
        """

    private func started(_ routes: String = BadReloadTests.routes()) async throws -> RunningServer {
        let server = try RunningServer(
            routes: routes,
            plugins: ["slack": Self.good, "steady": "return function() end", "oncall": Self.oncall])
        try await server.start()
        try await publish(server, 1...3)
        try await acked(server, 3)
        return server
    }

    private func publish(_ server: RunningServer, _ numbers: ClosedRange<Int>) async throws {
        let lines = numbers.map { #"{"n":\#($0)}"# }.joined(separator: "\n")
        let answer = try await server.post("/v1/topics/orders/events", lines, type: "application/x-ndjson")
        #expect(answer.status == 202, "\(answer.text)")
    }

    private func acked(_ server: RunningServer, _ count: Int) async throws {
        try await eventually("\(count) are settled") {
            try await server.subscriber("slack")["acked"] as? Int ?? 0 >= count
        }
    }

    private func badReload(_ server: RunningServer) async throws -> [String: Any] {
        try await server.subscriber("slack")["badReload"] as? [String: Any] ?? [:]
    }

    private func untilEnd(_ end: String, _ server: RunningServer) async throws {
        try await eventually("it is \(end)") { try await self.badReload(server)["end"] as? String == end }
    }

    private func generations(_ server: RunningServer) async throws -> [[String: Any]] {
        try await server.get("/v1/generations").object["generations"] as? [[String: Any]] ?? []
    }

    @Test func aPluginThatThrowsGoesBackByItselfAndEverythingIsSettledOnce() async throws {
        let server = try await started()
        try server.write(plugin: "slack", Self.bad)
        let reload = try await server.command("reload")
        #expect(reload.code == 0 && reload.output.contains("slack changed"), "\(reload.output)\(reload.errors)")
        try await publish(server, 4...103)
        try await untilEnd("undone", server)
        try await acked(server, 103)
        let slack = try await server.subscriber("slack")
        #expect(slack["dead"] as? Int == 0 && slack["backlog"] as? Int == 0 && slack["state"] as? String == "live")

        // Every event was handled once, and none was charged for the bad plugin.
        let state = try await server.get("/v1/subscribers/slack/state?limit=500").text
        for n in 1...103 {
            #expect(state.contains(String(format: #"{"key":"n:%03d","value":1}"#, n)), "event \(n)")
        }
        #expect(!state.contains("never"))
        try await eventually("the neighbour has everything") {
            try await server.subscriber("steady")["acked"] as? Int == 103
        }

        let bad = try await badReload(server)
        #expect(bad["generation"] as? Int == 2 && bad["previous"] as? Int == 1, "\(bad)")
        #expect((bad["trace"] as? String)?.contains("slack.lua:2") == true, "\(bad)")
        let status = try await server.command("status").output
        #expect(status.contains("slack went back to what it was in generation 1"), "\(status)")
        #expect(status.contains("Plugins/slack.lua:2"), "\(status)")
        try await eventually("whoever takes from $alert has the report") {
            try await server.command("state", "list", "oncall").output.contains(#""finish":"undone""#)
        }
        let alerts = try await server.tail("$alert")
        #expect(alerts.count == 1)
        #expect(alerts.first?.data["subscriber"] as? String == "slack")
        #expect((alerts.first?.data["trace"] as? String)?.contains("slack.lua:2") == true)
        #expect((alerts.first?.data["failures"] as? Int ?? 0) >= 3)
        let generations = try await generations(server)
        #expect((generations.first?["changes"] as? [String])?.first?.contains("slack went back") == true)
        #expect((generations.dropFirst().first?["verdict"] as? String)?.contains("slack undone: ") == true)
        #expect(try await server.command("generations").output.contains("slack undone: "))
    }

    @Test func theSameFilesStayUndoneAlsoOverACrashUntilTheyChangeOrAreForced() async throws {
        let server = try await started()
        try server.write(plugin: "slack", Self.bad)
        #expect(try await server.command("reload").code == 0)
        try await publish(server, 4...6)
        try await untilEnd("undone", server)
        try await acked(server, 6)

        let again = try await server.command("reload")
        #expect(again.code == 0)
        #expect(again.output.contains("slack stays as it was in generation 1"), "\(again.output)")
        #expect(again.output.contains("`fairlead reload --force`"), "\(again.output)")
        let plan = try await server.command("plan")
        #expect(plan.code == 0 && !plan.output.contains("the plugin's files"), "\(plan.output)")
        try await publish(server, 7...9)
        try await acked(server, 9)

        server.killHard()
        try await server.start()
        #expect(server.output.contains("slack stays as it was in generation 1"))
        try await publish(server, 10...12)
        try await acked(server, 3)
        #expect(try await badReload(server)["end"] as? String == "undone")

        let forced = try await server.command("reload", "--force")
        #expect(forced.code == 0 && forced.output.contains("slack changed"), "\(forced.output)")
        #expect(try await badReload(server).isEmpty)
        try await publish(server, 13...15)
        try await untilEnd("undone", server)
        try await acked(server, 6)

        try server.write(plugin: "slack", Self.good + "-- mended\n")
        let mended = try await server.command("reload")
        #expect(mended.output.contains("slack changed") && !mended.output.contains("stays"), "\(mended.output)")
        try await publish(server, 16...18)
        try await acked(server, 9)
        #expect(try await badReload(server).isEmpty)
        let state = try await server.get("/v1/subscribers/slack/state?limit=500").text
        for n in 1...18 { #expect(state.contains(String(format: #"{"key":"n:%03d","value":1}"#, n)), "event \(n)") }
    }

    @Test func aCrashInTheMiddleOfTheProbationDoesNotLeaveItOnTheBadPlugin() async throws {
        let server = try await started(Self.routes(backoff: "1h"))
        try server.write(plugin: "slack", Self.bad)
        #expect(try await server.command("reload").code == 0)
        try await publish(server, 4...5)
        try await eventually("both have failed") { try await server.subscriber("slack")["retried"] as? Int == 2 }
        server.killHard()
        try await server.start()
        try await publish(server, 6...8)
        try await untilEnd("undone", server)
        try await acked(server, 5)
        let state = try await server.get("/v1/subscribers/slack/state").text
        for n in 1...8 { #expect(state.contains(#"{"key":"n:00\#(n)","value":1}"#), "event \(n) in \(state)") }
    }

    @Test func withPauseItStandsStillAndWithKeepItIsOnlyReported() async throws {
        let server = try await started(Self.routes("on bad_reload pause"))
        try server.write(plugin: "slack", Self.bad)
        #expect(try await server.command("reload").code == 0)
        try await publish(server, 4...20)
        try await untilEnd("paused", server)
        #expect(try await server.subscriber("slack")["state"] as? String == "paused")
        let status = try await server.command("status").output
        #expect(status.contains("slack is paused as a reload made it fail since "), "\(status)")
        let again = try await server.command("reload")
        #expect(
            again.output.contains("slack stays paused, as it failed when generation 2 changed it"), "\(again.output)")
        try server.write(plugin: "slack", Self.good)
        #expect(try await server.command("reload").code == 0)
        try await acked(server, 20)

        try server.write(routes: Self.routes("on bad_reload keep"))
        try server.write(plugin: "slack", Self.bad)
        #expect(try await server.command("reload").code == 0)
        try await publish(server, 21...30)
        try await eventually("all are dead letters, as they would be without a reload") {
            try await server.subscriber("slack")["dead"] as? Int == 10
        }
        try await untilEnd("kept", server)
        let ends = try await server.tail("$alert").compactMap { $0.data["end"] as? String }
        #expect(ends == ["paused", "kept"])
    }

    @Test func aPushThatGoesToTheWrongPlaceGoesBackAndNothingIsADeadLetter() async throws {
        let (right, wrong) = (try Sink(), try Sink())
        wrong.answer("404 Not Found")
        func routes(_ port: Int) -> String {
            """
            topic orders { retain 30d }
            subscriber slack {
              from orders
              push "http://127.0.0.1:\(port)/hook" { breaker off }
              retry { attempts 2; backoff 20ms; timeout 5s }
            }
            """
        }
        let server = try RunningServer(routes: routes(right.port))
        try await server.start()
        try await publish(server, 1...3)
        try await acked(server, 3)
        for (head, first) in [("404 Not Found", 4), ("500 Broken", 11), ("410 Gone", 18)] {
            wrong.answer(head)
            try server.write(routes: routes(wrong.port).replacing("/hook", with: "/hook\(first)"))
            #expect(try await server.command("reload").code == 0)
            #expect(try await badReload(server).isEmpty)
            try await publish(server, first...first + 6)
            try await untilEnd("undone", server)
            try await acked(server, first + 6)
            #expect(try await server.subscriber("slack")["dead"] as? Int == 0, "\(head)")
        }
        #expect(Set(right.requests.map(\.id)).count == 24)
        #expect(right.requests.count == 24, "each was delivered once to where it belongs")
    }

    // MARK: State that was migrated

    private static func migrating(_ handle: String) -> String {
        """
        return {
          state_version = 2,
          handle = function(event, ctx) \(handle) end,
          migrate = function(state, from)
            for _, entry in ipairs(state.list("n:")) do
              state.put("item" .. entry.key:sub(2), { attempt = entry.value })
              state.delete(entry.key)
            end
          end,
        }
        """
    }

    @Test func aMigrationIsUndoneWithThePluginThatBroughtIt() async throws {
        let server = try await started()
        let before = try await server.command("state", "list", "slack").output
        try server.write(plugin: "slack", Self.migrating("error('no such luck')"))
        #expect(try await server.command("reload").code == 0)
        #expect(try await server.command("state", "list", "slack").output.contains("item:001"))
        try await publish(server, 4...6)
        try await untilEnd("undone", server)
        try await acked(server, 6)
        let after = try await server.command("state", "list", "slack").output
        #expect(after.hasPrefix(before.trimmingCharacters(in: .whitespacesAndNewlines)), "\(before)\(after)")
        #expect(!after.contains("item") && after.contains("n:006"), "\(after)")
        server.signal(SIGTERM)
        server.process.waitUntilExit()
        try await server.start()
        try server.write(plugin: "slack", Self.migrating("ctx.state.put('item:' .. event.data.n, 1)"))
        #expect(try await server.command("reload").code == 0, "it is migrated anew")
        #expect(try await server.command("state", "list", "slack").output.contains("item:006"))
    }

    @Test func whereTheMigratedStateWasWrittenToItPausesAndLosesNothing() async throws {
        let server = try await started()
        try server.write(
            plugin: "slack",
            Self.migrating("if event.data.n == 4 then ctx.state.put('item:004', 1) else error('no such luck') end"))
        #expect(try await server.command("reload").code == 0)
        try await publish(server, 4...9)
        try await untilEnd("paused", server)
        let bad = try await badReload(server)
        #expect(
            bad["obstacle"] as? String
                == "its state was migrated from version 1 to 2 and written to since, which going back would lose")
        let state = try await server.command("state", "list", "slack").output
        #expect(state.contains("item:001") && state.contains("item:004"), "\(state)")
        try server.write(plugin: "slack", Self.migrating("ctx.state.put(('item:%03d'):format(event.data.n), 1)"))
        #expect(try await server.command("reload").code == 0)
        try await acked(server, 9)
        #expect(try await server.subscriber("slack")["dead"] as? Int == 0)
    }
}
