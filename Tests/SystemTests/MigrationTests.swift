// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// `state_version` and `migrate` on the real program.
@Suite(.timeLimit(.minutes(3)))
struct MigrationTests {
    static let routes = """
        topic orders { retain 30d }
        retry quick { attempts 3; backoff 20ms; timeout 2s }
        subscriber stock { from orders; run stock; start earliest; retry quick }
        """

    static let first = """
        return function(event, ctx) ctx.state.add("stock:" .. event.data.sku, event.data.n) end
        """

    static func second(_ migrate: String) -> String {
        """
        return {
          state_version = 2,
          handle = function(event, ctx)
            local item = ctx.state.get("item:" .. event.data.sku, {left = 0})
            item.left = item.left + event.data.n
            ctx.state.put("item:" .. event.data.sku, item)
          end,
          migrate = function(state, from)
            \(migrate)
          end,
        }
        """
    }

    static let migrate = """
        assert(from == 1)
        for _, entry in ipairs(state.list("stock:")) do
          state.put("item:" .. entry.key:sub(7), {left = entry.value})
          state.delete(entry.key)
        end
        """

    private func publish(_ server: RunningServer, _ count: Int, _ n: Int = 1) async throws {
        for _ in 0..<count {
            #expect(try await server.post("/v1/topics/orders/events", #"{"sku":"a","n":\#(n)}"#).status == 202)
        }
    }

    private func acked(_ server: RunningServer, _ count: Int) async throws {
        try await eventually("\(count) are settled") {
            try await server.subscriber("stock")["acked"] as? Int == count
        }
    }

    private func state(_ server: RunningServer) async throws -> String {
        try await server.command("state", "list", "stock").output
    }

    private func started() async throws -> RunningServer {
        let server = try RunningServer(routes: Self.routes, plugins: ["stock": Self.first])
        try await server.start()
        try await publish(server, 3)
        try await acked(server, 3)
        return server
    }

    @Test func aReloadMigratesOnceAndARestartDoesNotAgain() async throws {
        let server = try await started()
        try server.write(plugin: "stock", Self.second(Self.migrate))
        let reload = try await server.command("reload")
        #expect(reload.code == 0, "\(reload.errors)")
        try await publish(server, 2)
        try await acked(server, 5)
        #expect(try await state(server).contains(#"{"left":5}"#))
        #expect(try await !state(server).contains("stock:a"))
        server.killHard()
        try await server.start()
        try await publish(server, 1)
        try await eventually("the last is counted") { try await self.state(server).contains(#"{"left":6}"#) }
    }

    @Test func aStartMigratesToo() async throws {
        let server = try await started()
        server.signal(SIGTERM)
        server.process.waitUntilExit()
        try server.write(plugin: "stock", Self.second(Self.migrate))
        try await server.start()
        #expect(try await state(server).contains(#"{"left":3}"#))
    }

    @Test func aMigrationThatFailsRefusesTheReloadAndTheOldPluginGoesOn() async throws {
        let server = try await started()
        try server.write(plugin: "stock", Self.second("state.put('half', 1) error('no such luck')"))
        let reload = try await server.command("reload")
        #expect(reload.code == 2)
        #expect(reload.errors.contains("migrate failed: no such luck"), "\(reload.errors)")
        #expect(reload.errors.contains("routes.conf:4:"), "\(reload.errors)")
        try await publish(server, 2)
        try await acked(server, 5)
        let state = try await state(server)
        #expect(state.contains("stock:a") && !state.contains("half"), "\(state)")
        try server.write(plugin: "stock", Self.second(Self.migrate))
        #expect(try await server.command("reload").code == 0)
        #expect(try await self.state(server).contains(#"{"left":5}"#))
    }

    @Test func anOlderPluginIsRefusedUntilTheStateIsGone() async throws {
        let server = try await started()
        try server.write(plugin: "stock", Self.second(Self.migrate))
        #expect(try await server.command("reload").code == 0)
        try server.write(plugin: "stock", Self.first)
        let reload = try await server.command("reload")
        #expect(reload.code == 2)
        #expect(
            reload.errors.contains(
                "the state of subscriber \"stock\" has version 2, and this plugin's state_version is 1"),
            "\(reload.errors)")
        #expect(try await server.command("state", "delete", "stock", "item:a").code == 0)
        #expect(try await server.command("reload").code == 0)
        try await publish(server, 1)
        try await eventually("the old plugin counts") { try await self.state(server).contains("stock:a") }
    }

    /// A rename moves the state, and its version with it.
    @Test func aRenamedSubscriberIsMigratedFromItsOldName() async throws {
        let server = try await started()
        try server.write(plugin: "stock", Self.second(Self.migrate))
        try server.write(
            routes: Self.routes.replacing("subscriber stock {", with: "subscriber goods { was stock;"))
        let reload = try await server.command("reload")
        #expect(reload.code == 0, "\(reload.errors)")
        let goods = try await server.command("state", "list", "goods").output
        #expect(goods.contains(#"{"left":3}"#), "\(goods)")
    }

    /// Under load, with migrations from one plugin to the other and back again by version, no event counts twice or never.
    @Test func nothingIsLostOrDoubledWhileEventsComeIn() async throws {
        let server = try await started()
        let port = server.port
        let publisher = Task {
            var accepted = 0
            while !Task.isCancelled {
                let answer = try await Loopback.send(
                    "POST", port, "/v1/topics/orders/events", body: Array(#"{"sku":"a","n":1}"#.utf8),
                    type: "application/json")
                if answer.status == 202 { accepted += 1 }
            }
            return accepted
        }
        for version in 2...6 {
            let names = ["stock:", "item:"]
            let (old, new) = (names[version % 2], names[(version + 1) % 2])
            try server.write(
                plugin: "stock",
                """
                return {
                  state_version = \(version),
                  handle = function(event, ctx)
                    local n = ctx.state.get("\(new)a", 0)
                    ctx.sleep(0.001)
                    ctx.state.put("\(new)a", n + event.data.n)
                  end,
                  migrate = function(state, from)
                    state.put("\(new)a", state.get("\(old)a"))
                    state.delete("\(old)a")
                  end,
                }
                """)
            let reload = try await server.command("reload")
            #expect(reload.code == 0, "\(reload.errors)")
        }
        publisher.cancel()
        let accepted = try await publisher.value + 3
        try await eventually("everything is settled") {
            try await server.subscriber("stock")["backlog"] as? Int == 0
        }
        let all = try await server.get("/v1/subscribers/stock/state").text
        #expect(
            all.contains(#"{"key":"item:a","value":\#(accepted)}"#)
                || all.contains(#"{"key":"stock:a","value":\#(accepted)}"#), "\(all), accepted \(accepted)")
    }
}
