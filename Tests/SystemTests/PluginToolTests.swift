// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// `fairlead plugin new`, `plugin check` and `run`: commands for those who write plugins, without a server.
struct PluginToolTests {
    private func folder(_ routes: String?, plugins: [String: String] = [:]) throws -> RunningServer {
        let server = try RunningServer(routes: "", plugins: plugins)
        let path = server.folder.appendingPathComponent("routes.conf")
        if let routes { try Data(routes.utf8).write(to: path) } else { try FileManager.default.removeItem(at: path) }
        return server
    }

    private func write(_ text: String, to name: String, of server: RunningServer) throws {
        try Data(text.utf8).write(to: server.folder.appendingPathComponent(name))
    }

    // MARK: plugin new

    @Test func aNewPluginPassesItsOwnTestsAndIsNeverOverwritten() async throws {
        let server = try folder("topic sales\nplugins \"scripts\"\n")
        let made = try await server.command("plugin", "new", "greeter")
        #expect(made.code == 0, "\(made.errors)")
        #expect(made.output.hasPrefix("scripts/greeter.lua and scripts/greeter_test.lua written. For routes.conf:\n\n"))
        let block = "subscriber greeter {\n  from sales\n  run  greeter { greeting \"hello\" }\n}\n"
        #expect(made.output.contains(block), "\(made.output)")

        try write("topic sales\nplugins \"scripts\"\n" + block, to: "routes.conf", of: server)
        let checked = try await server.command("check")
        #expect(checked.code == 0 && checked.errors.isEmpty, "\(checked.errors)")
        let tests = try await server.command("test")
        #expect(tests.code == 0 && tests.output.hasSuffix("2 passed, 0 failed\n"), "\(tests.output)\(tests.errors)")
        let all = try await server.command("plugin", "check")
        #expect(
            all.code == 0
                && all.output == """
                    greeter 0.1.0: ok
                      setting   greeting, string, default hello: what the log says
                      used by   greeter (routes.conf:3:1)

                    """,
            "\(all.output)\(all.errors)")

