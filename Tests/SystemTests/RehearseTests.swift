// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// A changed configuration over what really happened, on the real program.
struct RehearseTests {
    private static func routes(total: Int = 100, channel: String = "#sales", initial: Int = 30, port: Int) -> String {
        """
        mail { directory "data/mail" }
        topic orders { retain 30d }
        topic stock
        retry quick { attempts 2; backoff 10ms; timeout 5s }
        subscriber slack {
          from orders
          where data.total >= \(total)
          run slack { webhook secret("HOOK"); channel "\(channel)" }
          allow http "127.0.0.1:\(port)"
          retry quick
        }
        subscriber receipts { from orders; run receipts; allow mail; retry quick }
        subscriber inventory { from orders; run inventory { initial \(initial) }; allow publish stock; retry quick }
        subscriber fulfilment { from orders; push "http://127.0.0.1:\(port)/fulfil"; retry quick }
        subscriber books { from orders; pull }
        """
    }

    private static let plugins = [
        "slack": """
        return {
          config = { webhook = { type = "secret" }, channel = { type = "string" } },
          handle = function(event, ctx)
            ctx.http.post(ctx.config.webhook, { json = {
              channel = ctx.config.channel, text = "Order " .. event.data.order, ref = ctx.uuid() } })
          end,
        }
        """,
        "receipts": """
        return function(event, ctx)
          if not event.data.email then return ctx.dead("no address in " .. event.data.order) end
          ctx.mail.send { to = event.data.email, subject = "Order " .. event.data.order, text = "Thank you" }
        end
        """,
        "inventory": """
        return {
          config = { initial = { type = "integer" } },
          handle = function(event, ctx)
            if ctx.state.get("left") == nil then ctx.state.put("left", ctx.config.initial) end
            local left = ctx.state.add("left", -1)
            ctx.publish("stock", { left = left }, { type = "stock.counted" })
          end,
        }
        """,
    ]

    private let sink: Sink
    private let server: RunningServer

    private var environment: [String: String] { ["HOOK": "http://127.0.0.1:\(sink.port)/hook-5ecret"] }

    private func rehearse(_ arguments: String...) async throws -> (code: Int32, output: String, errors: String) {
        try await RunningServer.command(["rehearse"] + arguments, in: server.folder, environment: environment)
    }

    init() throws {
        sink = try Sink()
        server = try RunningServer(routes: Self.routes(port: sink.port), plugins: Self.plugins)
    }

    /// Six orders of 50, 100, … 300; the fourth has no address. All are settled, and kept as such.
    private func trade() async throws {
        try await server.start(environment: environment)
        for number in 1...6 {
            let address = number == 4 ? "" : #","email":"c\#(number)@example.com""#
            _ = try await server.post(
                "/v1/topics/orders/events",
                #"{"specversion":"1.0","id":"o-\#(number)","source":"/shop","type":"order.placed","data":{"order":"o-\#(number)","total":\#(number * 50)\#(address)}}"#,
                type: "application/cloudevents+json")
        }
        try await eventually("everything is settled") {
            for name in ["slack", "receipts", "inventory", "fulfilment"]
            where try await server.subscriber(name)["backlog"] as? Int != 0 { return false }
            return true
        }
        // Only with its end is it certain that all attempts are written.
        server.signal(SIGTERM)
        try await eventually("the server has ended") { !server.process.isRunning }
        try await server.start(environment: environment)
    }

    /// Everything that a rehearsal must leave alone.
    private func world() async throws -> [String] {
        let mail = server.folder.appendingPathComponent("data/mail").path
        var world = try FileManager.default.contentsOfDirectory(atPath: mail).sorted()
        world.append("requests \(sink.requests.count)")
        for path in [
            "/v1/topics", "/v1/dead", "/v1/generations", "/v1/subscribers/inventory/state", "/v1/events/o-4/why",
        ] {
            world.append(try await server.get(path).text)
        }
        for row in try await server.get("/v1/status").object["subscribers"] as? [[String: Any]] ?? [] {
            world.append("\(row["name"] ?? "") \(row["acked"] ?? "") \(row["backlog"] ?? "") \(row["dead"] ?? "")")
        }
        return world
    }

