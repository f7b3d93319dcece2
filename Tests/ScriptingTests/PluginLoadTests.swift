// SPDX-License-Identifier: Apache-2.0

import Events
import Testing

@testable import Scripting

@Suite(.timeLimit(.minutes(1)))
struct PluginLoadTests {
    private func problems(
        _ code: String, files: [String: String] = [:], settings: [PluginSetting] = [], grants: [PluginGrant] = []
    ) -> [PluginProblem] {
        let host = ScriptHost(services: FakeServices().services, lanes: 1)
        return host.check(Harness.binding(code, files: files, settings: settings, grants: grants))
    }

    @Test(arguments: [
        ("return function(", "Plugins/test.lua:1: <name> or '...' expected near <eof>"),
        ("local x = = 1\nreturn x", "Plugins/test.lua:1: unexpected symbol near '='"),
        ("\n\nerror('no')", "Plugins/test.lua:3: no"),
        ("local x = {}\nx.y.z = 1", "Plugins/test.lua:2: attempt to index a nil value (field 'y')"),
        (
            "",
            "Plugins/test.lua: the file returns nothing, not a function or a table; end it with `return function(event, ctx) … end`"
        ),
        (
            "return 5",
            "Plugins/test.lua: the file returns number, not a function or a table; end it with `return function(event, ctx) … end`"
        ),
        ("return {}", "Plugins/test.lua: the plugin's table has no handle; add handle = function(event, ctx) … end"),
        (
            "return {handle = 1}",
            "Plugins/test.lua: handle is a number, not a function; write handle = function(…) … end"
        ),
        (
            "return {handel = print, handle = print}",
            "Plugins/test.lua: the plugin's table has the unknown key \"handel\"; did you mean \"handle\"?"
        ),
        (
            "return {api = 2, handle = print}",
            "Plugins/test.lua: the plugin is written for another api than 1; write api = 1"
        ),
        ("function handle() end", "Plugins/test.lua:1: undeclared global 'handle' (missing 'local'?)"),
        (
            "local x = require('money') return print",
            "Plugins/test.lua:1: module 'money' not found; require looks in the plugin's own folder and in Plugins/lib"
        ),
        (
            "coroutine.yield() return print",
            "Plugins/test.lua:1: coroutine.yield outside a coroutine of the plugin's own; to wait, use ctx.sleep"
        ),
    ])
    func aPluginThatCannotBeLoadedSaysWhy(_ code: String, _ message: String) {
        #expect(problems(code).map(\.description) == [message])
    }

    @Test func aLoopWhileLoadingIsStopped() throws {
        let found = problems("while true do end")
        #expect(found.count == 1)
        #expect(found.first?.message.contains("processor time") == true)
    }

    @Test func loadingThrowsWhatCheckFinds() async throws {
        await #expect(throws: PluginError.self) { _ = try await Harness("return {") }
    }

    @Test func modulesAreFoundInTheOwnFolderAndInLib() async throws {
        let harness = try await Harness(
            """
            local own, shared = require "fmt", require "money.eur"
            assert(require "fmt" == own and own.name == "fmt" and own.twice == shared)
            return function() return own.f() end
            """,
            files: [
                "test/fmt.lua": "return {name = ..., twice = require 'money.eur', f = function() return nil, 'f' end}",
                "lib/money/eur.lua": "return {}", "lib/fmt.lua": "error('the own one comes first')",
                "other.lua": "error('x')",
            ])
        #expect(await harness.run().outcome == .retry(after: nil, reason: "f"))
    }

    @Test func modulesThatRequireEachOtherAreAnError() {
        let found = problems(
            "return require 'a'", files: ["lib/a.lua": "return require 'b'", "lib/b.lua": "return require 'a'"])
        #expect(found.map(\.description) == ["Plugins/lib/b.lua:1: module 'a' requires itself"])
    }

    // MARK: Settings

