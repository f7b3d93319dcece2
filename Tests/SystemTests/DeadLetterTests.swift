// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Dead letters on the real program, by the commands that people type.
struct DeadLetterTests {
    private static let routes = """
        topic orders { retain 30d; key data.order_id }
        retry twice { attempts 2; backoff 10ms; timeout 5s }
        subscriber receipts { from orders; run receipts; retry twice; start earliest }
        """

    private static let strict = """
        return function(event, ctx)
          if not event.data.email then
            error("order " .. event.data.order_id .. " has no address")
          end
          ctx.state.add("sent", 1)
        end
        """

    /// Twelve orders, of which only the first has an address.
    private func shop() async throws -> RunningServer {
        let server = try RunningServer(routes: Self.routes, plugins: ["receipts": Self.strict])
        try await server.start()
        let orders = (1...12).map { number in
            #"{"order_id":"o-\#(number)"\#(number == 1 ? #","email":"a@example.com""# : "")}"#
        }
        _ = try await server.post(
            "/v1/topics/orders/events?type=order.placed", orders.joined(separator: "\n"), type: "application/x-ndjson")
        try await eventually("eleven are dead") { try await server.subscriber("receipts")["dead"] as? Int == 11 }
        return server
    }

    @Test(.timeLimit(.minutes(2)))
    func aDeadLetterTellsEveryAttemptWithItsErrorAndLine() async throws {
        let server = try await shop()
        let groups = try await server.command("dead", "groups")
        #expect(groups.output.split(separator: "\n").count == 2, "one group: \(groups.output)")
        #expect(groups.output.contains("receipts.lua:3"), "\(groups.output)")
        let list = try await server.command("dead", "list", "--reason", "o-7 ")
        #expect(list.output.split(separator: "\n").count == 2, "\(list.output)\(list.errors)")
        let id = try #require(list.output.split(separator: "\n").last?.split(separator: " ").first)
        let show = try await server.command("dead", "show", String(id))
        #expect(show.output.contains("1. ") && show.output.contains("2. "), "\(show.output)\(show.errors)")
        #expect(show.output.contains("retry after") && show.output.contains("generation 1: "), "\(show.output)")
        #expect(show.output.contains("receipts.lua:3: order o-7 has no address"), "\(show.output)")
    }

    @Test(.timeLimit(.minutes(2)))
    func aMendedEventIsSentAgainAndItsOriginalKept() async throws {
        let server = try await shop()
        let id = try await oldest(server)
        let edited = try await server.command("dead", "edit", id, "--set", "data.email=b@example.com")
        #expect(edited.output == "\(id) mended; `fairlead dead redrive \(id)` sends it again\n", "\(edited.errors)")
        let show = try await server.command("dead", "show", id)
        #expect(show.output.contains("event, as it was published"), "\(show.output)")
        let other = try await server.command("dead", "edit", id, "--set", "data.order_id=o-99")
        #expect(other.code == 2)
        #expect(other.errors.contains(#"the mended event's key would be "o-99" instead of "o-"#), "\(other.errors)")
        // Over a restart too.
        server.killHard()
        try await server.start()
        let redriven = try await server.command("dead", "redrive", id)
        #expect(redriven.output == "1 sent again, 1 acknowledged\n", "\(redriven.errors)")
        #expect(try await server.command("state", "get", "receipts", "sent").output == "2\n")
        let resolved = try await server.command("dead", "show", id)
        #expect(resolved.output.contains("resolved, acknowledged"), "\(resolved.output)")
        let again = try await server.command("dead", "redrive", id)
        #expect(again.code == 2)
        #expect(again.errors.contains("dead letter \(id) was sent again and acknowledged"), "\(again.errors)")
    }

    @Test(.timeLimit(.minutes(2)))
    func aCanaryStopsAtTheFirstFailureAndGoesThroughOnceThePluginIsMended() async throws {
        let server = try await shop()
        let first = try await server.command("dead", "redrive", "--subscriber", "receipts", "--canary")
        #expect(first.code == 1)
        #expect(first.output.contains("1 of 11 were sent, 0 acknowledged; 10 are untouched"), "\(first.output)")
        try await eventually("the one that was sent is a dead letter again") {
            try await server.subscriber("receipts")["dead"] as? Int == 11
        }
        try server.write(plugin: "receipts", "return function(event, ctx) ctx.state.add('sent', 1) end")
        _ = try await server.command("reload")
        let second = try await server.command("dead", "redrive", "--all", "--canary")
        #expect(second.output == "11 sent again, 11 acknowledged\n", "\(second.output)\(second.errors)")
        #expect(try await server.command("dead", "list").output == "no dead letters\n")
        #expect(try await server.command("state", "get", "receipts", "sent").output == "12\n")
        let failedAgain = try await server.command("dead", "list", "--state", "resolved", "--json")
        #expect(failedAgain.output.contains(#""resolution":"failed again""#), "\(failedAgain.output)")
    }

    @Test(.timeLimit(.minutes(2)))
    func aDiscardIsRememberedWithItsReason() async throws {
        let server = try await shop()
        let id = try await oldest(server)
        let discarded = try await server.command("dead", "discard", id, "--reason", "a test order")
        #expect(discarded.output == "1 discarded\n", "\(discarded.errors)")
        let show = try await server.command("dead", "show", id)
        #expect(show.output.contains("resolved, discarded: a test order"), "\(show.output)")
        let all = try await server.command("dead", "discard", "--subscriber", "receipts", "--reason", "all tests")
        #expect(all.output == "10 discarded\n", "\(all.errors)")
        #expect(try await server.subscriber("receipts")["dead"] as? Int == 0)
    }

    private func oldest(_ server: RunningServer) async throws -> String {
        let list = try await server.command("dead", "list")
        return String(try #require(list.output.split(separator: "\n").last?.split(separator: " ").first))
    }
}