    @Test(.timeLimit(.minutes(3)))
    func differencesAreShownAndNothingIsPerformed() async throws {
        try await trade()
        let before = try await world()
        let ledger = server.folder.appendingPathComponent("data/ledger.db")
        let bytes = try Data(contentsOf: ledger)

        let nothing = try await rehearse()
        #expect(nothing.code == 0, "\(nothing.errors)")
        #expect(
            nothing.output.hasPrefix("Nothing to rehearse: no subscriber of routes.conf differs from generation 2."),
            "\(nothing.output)")
        let same = try await rehearse("--subscriber", "slack", "--subscriber", "fulfilment", "--subscriber", "books")
        #expect(same.code == 0, "\(same.output)")
        #expect(same.output.hasPrefix("No difference over 6 events of the last 7d"), "\(same.output)")
        #expect(same.output.contains("= behaves the same: books, fulfilment, slack\n"), "\(same.output)")

        try server.write(
            routes: Self.routes(total: 200, channel: "#big", port: sink.port)
                .replacing("subscriber books { from orders; pull }", with: "subscriber late { from orders; run late }"))
        try server.write(
            plugin: "receipts",
            """
            return function(event, ctx)
              if event.data.total == 250 then error("not this one") end
              ctx.mail.send { to = event.data.email or "owner@example.com", subject = "Order " .. event.data.order,
                text = "Thank you" }
            end
            """)
        try server.write(plugin: "late", "return function() end")
        let told = try await rehearse()
        #expect(told.code == 1, "\(told.errors)")
        let text = told.output
        #expect(text.hasPrefix("4 of 6 subscribers differ over 6 events of the last 7d"), "\(text)")
        // Filters.
        #expect(text.contains("takes     5 → 3 events"), "\(text)")
        #expect(text.contains("2 no longer matched"), "\(text)")
        #expect(text.contains("o-2  data.total >= 200 is false: data.total = 100"), "\(text)")
        // Requests, without what is random and without the secret.
        #expect(text.contains("5 → 3: 3 changed, 2 gone"), "\(text)")
        #expect(text.contains("json.channel  in all, as in o-4"), "\(text)")
        #expect(text.contains("+ \"#big\""), "\(text)")
        #expect(!text.contains("json.ref  in"), "\(text)")
        #expect(!text.contains("5ecret"), "\(text)")
        // Outcomes, errors, mail.
        #expect(text.contains("1 dead → ack  in o-4"), "\(text)")
        #expect(text.contains("1 ack → retry  in o-5"), "\(text)")
        #expect(text.contains("0 → 1  Plugins/receipts.lua:2: not this one"), "\(text)")
        #expect(text.contains("+ o-4: to owner@example.com"), "\(text)")
        #expect(text.contains("- o-5: to c5@example.com"), "\(text)")
        #expect(text.contains("recorded  5 ack, 1 dead"), "\(text)")
        // The rest.
        #expect(text.contains("+ late  added\n    takes     6 events"), "\(text)")
        #expect(text.contains("- books  removed\n    takes     6 → 0 events"), "\(text)")
        #expect(text.contains("= unchanged: fulfilment, inventory\n"), "\(text)")
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 100 }, "\(text)")

        #expect(try await rehearse("--fail-on", "never").code == 0)
        #expect(try await rehearse("--fail-on", "cpu").code == 0)
        #expect(try await rehearse("--fail-on", "errors").code == 1)
        #expect(try await rehearse("--fail-on", "matches", "--subscriber", "receipts").code == 0)

        #expect(try await world() == before)
        #expect(try Data(contentsOf: ledger) == bytes)
    }

    @Test(.timeLimit(.minutes(3)))
    func stateBeginsAsItIsOrEmptyAndTheServerNeedNotRun() async throws {
        try await trade()
        server.signal(SIGTERM)
        try await eventually("the server has ended") { !server.process.isRunning }
        try server.write(routes: Self.routes(initial: 20, port: sink.port))
        let now = try await rehearse("--json")
        #expect(now.code == 0, "what is counted already isn't begun again: \(now.output)")
        let empty = try await rehearse("--state", "empty", "--limit", "4", "--json")
        #expect(empty.code == 1, "\(empty.output)\(empty.errors)")
        let report = try JSONSerialization.jsonObject(with: Data(empty.output.utf8)) as? [String: Any] ?? [:]
        #expect(report["events"] as? Int == 4)
        let subscriber = (report["subscribers"] as? [[String: Any]] ?? []).first ?? [:]
        #expect(subscriber["name"] as? String == "inventory")
        let effects = subscriber["effects"] as? [[String: Any]] ?? []
        let published = effects.first { $0["kind"] as? String == "publish" } ?? [:]
        // All that the events say is how many are left, and that differs in each.
        #expect((published["added"] as? [String: Any])?["count"] as? Int == 4, "\(published)")
        #expect((published["gone"] as? [String: Any])?["count"] as? Int == 4, "\(published)")
        let older = try await rehearse("--against", "1", "--subscriber", "slack")
        #expect(older.code == 0 && older.output.contains("beside generation 1"), "\(older.output)\(older.errors)")
    }

    @Test(.timeLimit(.minutes(3)))
    func answersAreAsRecordedOrAsDeclared() async throws {
        sink.answer("400 Bad Request")
        try await trade()
        let recorded = try await rehearse("--subscriber", "slack", "--json")
        #expect(recorded.code == 0, "\(recorded.output)\(recorded.errors)")
        #expect(recorded.output.contains(#""recorded" : 10"#), "both sides of five: \(recorded.output)")
        // A request that is another one was never answered.
        try server.write(routes: Self.routes(channel: "#big", port: sink.port))
        try server.write(
            plugin: "slack", Self.plugins["slack"]!.replacing("ref = ctx.uuid()", with: "ref = event.data.order"))
        let mended = try await rehearse("--fail-on", "errors")
        #expect(mended.code == 0, "\(mended.output)\(mended.errors)")
        #expect(mended.output.contains("5 dead → ack  in o-2, o-3, o-4, …"), "\(mended.output)")
        let declared = try await rehearse("--http", "POST 127.0.0.1 503", "--fail-on", "errors")
        #expect(declared.code == 1, "\(declared.output)\(declared.errors)")
        #expect(declared.output.contains("5 dead → retry"), "\(declared.output)")
    }

    @Test(.timeLimit(.minutes(2)))
    func whatCannotBeRehearsedIsRefusedWithTheReason() async throws {
        let never = try await rehearse()
        #expect(never.code == 2 && never.errors.contains("a server that has run leaves one"), "\(never.errors)")
        try await server.start(environment: environment)
        let nobody = try await rehearse("--subscriber", "nobody")
        #expect(nobody.code == 2 && nobody.errors.contains("there are books, fulfilment"), "\(nobody.errors)")
        let rule = try await rehearse("--http", "POST hooks.slack.com fine")
        #expect(rule.code == 2 && rule.errors.contains("\"fine\" is no status of 100 to 599"), "\(rule.errors)")
        let kind = try await rehearse("--fail-on", "sometimes")
        #expect(kind.code == 64 && kind.errors.contains("changed, matches"), "\(kind.errors)")
        let since = try await rehearse("--since", "lately")
        #expect(since.code == 2 && since.errors.contains("write how long ago"), "\(since.errors)")
        let generation = try await rehearse("--against", "9")
        #expect(generation.code == 2 && generation.errors.contains("there is no generation 9"), "\(generation.errors)")
        try server.write(plugin: "inventory", "return { init = function() error('no luck') end, handle = print }")
        let broken = try await rehearse()
        #expect(broken.code == 2, "\(broken.output)")
        try server.write(plugin: "inventory", "return function(")
        let syntax = try await rehearse()
        #expect(syntax.code == 2 && syntax.errors.contains("routes.conf: refused"), "\(syntax.errors)")
    }
}
