// SPDX-License-Identifier: Apache-2.0

import Events
import Testing

@testable import Scripting

/// What is found in a plugin's sources without running them.
struct NameCheckTests {
    private func found(_ code: String, settings: [String]? = nil, path: String = "test.lua") -> [String] {
        let source = PluginSource(name: "test", files: [path: Array(code.utf8)], entry: path)
        return source.unknownNames(settings: settings, in: [path]).map {
            "\($0.line):\($0.column) \($0.message)" + ($0.remedy.map { "; \($0)" } ?? "")
        }
    }

    @Test(arguments: [
        ("return tostrng(1)", #"1:8 undeclared global "tostrng"; did you mean "tostring"?"#),
        ("total = 1", #"1:1 undeclared global "total" is set; write `local total`"#),
        ("function helper() end", #"1:10 undeclared global "helper" is set; write `local helper`"#),
        (
            "if false then\n  io.open('x')\nend",
            #"2:3 "io" is not available as a global; plugins have no files; log with ctx.log, keep data with ctx.state"#
        ),
        ("local customer\nreturn custmer", #"2:8 undeclared global "custmer"; did you mean "customer"?"#),
        ("do local x end return x", #"1:23 undeclared global "x"; declare it with `local` before it is used"#),
        ("for i = 1, 2 do end return i", #"1:28 undeclared global "i"; declare it with `local` before it is used"#),
        ("local x = x", #"1:11 undeclared global "x"; declare it with `local` before it is used"#),
        ("return { [nme] = 1 }", #"1:11 undeclared global "nme"; declare it with `local` before it is used"#),
        ("return ('x'):rep(cont)", #"1:18 undeclared global "cont"; declare it with `local` before it is used"#),
        ("return string.fromat", #"1:15 "string" has no "fromat" in plugins; did you mean "string.format"?"#),
        ("local s = 'é' return nme", #"1:22 undeclared global "nme"; declare it with `local` before it is used"#),
        (
            "return function(event, ctx) ctx.stat.get('x') end",
            #"1:33 "ctx" has no "stat"; did you mean "ctx.state"?"#
        ),
        (
            "return function(event, ctx) ctx.state.gett('x') end",
            #"1:39 "ctx.state" has no "gett"; did you mean "ctx.state.get"?"#
        ),
        (
            "local function f(ctx)\n  local state = ctx.state\n  return state.ad('x')\nend",
            #"3:16 "ctx.state" has no "ad"; did you mean "ctx.state.add"?"#
        ),
        (
            "return function(event, ctx) ctx.http:post('x') end",
            #"1:38 "ctx.http.post" is called with a colon; write ctx.http.post(…) with a dot"#
        ),
        (
            "return function(event, ctx) return event.order_id end",
            #"1:42 an event never has a field "order_id"; attributes have lower-case letters and digits only; did you mean "event.data.order_id"?"#
        ),
    ])
    func aNameThatMeansNothingIsFoundOnAnyBranch(_ code: String, _ expected: String) {
        #expect(found(code) == [expected])
    }

    @Test func settingsAreThoseOfThePluginsConfig() {
        let code = "return function(event, ctx) return ctx.config.chanel, ctx.config.webhook end"
        #expect(
            found(code, settings: ["channel", "webhook"])
                == [#"1:47 the plugin's config declares no "chanel"; did you mean "channel"?"#])
        #expect(found(code) == [])
    }

    @Test(arguments: [
        "local a <const>, b <close> = 1, nil return a, b",
        "local t = { x = 1, ['y'] = 2, 3; z = function(self) return self.x end } return t.x",
        "goto done do local x end ::done:: return print",
        "local function fact(n) return n == 0 and 1 or n * fact(n - 1) end return fact",
        "local a = {} function a.b.c:d(...) return self, ... end",
        "for i, v in ipairs({}) do print(i, v) end",
        "repeat local x = 1 until x == 1",
        "while true do break end",
        "local s = [==[ nonsense ]] here ]==] --[[ and\nhere ]] return #s .. 'a\\\nb' .. \"\\z\n   c\" .. 0x1p-4 .. 1e+3 .. 3 .. 4",
        "return function(event, ctx) return event.mytraceid, event.data.anything, ctx.config.x end",
        "return function(event, ctx) ctx.log.info 'x' ctx.retry { after = 1 } local c = ctx c.now() end",
        "local http = ctx2 and 1 local _ENV = {} return whatever",
        "local state = {} return function(e, ctx) state = ctx.state state.anything = 1 end",
        "return function(event, ctx) ctx = {} return ctx.anything end",
        "if a == nil then local a = 1 else local _ENV = {} end",
        "local x; x, y = 1, 2 local _ENV",
        "rawset(_G, 'shared', 1) return shared",
        "return -2^2 // 3 << 1 ~= ~1 and not #'x'",
        "return function(event, ctx) return ctx.null, ctx.idempotency_key, ctx.crypto.hex(ctx.crypto.sha256('x')) end",
    ])
    func whatIsRightIsLeftAlone(_ code: String) {
        #expect(found(code) == [])
    }

    @Test func theTableOfAbsentGlobalsSaysWhatTheSandboxSays() async throws {
        for (name, remedy) in LuaAPI.absentGlobals {
            let settlement = try await Harness("return function() return \(name) end").run()
            #expect(
                settlement.outcome
                    == .retry(
                        after: nil,
                        reason: "Plugins/test.lua:1: '\(name)' is not available as a global: \(remedy)"))
        }
    }

    @Test func inspectionTellsWhatAPluginNeedsAndEveryFileWithASyntaxError() {
        let host = ScriptHost(services: FakeServices().services, lanes: 1)
        let files = [
            "test.lua": """
            return { version = "2", requires = { http = "a.example.com", mail = true }, handle = function() end,
              config = { to = { type = "string", required = true, doc = "who" }, wait = { type = "duration", default = "30s" } } }
            """,
            "lib/broken.lua": "local = 1", "test/worse.lua": "return (",
        ]
        let inspection = host.inspect(
            PluginSource(name: "test", files: files.mapValues { Array($0.utf8) }, entry: "test.lua"))
        #expect(inspection.version == "2" && !inspection.takesBatches)
        #expect(inspection.requires.grants(with: []) == [.http("a.example.com"), .mail])
        #expect(
            inspection.settings == [
                .init(name: "to", type: "string", isRequired: true, fallback: nil, doc: "who"),
                .init(name: "wait", type: "duration", isRequired: false, fallback: "30s", doc: nil),
            ])
        #expect(
            inspection.problems.map(\.description) == [
                "Plugins/lib/broken.lua:1: <name> expected near '='",
                "Plugins/test/worse.lua:1: unexpected symbol near <eof>",
            ])
    }

    @Test func anErrorWhileLoadingThatANameExplainsIsSaidOnce() {
        let host = ScriptHost(services: FakeServices().services, lanes: 1)
        let code = "local x = tostrng(1)\nreturn print"
        let inspection = host.inspect(
            PluginSource(name: "test", files: ["test.lua": Array(code.utf8)], entry: "test.lua"))
        #expect(inspection.problems == [])
        #expect(inspection.names.map(\.message) == [#"undeclared global "tostrng""#])
    }
}
