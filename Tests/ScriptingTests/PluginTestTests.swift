// SPDX-License-Identifier: Apache-2.0

import Events
import Testing

@testable import Scripting

@Suite(.timeLimit(.minutes(1)))
struct PluginTestTests {
    private static let slack = """
        return { config = { webhook = { type = "secret", required = true }, wait = { type = "duration", default = "1s" } },
          handle = function(event, ctx)
            if event.type == "slow" then ctx.sleep(3600) return ctx.drop(("%d"):format(ctx.now())) end
            local n = ctx.state.add("sent", 1)
            ctx.http.post(ctx.config.webhook, { json = { text = ("Order %s: %.2f"):format(event.data.order_id, event.data.total) } })
            ctx.mail.send { to = "a@example.org", subject = "s", text = "t" }
            ctx.publish("sent", { n = n, key = event.key })
          end }
        """

    private func run(_ test: String) async -> [PluginTestResult] {
        let host = ScriptHost(services: FakeServices().services, lanes: 1)
        return await host.runTests([
            "slack.lua": Array(Self.slack.utf8),
            "slack_test.lua": Array(("local t = require 'fairlead.test'\n" + test).utf8),
        ])
    }

    @Test func aTestSeesEverythingThatAPluginDid() async {
        let results = await run(
            """
            local allow = { http = { "hooks.slack.com" }, publish = { "sent" }, mail = true }
            t.test("posts", function()
              local p = t.load("slack", { webhook = "https://hooks.slack.com/x", wait = "5s" }, allow)
              p:on("POST", "https://hooks.slack.com/*", { status = 200 })
              p:put("sent", 4)
              local r = p:handle(t.event { type = "order.placed", key = "k", data = { order_id = "o-1", total = 250 } })
              t.eq(r.outcome, "ack")
              t.eq(r.calls[1].json, { text = "Order o-1: 250.00" })
              t.eq(r.calls[1].url, "https://hooks.slack.com/x")
              t.eq(r.mail[1].to, { "a@example.org" })
              t.eq(r.published[1].data, { n = 5, key = "k" })
              t.eq(p:get("sent"), 5)
            end)
            t.test("a rate limit", function()
              local p = t.load("slack", { webhook = "https://hooks.slack.com/x" }, allow)
              p:on("POST", "https://hooks.slack.com/x", { status = 429, headers = { ["Retry-After"] = "30" } })
              local r = p:handle(t.event { data = { order_id = "o-1", total = 250 } })
              t.eq(r.outcome, "retry") t.eq(r.after, 30) t.match(r.reason, "429") t.eq(p:get("sent"), nil)
            end)
            t.test("sleeping moves the clock", function()
              local p = t.load("slack", { webhook = "https://hooks.slack.com/x" }, allow)
              t.eq(p:handle(t.event { type = "slow" }).reason, tostring(1704067200))
              t.eq(p:handle(t.event { type = "slow" }).reason, tostring(1704067200 + 3600))
            end)
            """)
        for result in results { #expect(result.problem == nil, "\(result.name ?? ""): \(result.problem!)") }
        #expect(results.map(\.name) == ["posts", "a rate limit", "sleeping moves the clock"])
    }

    @Test(arguments: [
        ("t.eq({a = 1}, {a = 2})", "expected { a = 2 }, found { a = 1 }"),
        ("t.ok(false, 'not so')", "not so"),
        ("t.match('abc', '^b')", "expected a text that matches \"^b\", found \"abc\""),
        ("t.load('slack', {})", "plugin \"slack\" needs the setting \"webhook\""),
        ("t.load('none')", "plugin \"none\" has no file Plugins/none/init.lua"),
        (
            "t.load('slack', {webhook = 'https://hooks.slack.com/x'}, {http = {'hooks.slack.com'}}):handle(t.event{data = {order_id = 'o', total = 1}})",
            "unexpected request: POST https://hooks.slack.com/x; announce it with plugin:on"
        ),
        ("local x = nil + 1", "attempt to perform arithmetic on a nil value"),
        ("while true do end", "processor time"),
    ])
    func aTestThatFailsSaysWhyAndWhere(_ body: String, _ message: String) async throws {
        let results = await run("t.test('fails', function()\n\(body)\nend)")
        let problem = try #require(results.first?.problem)
        #expect(problem.description.contains(message), "\(problem)")
        if !message.hasPrefix("processor") {
            #expect(problem.line == 3 && problem.file == "Plugins/slack_test.lua", "\(problem)")
        }
    }

    @Test func aBatchIsHandledInOneGo() async {
        let host = ScriptHost(services: FakeServices().services, lanes: 1)
        let results = await host.runTests([
            "sum.lua": Array(
                """
                return { handle_batch = function(events, ctx)
                  ctx.publish("sums", { n = #events })
                  return { [2] = ctx.dead("the second") }
                end }
                """.utf8),
            "sum_test.lua": Array(
                """
                local t = require "fairlead.test"
                t.test("three at once", function()
                  local sum = t.load("sum", {}, { publish = { "sums" } })
                  local result = sum:handle_batch { t.event {}, t.event {}, t.event {} }
                  t.eq(result.outcomes, { "ack", "dead", "ack" })
                  t.eq(result.published[1].data, { n = 3 })
                end)
                """.utf8),
        ])
        for result in results { #expect(result.problem == nil, "\(result.problem!)") }
        #expect(results.map(\.name) == ["three at once"])
    }

    @Test func aTestFileThatCannotBeLoadedIsOneFailure() async {
        let results = await run("t.test('a'")
        #expect(results.count == 1 && results[0].name == nil && results[0].problem?.file == "Plugins/slack_test.lua")
    }
}