    private static let schema = """
        return { config = {
          name = { type = "string", required = true, min = 2, max = 5, pattern = "^%l+$" },
          count = { type = "integer", default = 3, min = 1, max = 10 },
          share = { type = "number" }, on = { type = "boolean", default = false },
          wait = { type = "duration", default = "1m30s", min = "1s", max = "1h" },
          size = { type = "size", default = "64KiB" }, key = { type = "secret" }, hook = { type = "url" },
          out = { type = "topic" }, mode = { type = "enum", values = { "fast", "safe" }, default = "safe" },
          tags = { type = "list<string>" }, any = { type = "list" }, by = { type = "map<integer>" }, more = { type = "map" },
        }, handle = function(event, ctx)
          local c = ctx.config
        """

    @Test func settingsAreTypedAndDefaultsApplied() async throws {
        let harness = try await Harness(
            Self.schema + """

                  assert(c.name == "abc" and c.count == 3 and c.share == 0.5 and c.on == true)
                  assert(c.wait == 90.0 and c.size == 65536 and tostring(c.key) == "secret(K)")
                  assert(c.hook == "https://x.org/" and c.out == "stock" and c.mode == "fast")
                  assert(#c.tags == 2 and c.tags[2] == "b" and table.concat(c.tags, ",") == "a,b" and c.any[1] == 5)
                  assert(c.by.x == 1 and c.more.deep.n == 2.5 and c.missing == nil)
                  local n = 0 for k in pairs(c.by) do n = n + 1 end assert(n == 1)
                  for i, tag in ipairs(c.tags) do assert(tag == (i == 1 and "a" or "b")) end
                  assert(next(c.by) == "x" and select("#", table.unpack(c.tags)) == 2)
                  assert(ctx.json.encode(c.tags) == '["a","b"]')
                  assert(not pcall(function() c.tags[1] = "z" end) and not pcall(table.insert, c.tags, "z"))
                end }
                """,
            settings: [
                .init("name", .name("abc")), .init("share", .percent(50)), .init("on", .boolean(true)),
                .init("key", .secret(name: "K", value: "secret")), .init("hook", .string("https://x.org/")),
                .init("out", .name("stock")), .init("mode", .name("fast")),
                .init("tags", .list([.string("a"), .name("b")])), .init("any", .integer(5)),
                .init("by", .block([.init("x", .integer(1))])),
                .init("more", .block([.init("deep", .block([.init("n", .number(2.5))]))])),
            ])
        let settlement = await harness.run()
        #expect(settlement.outcome == .ack)
    }

    @Test(
        arguments: [
            ([], "name", "plugin \"test\" needs the setting \"name\"; add `name` (a string) to its block"),
            (
                [.init("name", .string("abc")), .init("nmae", .integer(1))], "nmae",
                "plugin \"test\" has no setting \"nmae\"; did you mean \"name\"?"
            ),
            ([.init("name", .string("a"))], "name", "setting \"name\" is 1 bytes long; the least is 2"),
            ([.init("name", .string("abcdef"))], "name", "setting \"name\" is 6 bytes long; the most is 5"),
            ([.init("name", .string("ABC"))], "name", "setting \"name\" is \"ABC\", which does not match ^%l+$"),
            ([.init("name", .integer(5))], "name", "setting \"name\" is the number 5, not a string"),
            (
                [.init("name", .string("abc")), .init("count", .integer(11))], "count",
                "setting \"count\" is 11; the most is 10"
            ),
            (
                [.init("name", .string("abc")), .init("count", .number(1.5))], "count",
                "setting \"count\" is the number 1.5, not an integer"
            ),
            (
                [.init("name", .string("abc")), .init("wait", .integer(10))], "wait",
                "setting \"wait\" is the number 10, not a duration such as 30s"
            ),
            (
                [.init("name", .string("abc")), .init("wait", .duration(.milliseconds(500)))], "wait",
                "setting \"wait\" is 0.5 s; the least is 1"
            ),
            (
                [.init("name", .string("abc")), .init("hook", .string("nope"))], "hook",
                "setting \"hook\" is the string \"nope\", not a URL"
            ),
            (
                [.init("name", .string("abc")), .init("mode", .name("saef"))], "mode",
                "setting \"mode\" can't be \"saef\"; did you mean \"safe\"?"
            ),
            (
                [.init("name", .string("abc")), .init("tags", .list([.integer(1)]))], "tags",
                "setting \"tags\" is a list, not a list in which each is a string"
            ),
        ] as [([PluginSetting], String, String)])
    func aWrongSettingIsNamed(_ settings: [PluginSetting], _ name: String, _ message: String) throws {
        let found = problems(Self.schema + " end }", settings: settings)
        let problem = try #require(found.first)
        #expect(found.count == 1 && problem.setting == name)
        #expect(problem.description.hasPrefix("Plugins/test.lua: " + message), "\(problem)")
    }

