// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Testing

@testable import Scripting

/// The table of the API says what a plugin finds, and the manual and the annotations say what the table says.
/// `UPDATE_FIXTURES=1` writes them anew.
struct LuaAPITests {
    private static let repository = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..")
    private static let isUpdating = ProcessInfo.processInfo.environment["UPDATE_FIXTURES"] == "1"

    private func check(_ path: String, is expected: String) throws {
        let url = Self.repository.appending(path: path)
        if Self.isUpdating {
            try expected.write(to: url, atomically: true, encoding: .utf8)
        } else {
            #expect(
                try String(contentsOf: url, encoding: .utf8) == expected,
                "run the tests with UPDATE_FIXTURES=1 to write it anew")
        }
    }

    @Test func theManualHasTheTable() throws {
        var manual = try String(
            contentsOf: Self.repository.appending(path: "docs/plugins.md"), encoding: .utf8)
        let start = try #require(manual.range(of: "<!-- generated: api -->\n", options: [])).upperBound
        let end = try #require(manual.range(of: "<!-- end -->", options: [], range: start..<manual.endIndex)).lowerBound
        manual.replaceSubrange(start..<end, with: "\n\(LuaManual.text)\n")
        try check("docs/plugins.md", is: manual)
    }

    /// The manual's plugins load, and use no name that isn't there; its test passes against the five lines.
    @Test func theManualsExamplesAreRight() async throws {
        let manual = try String(contentsOf: Self.repository.appending(path: "docs/plugins.md"), encoding: .utf8)
        let blocks = manual.components(separatedBy: "\n```lua\n").dropFirst()
            .map { $0.components(separatedBy: "\n```\n")[0] }
        let host = ScriptHost(services: FakeServices().services, lanes: 1)
        let plugins = blocks.filter { !$0.contains("fairlead.test") }
        #expect(plugins.count == 3)
        for code in plugins {
            let inspection = host.inspect(
                PluginSource(name: "slack", files: ["slack.lua": Array(code.utf8)], entry: "slack.lua"))
            #expect(inspection.problems == [] && inspection.names == [])
        }
        let test = try #require(blocks.first { $0.contains("fairlead.test") })
        let results = await host.runTests([
            "slack.lua": Array(plugins[0].utf8), "slack_test.lua": Array(test.utf8),
        ])
        #expect(results.map(\.problem) == [nil])
    }

    @Test func theManualsLimitsAreThose() throws {
        let manual = try String(contentsOf: Self.repository.appending(path: "docs/plugins.md"), encoding: .utf8)
        let binding = Harness.binding("")
        func thousands(_ number: Int) -> String { number >= 1_000 ? "\(number / 1_000),000" : "\(number)" }
        let rows = [
            "processor time of one call | \(binding.cpu.milliseconds) ms |",
            "memory of the subscriber's interpreter | \(binding.memory >> 20) MiB |",
            "one attempt, waiting included | \(binding.timeout.milliseconds / 1_000) s |",
            "calls at once | \(binding.concurrency) |",
            "processor time | \(Limits.pluginLoadCPU.milliseconds / 1_000) s |",
            "`init` waits, `stop` takes | \(Limits.pluginInitTimeout.milliseconds / 1_000) s, "
                + "\(Limits.pluginStopTimeout.milliseconds / 1_000) s |",
            "HTTP requests of one call | \(Limits.pluginHTTPCallsMax) |",
            "body of an answer | \(Limits.pluginResponseBytesMax >> 20) MiB |",
            "events published by one call | \(Limits.pluginPublicationsMax) |",
            "state keys written by one call | \(thousands(Limits.pluginStateWritesMax)) |",
            "one state value, as JSON | \(Limits.pluginStateValueBytesMax >> 10) KiB |",
            "nesting of JSON and of values | \(Limits.jsonDepthMax) |",
        ]
        for row in rows { #expect(manual.contains(row), "docs/plugins.md has no row \"\(row)\"") }
    }

    @Test func editorsReadTheTable() throws {
        try check("Plugins/types/fairlead.lua", is: LuaAnnotations.text)
    }

    @Test func theAnnotationsAreLua() {
        var problems: [PluginProblem] = []
        let text = Array(LuaAnnotations.text.utf8)
        let source = PluginSource(name: "types", files: ["types.lua": text], entry: "types.lua")
        #expect(PluginState.compile(source, problems: &problems) == ["types.lua"])
        #expect(problems == [])
    }

    /// Every type that is named is there: a class of the table, or one that every Lua has.
    @Test func everyTypeIsKnown() throws {
        let builtin: Set<String> = [
            "string", "number", "integer", "boolean", "any", "nil", "table", "userdata", "true", "false", "fun",
            "event", "events", "ctx", "why", "state", "from", "t",
        ]
        let classes = Set(LuaAPI.groups.map(\.type))
        let word = try NSRegularExpression(pattern: #""[^"]*"|[A-Za-z_][A-Za-z0-9_.]*"#)
        for group in LuaAPI.groups {
            var types = group.others.map { [$0] } ?? []
            for member in group.members {
                switch member.kind {
                case .field(let type, _): types.append(type)
                case .function(let parameters, let returns, _): types += parameters.map(\.type) + returns
                }
            }
            for type in types {
                for match in word.matches(in: type, range: NSRange(type.startIndex..., in: type)) {
                    let name = String(type[Range(match.range, in: type)!])
                    #expect(
                        name.hasPrefix("\"") || builtin.contains(name) || classes.contains(name), "\(name) in \(type)")
                }
            }
        }
        #expect(classes.count == LuaAPI.groups.count)
    }

    // MARK: Against a real interpreter

    /// What `code`, which sets `found`, finds in the sandbox.
    private func found(_ code: String, event: String = "{}") async throws -> [String] {
        let harness = try await Harness(
            """
            return function(event, ctx)
              local found = {}
              local function add(prefix, value)
                for key in pairs(value) do found[#found + 1] = prefix .. tostring(key) end
              end
              \(code)
              ctx.state.put("found", ctx.json.array(found))
            end
            """)
        let settlement = await harness.run(event)
        #expect(settlement.outcome == .ack)
        let json = try #require(harness.services.state["found"])
        return try JSONDecoder().decode([String].self, from: Data(json.utf8)).sorted()
    }

    @Test func ctxHasWhatTheTableSays() async throws {
        let real = try await found(
            """
            add("", ctx)
            for _, name in ipairs { "log", "http", "mail", "file", "state", "json", "crypto" } do add(name .. ".", ctx[name]) end
            assert(type(ctx.idempotency_key) == "string")
            found[#found + 1] = "idempotency_key"
            """)
        let libraries = LuaAPI.context.members.compactMap { member in
            LuaAPI.library(member).map { (member.name, $0) }
        }
        let table = LuaAPI.context.names + libraries.flatMap { name, group in group.names.map { "\(name).\($0)" } }
        #expect(real == table.sorted())
    }

    @Test func whatTheTableCallsAFunctionIsOne() async throws {
        let functions = ([LuaAPI.context] + LuaAPI.libraries).flatMap { group in
            group.members.compactMap { member -> String? in
                guard case .function = member.kind else { return nil }
                return "\(group.access!).\(member.name)"
            }
        }
        let code = functions.map { "if type(\($0)) ~= 'function' then found[#found + 1] = '\($0)' end" }
        #expect(try await found(code.joined(separator: "\n")) == [])
    }

    @Test func theEventHasWhatTheTableSays() async throws {
        let harness = try await Harness(
            """
            return function(event, ctx)
              local found = {}
              for key in pairs(event) do found[#found + 1] = key end
              ctx.state.put("found", found)
            end
            """)
        var event = Event.order("{}")
        event.attributes = ["subject", "datacontenttype", "dataschema"].map { name in
            .init(name, .string(name == "datacontenttype" ? "application/json" : "urn:x"))
        }
        #expect(await harness.run([event])[0].outcome == .ack)
        let json = try #require(harness.services.state["found"])
        let real = Set(try JSONDecoder().decode([String].self, from: Data(json.utf8)))
        // Without a `key` in the topic there is none.
        #expect(real.union(["key"]) == Set(LuaAPI.event.names))
    }

    @Test func theGlobalsAreThoseOfTheTable() async throws {
        let real = try await found(
            """
            add("", _G)
            for _, name in ipairs { "coroutine", "debug", "math", "os", "string", "table", "utf8" } do add(name .. ".", _G[name]) end
            """)
        let table = LuaAPI.globals.flatMap { name, members in [name] + members.map { "\(name).\($0)" } }
        let old = Set(LuaAPI.oldMath.map { "math.\($0)" })
        #expect(real.filter { !old.contains($0) } == table.sorted())
    }

    /// Options are refused by names that stand in messages: these are those of the table, and each is taken.
    @Test(arguments: [
        ("ctx.http.get('http://x/', { zzzzzzz = 1 })", LuaAPI.httpOptions.map(\.name)),
        ("ctx.mail.send{ zzzzzzz = '1' }", LuaAPI.mailFields.map(\.name)),
        ("ctx.state.put('k', 1, { zzzzzzz = 1 })", ["ttl"]), ("ctx.retry{ zzzzzzz = 1 }", ["after", "reason"]),
        ("ctx.state.list('', { zzzzzzz = 1 })", ["limit", "after"]),
    ])
    func optionsAreThoseOfTheTable(_ call: String, _ names: [String]) async throws {
        let harness = try await Harness(
            "return function(event, ctx) \(call) end", grants: [.http("x"), .mail])
        guard case .retry(nil, let reason) = await harness.run().outcome else {
            Issue.record("the option was taken")
            return
        }
        for name in names { #expect(reason.contains(name), "\(reason)") }
    }

    @Test func anOutcomeHasTheFieldsOfTheTable() async throws {
        let names = LuaAPI.group("fairlead.Outcome")!.names
        let harness = try await Harness(
            """
            return function(event, ctx)
              local ok, err = pcall(ctx.http.get, "http://x/")
              local found = {}
              for _, name in ipairs { \(names.map { "\"\($0)\"" }.joined(separator: ", ")) } do
                if err[name] ~= nil then found[#found + 1] = name end
              end
              for _, name in ipairs { "status", "headers", "body" } do assert(err.response[name], name) end
              ctx.state.put("found", found)
            end
            """, grants: [.http("x")])
        harness.services.http.respond(503, "busy", headers: [("retry-after", "5")])
        #expect(await harness.run().outcome == .ack)
        let json = try #require(harness.services.state["found"])
        #expect(try JSONDecoder().decode([String].self, from: Data(json.utf8)) == names)
    }

    @Test func testsFindWhatTheTableSays() async throws {
        func list(_ type: String) -> String {
            LuaAPI.group(type)!.names.map { "\"\($0)\"" }.joined(separator: ", ")
        }
        let test = """
            local t = require "fairlead.test"
            local function compare(what, value, names)
              local known = {}
              for _, name in ipairs(names) do known[name] = true end
              for name in pairs(value) do
                if name ~= "entry" and name ~= "__index" then t.ok(known[name], what .. " has " .. name) end
              end
              return known
            end
            t.test("names", function()
              for name in pairs(compare("t", t, { \(list("fairlead.Test")) })) do t.ok(t[name], "t." .. name) end
              local plugin = t.load("test", {}, { http = "x", publish = "p", mail = true })
              local methods = getmetatable(plugin).__index
              for name in pairs(compare("plugin", methods, { \(list("fairlead.TestPlugin")) })) do
                t.ok(methods[name], "plugin:" .. name)
              end
              plugin:on("POST", "http://x/", { status = 429, headers = { ["retry-after"] = "3" }, body = "b" })
              local event = t.event { data = {}, key = "k", attempt = 1, replay = false }
              for name in pairs(compare("event", event, { \(list("fairlead.TestEvent")) })) do
                t.ok(event[name] ~= nil, "event." .. name)
              end
              local result = plugin:handle(event)
              for name in pairs(compare("result", result, { \(list("fairlead.TestResult")) })) do
                t.ok(result[name] ~= nil, "result." .. name)
              end
              for name in pairs(compare("call", result.calls[1], { \(list("fairlead.TestCall")) })) do
                t.ok(result.calls[1][name] ~= nil, "call." .. name)
              end
            end)
            """
        let plugin = """
            return function(event, ctx) ctx.http.post("http://x/", { json = { a = 1 } }) end
            """
        let host = ScriptHost(services: FakeServices().services, lanes: 1)
        let results = await host.runTests([
            "test.lua": Array(plugin.utf8), "api_test.lua": Array(test.utf8),
        ])
        #expect(results.map(\.name) == ["names"])
        #expect(results.compactMap(\.problem).map(\.description) == [])
    }
}