        let again = try await server.command("plugin", "new", "greeter")
        #expect(
            again.code == 2
                && again.errors == "scripts/greeter.lua is there already; choose another name, or remove it first\n")
    }

    @Test func withoutAConfigurationPluginsAreWhereTheOptionSays() async throws {
        let server = try folder(nil)
        let made = try await server.command("plugin", "new", "a", "--plugins", "else/where/")
        #expect(made.code == 0 && made.output.hasPrefix("else/where/a.lua and"), "\(made.output)\(made.errors)")
        #expect(try await server.command("plugin", "check", "--plugins", "else/where").code == 0)
        let bad = try await server.command("plugin", "new", "a-b")
        #expect(bad.code == 2 && bad.errors.hasPrefix("\"a-b\" is no name of a plugin;"), "\(bad.errors)")
    }

    // MARK: plugin check

    @Test func checkFindsWhatIsWrongOnBranchesThatNeverRun() async throws {
        let server = try folder(
            """
            topic orders
            subscriber mailer { from orders; run mailer }
            """,
            plugins: [
                "mailer": """
                return {
                  requires = { http = "api.example.com", mail = true },
                  handle = function(event, ctx)
                    if event.type == "never" then
                      ctx.sate.put("x", tostrng(1))
                    end
                  end,
                }
                """,
                "broken": "return function(",
            ])
        let checked = try await server.command("plugin", "check")
        #expect(checked.code == 2)
        #expect(
            checked.errors == """
                error[P001] Plugins/broken.lua:1:1: <name> or '...' expected near <eof>
                    1 | return function(
                      | ^^^^^^^^^^^^^^^^
                error[P001] routes.conf:2:1: subscriber "mailer": Plugins/mailer.lua: plugin "mailer" requires http "api.example.com", which is not granted
                    2 | subscriber mailer { from orders; run mailer }
                      | ^ add `allow http "api.example.com"` to subscriber mailer
                error[P001] routes.conf:2:1: subscriber "mailer": Plugins/mailer.lua: plugin "mailer" requires mail, which is not granted
                    2 | subscriber mailer { from orders; run mailer }
                      | ^ add `allow mail` to subscriber mailer
                error[P003] Plugins/mailer.lua:5:11: "ctx" has no "sate"
                    5 |       ctx.sate.put("x", tostrng(1))
                      |           ^^^^ did you mean "ctx.state"?
                error[P002] Plugins/mailer.lua:5:25: undeclared global "tostrng"
                    5 |       ctx.sate.put("x", tostrng(1))
                      |                         ^^^^^^^ did you mean "tostring"?

                """, "\(checked.errors)")
        #expect(
            checked.output == """
                broken: refused
                  used by   nobody
                mailer: refused
                  requires  http "api.example.com": not granted to mailer
                  requires  mail: not granted to mailer
                  used by   mailer (routes.conf:2:1)

                """, "\(checked.output)")

        let json = try await server.command("plugin", "check", "mailer", "--json")
        #expect(json.code == 2 && json.errors.isEmpty)
        #expect(
            json.output.contains(
                #"{"file":"Plugins/mailer.lua","line":5,"column":11,"endColumn":15,"severity":"error","code":"P003","#),
            "\(json.output)")
        let unknown = try await server.command("plugin", "check", "mialer")
        #expect(unknown.code == 2 && unknown.errors.contains(#"no plugin "mialer""#), "\(unknown.errors)")
    }

    @Test func checkOfTheConfigurationWarnsOfNamesInThePluginsInUse() async throws {
        let server = try folder(
            "topic orders\nsubscriber a { from orders; run p }\n",
            plugins: [
                "p": "return function(event, ctx)\n  if event.x then ctx.htp.get('x') end\nend",
                "unused": "return function() return nme end",
            ])
        let checked = try await server.command("check")
        #expect(checked.code == 0 && checked.output.hasPrefix("routes.conf: ok"))
        #expect(
            checked.errors == """
                warning[P003] Plugins/p.lua:2:23: "ctx" has no "htp"
                    2 |   if event.x then ctx.htp.get('x') end
                      |                       ^^^ did you mean "ctx.http"?

                """, "\(checked.errors)")
    }

    @Test func theShopsPluginsHaveNothingToBeFound() async throws {
        let repository = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..")
        let checked = try await RunningServer.command(["plugin", "check"], in: repository)
        #expect(checked.code == 0 && checked.errors.isEmpty, "\(checked.errors)")
        #expect(checked.output.contains("inventory 1.0.0: ok") && !checked.output.contains("types"))
    }

    // MARK: run

    private static let shop = """
        topic orders { key data.order_id }
        topic stock
        subscriber counter {
          from orders
          run  counter { url secret("HOOK"); low 5 }
          allow http "hooks.example.com"
          allow publish stock
          allow mail
        }
        """
    private static let counter = """
        return {
          config = { url = { type = "secret", required = true }, low = { type = "integer", default = 1 } },
          handle = function(event, ctx)
            local left = ctx.state.add("left", -event.data.quantity)
            ctx.log.warn("counted", { left = left })
            ctx.metric("counted", 2)
            ctx.sleep("90s")
            ctx.http.post(ctx.config.url, { json = { left = left }, headers = { ["X-Key"] = "k" } })
            ctx.mail.send { to = "owner@example.com", subject = "Low", text = "one\\ntwo" }
            if left < ctx.config.low then ctx.publish("stock", { left = left }, { type = "stock.low" }) end
          end,
        }
        """

    @Test func runShowsWhatAnEventWouldDo() async throws {
        let server = try folder(Self.shop, plugins: ["counter": Self.counter])
        try write(#"{"order_id":"o-1","quantity":3}"#, to: "event.json", of: server)
        let said = try await RunningServer.command(
            ["run", "counter", "event.json", "--type", "order.placed", "--state", "left=7"], in: server.folder,
            environment: ["HOOK": "https://hooks.example.com/very-secret"])
        #expect(said.code == 0, "\(said.errors)")
        let lines = said.output.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(
            lines.dropLast(2).joined(separator: "\n") == """
                order.placed on orders, attempt 1, to counter as counter (routes.conf:3:1)
                log     warning counted left=4
                metric  counted + 2
                sleep   90s
                http    POST secret(HOOK) → 200 (not sent)
                        X-Key: k
                        content-type: application/json
                        {"left":4}
                mail    to owner@example.com: Low (not sent)
                        one
                        two
                state   add left + -3
                publish stock.low to stock {"left":4}
                ack
                """, "\(said.output)")
        #expect(lines.dropLast().last?.hasSuffix(" ms of processor time") == true)
        #expect(!said.output.contains("\u{1B}") && !said.output.contains("very-secret"))
    }

    @Test func whatAPluginSaysDoesNotReachTheTerminalRaw() async throws {
        let server = try folder(
            nil, plugins: ["p": "return function(event, ctx) print('a\\27[2Jb') return ctx.drop('c\\rd') end"])
        try write("{}", to: "event.json", of: server)
        let said = try await server.command("run", "p", "event.json")
        #expect(said.code == 0 && !said.output.contains("\u{1B}") && !said.output.contains("\r"), "\(said.output)")
        #expect(said.output.contains("log     info a\u{FFFD}[2Jb\ndrop: c\u{FFFD}d\n"), "\(said.output)")
    }

    @Test func runTellsHowAFailedRequestEndsAndWhere() async throws {
        let server = try folder(Self.shop, plugins: ["counter": Self.counter])
        try write(
            #"{"specversion":"1.0","id":"1","source":"/s","type":"order.placed","data":{"quantity":3}}"#,
            to: "event.json", of: server)
        let unset = try await server.command("run", "counter", "event.json")
        #expect(unset.errors.contains("warning[R038] routes.conf:5:") && unset.code == 1, "\(unset.errors)")
        let busy = try await server.command(
            "run", "counter", "event.json", "--set", "url=https://hooks.example.com/x", "--answer", "503:busy")
        #expect(busy.code == 1)
        #expect(
            busy.output.contains(
                "retry: Plugins/counter.lua:8: POST https://hooks.example.com: 503: busy\n"), "\(busy.output)")
        #expect(busy.output.contains("        Plugins/counter.lua:8: in function"), "\(busy.output)")
        #expect(!busy.output.contains("\nstate "), "what is not committed is not shown")

        let json = try await server.command(
            "run", "counter", "event.json", "--set", "url=https://hooks.example.com/x", "--answer", "404", "--json")
        let object = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
        #expect(
            json.code == 1 && object["outcome"] as? String == "dead" && object["subscriber"] as? String == "counter")
        let requests = object["requests"] as? [[String: Any]]
        #expect(
            requests?.first?["body"] as? String == #"{"left":-3}"# && requests?.first?["answer"] as? String == "404")
    }

    @Test func runRefusesWhatItCanNotTry() async throws {
        let server = try folder(Self.shop, plugins: ["counter": Self.counter, "loose": "return function() end"])
        try write("{\"n\":", to: "bad.json", of: server)
        try write("{}", to: "event.json", of: server)
        func refused(_ arguments: String...) async throws -> String {
            let result = try await RunningServer.command(
                ["run"] + arguments, in: server.folder, environment: ["HOOK": "https://hooks.example.com/"])
            #expect(result.code == 2, "\(arguments): \(result.output)")
            return result.errors
        }
        #expect(try await refused("counter", "bad.json").hasPrefix("bad.json: not valid JSON at byte "))
        #expect(try await refused("counter", "none.json").hasPrefix("can't read none.json;"))
        #expect(try await refused("cuonter", "event.json").contains("no plugin \"cuonter\""))
        #expect(
            try await refused("loose", "event.json", "--subscriber", "counter")
                == "no subscriber \"counter\" runs loose in routes.conf; none does\n")
        #expect(
            try await refused("counter", "event.json", "--set", "lwo=5").contains(
                #"plugin "counter" has no setting "lwo""#))
        #expect(try await refused("loose", "event.json", "--answer", "soon").contains("write a status of 100 to 599"))
        #expect(try await refused("loose", "event.json", "--allow", "all").contains("write mail, or `http HOST`"))
        try server.write(plugin: "wrong", "local x = 1\nreturn {")
        #expect(
            try await refused("wrong", "event.json").hasPrefix(
                "error[P001] Plugins/wrong.lua:2:1: unexpected symbol near <eof>\n    2 | return {\n"))
        let loose = try await server.command("run", "loose", "event.json")
        #expect(
            loose.code == 0
                && loose.output.hasPrefix("test on test, attempt 1, to loose as no subscriber of routes.conf"),
            "\(loose.output)\(loose.errors)")
    }

    @Test func withReallyRequestsAndMailGoOut() async throws {
        let sink = try Sink()
        let server = try folder(
            """
            topic orders
            topic stock
            subscriber counter {
              from orders
              run  counter { url "http://127.0.0.1:\(sink.port)/hook" }
              allow http "127.0.0.1"
              allow publish stock
              allow mail
            }
            """, plugins: ["counter": Self.counter.replacing("\"90s\"", with: "\"1ms\"")])
        try write(#"{"quantity":1}"#, to: "event.json", of: server)
        let said = try await server.command("run", "counter", "event.json", "--really")
        #expect(said.code == 0 && !said.output.contains("not sent"), "\(said.output)\(said.errors)")
        let mail = try FileManager.default.contentsOfDirectory(
            atPath: server.folder.appendingPathComponent("data/mail").path)
        #expect(mail.filter { $0.hasSuffix(".eml") }.count == 1)
        #expect(said.output.contains("http    POST http://127.0.0.1:\(sink.port)/hook → 204\n"), "\(said.output)")
    }
}