    @Test(arguments: [
        ("config = {a = {}}", "config.a names no type"),
        ("config = {a = {type = 'strin'}}", "config.a has the unknown type \"strin\"; did you mean \"string\"?"),
        (
            "config = {a = {type = 'string', defualt = 1}}",
            "config.a has the unknown key \"defualt\"; did you mean \"default\"?"
        ),
        ("config = {a = {type = 'enum'}}", "config.a is an enum without values"), ("config = 5", "config is a number"),
        ("requires = {net = {}}", "requires has the unknown key \"net\""),
    ])
    func aSchemaThatMakesNoSenseIsThePluginsFault(_ part: String, _ message: String) {
        let found = problems("return {handle = print, \(part)}")
        #expect(found.first?.message.hasPrefix(message) == true, "\(found)")
    }

    @Test func withoutAConfigTableAnySettingsArePassedAsTheyAre() async throws {
        let harness = try await Harness(
            "return function(event, ctx) local c = ctx.config assert(c.wait == 30 and c.to.a == 'x' and c.size == 5) end",
            settings: [
                .init("wait", .duration(.seconds(30))), .init("size", .size(5)),
                .init("to", .block([.init("a", .name("x"))])),
            ])
        #expect(await harness.run().outcome == .ack)
    }

    // MARK: Grants

    @Test(
        arguments: [
            ("http = {'hooks.slack.com'}", [PluginGrant.http("hooks.slack.com")], true),
            ("http = {'hooks.slack.com'}", [.http("*.slack.com")], true),
            ("http = {'*.slack.com'}", [.http("hooks.slack.com")], false),
            ("http = {'a.com:443'}", [.http("a.com")], true), ("http = {'a.com'}", [.http("a.com:443")], false),
            ("http = {'a.com'}", [], false), ("mail = true", [.mail], true), ("mail = true", [], false),
            ("publish = {'stock'}", [.publish("stock")], true), ("publish = {'stock'}", [.publish("stocks")], false),
            ("env = {'A'}", [.env("A")], true), ("env = {'A'}", [.env("B")], false),
        ] as [(String, [PluginGrant], Bool)])
    func whatAPluginRequiresMustBeGranted(_ required: String, _ grants: [PluginGrant], _ good: Bool) {
        let found = problems("return {handle = print, requires = {\(required)}}", grants: grants)
        #expect(found.isEmpty == good)
        if let problem = found.first {
            #expect(problem.message.contains("which is not granted"))
            #expect(problem.remedy?.hasPrefix("add `allow ") == true)
        }
    }

    // MARK: init

    @Test func initRunsBeforeTheFirstEventAndMayWait() async throws {
        let harness = try await Harness(
            """
            local ready
            return { init = function(ctx) ctx.sleep(0.005) ready = ctx.state.get("seed") end,
              handle = function() assert(ready == 5) end }
            """, services: FakeServices(state: ["seed": "5"]))
        #expect(await harness.run().outcome == .ack)
    }

    @Test(arguments: [
        ("error('no')", "Plugins/test.lua:1: init failed: no"), ("return false, 'not today'", "init failed: not today"),
        ("ctx.state.put('a', 1)", "init failed: ctx.state.put is available only while an event is handled"),
        ("while true do end", "init failed: stopped: used more than its 1000 ms of processor time"),
    ])
    func anInitThatFailsRefusesThePlugin(_ body: String, _ message: String) async throws {
        let error = try await #require(throws: PluginError.self) {
            _ = try await Harness("return { init = function(ctx) \(body) end, handle = print }")
        }
        #expect("\(error)".contains(message), "\(error)")
    }
}
