// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Pulling, delays, pauses and orphans on the real program, killed at will.
struct PullTests {
    private static let routes = """
        topic orders { retain 30d; key data.order_id }
        subscriber accounting { from orders; pull { lease 5s }; start earliest; retry { attempts 3; backoff 10ms } }
        subscriber other { from orders; pull { lease 30s }; start earliest }
        """

    private func server(_ routes: String = routes) async throws -> RunningServer {
        let server = try RunningServer(routes: routes)
        try await server.start()
        return server
    }

    private func publish(_ count: Int, to server: RunningServer, query: String = "") async throws {
        let lines = (1...count).map { #"{"order_id":"o-\#($0)"}"# }.joined(separator: "\n")
        let answer = try await server.post("/v1/topics/orders/events\(query)", lines, type: "application/x-ndjson")
        #expect(answer.status == 202, "\(answer.text)")
    }

    struct Given: Hashable, Sendable {
        var lease: String
        var offset: Int
        var attempt: Int
    }

    private func pull(
        _ server: RunningServer, _ subscriber: String = "accounting", max: Int = 100, wait: String = "0s"
    ) async throws -> [Given] {
        try await Self.pull(port: server.port, subscriber, max: max, wait: wait)
    }

    private static func pull(port: Int, _ subscriber: String, max: Int, wait: String) async throws -> [Given] {
        let answer = try await Loopback.send(
            "POST", port, "/v1/subscribers/\(subscriber)/pull", body: Array(#"{"max":\#(max),"wait":"\#(wait)"}"#.utf8))
        let deliveries = try answer.object["deliveries"] as? [[String: Any]] ?? []
        return deliveries.map {
            Given(
                lease: $0["lease"] as? String ?? "", offset: $0["offset"] as? Int ?? -1,
                attempt: $0["attempt"] as? Int ?? 0)
        }
    }

    private func settle(
        _ server: RunningServer, _ body: String, as subscriber: String = "accounting"
    ) async throws -> [String] {
        let answer = try await server.post("/v1/subscribers/\(subscriber)/settle", body)
        let results = try answer.object["results"] as? [[String: Any]] ?? []
        return results.compactMap { $0["result"] as? String }
    }

    @Test(.timeLimit(.minutes(2))) func aLeaseOutlivesAKill() async throws {
        let server = try await server()
        try await publish(4, to: server)
        let first = try await pull(server, max: 3)
        #expect(first.map(\.offset) == [0, 1, 2])
        #expect(try await settle(server, #"{"ack":["\#(first[0].lease)"]}"#) == ["done"])
        // The acknowledgement is written within milliseconds; the leases were before their client had them.
        try await eventually("the acknowledgement is counted") {
            try await server.subscriber("accounting")["acked"] as? Int == 1
        }
        server.killHard()
        try await server.start()
        let second = try await pull(server)
        #expect(!second.map(\.offset).contains { $0 == 1 || $0 == 2 }, "they are somebody's: \(second)")
        #expect(try await settle(server, #"{"ack":["\#(first[1].lease)"]}"#) == ["done"])
        // Nobody settles the last: it comes again, counted as an attempt.
        var third: [Given] = []
        try await eventually("the lease runs out") {
            third += try await pull(server, wait: "1s")
            return third.contains { $0.offset == 2 }
        }
        #expect(third.first { $0.offset == 2 }?.attempt == 2)
        #expect(!third.contains { $0.offset == 1 })
        #expect(try await settle(server, #"{"ack":["\#(first[2].lease)"]}"#) == ["expired"])
    }

    @Test(.timeLimit(.minutes(2))) func everySettlementIsAnsweredByItself() async throws {
        let server = try await server()
        try await publish(4, to: server)
        let mine = try await pull(server)
        let others = try await pull(server, "other")
        #expect(mine.count == 4 && others.count == 4)
        let body = """
            {"ack":["\(mine[0].lease)","\(mine[0].lease)","garbage","\(others[0].lease)"],
             "retry":[{"lease":"\(mine[1].lease)","after":"1ms","reason":"busy"}],
             "dead":[{"lease":"\(mine[2].lease)","reason":"torn"}],"extend":["\(mine[3].lease)"]}
            """
        #expect(
            try await settle(server, body) == ["done", "settled", "unknown", "unknown", "done", "done", "done"])
        #expect(try await settle(server, #"{"ack":["\#(others[0].lease)"]}"#, as: "other") == ["done"])
        #expect(try await settle(server, #"{"ack":["\#(mine[2].lease)"]}"#) == ["settled"])
        let again = try await pull(server, wait: "5s")
        #expect(again.map(\.offset) == [1])
        #expect(again.first?.attempt == 2)
        #expect(try await server.command("dead", "list").output.contains("torn"))
    }

    @Test(.timeLimit(.minutes(2))) func consumersShareWhatThereIs() async throws {
        let server = try await server()
        let port = server.port
        async let first = Self.pull(port: port, "accounting", max: 2, wait: "20s")
        async let second = Self.pull(port: port, "accounting", max: 2, wait: "20s")
        try await publish(4, to: server)
        let (a, b) = try await (first, second)
        #expect(Set((a + b).map(\.offset)).count == a.count + b.count, "nobody got what another had: \(a) \(b)")
        #expect(!a.isEmpty && !b.isEmpty)
    }

    @Test(.timeLimit(.minutes(2))) func aDelayedEventWaitsOverARestart() async throws {
        let server = try await server()
        let refused = try await server.post("/v1/topics/orders/events?deliverafter=soon", "{}")
        #expect(refused.status == 400)
        #expect(refused.text.contains(#"attribute \"deliverafter\" is \"soon\"; write a duration such as 30s"#))
        try await publish(1, to: server, query: "?deliverafter=3s")
        try await publish(1, to: server)
        #expect(try await pull(server, wait: "5s").map(\.offset) == [1])
        server.killHard()
        try await server.start()
        var late: [Given] = []
        try await eventually("the delayed one comes") {
            late += try await pull(server, wait: "1s").filter { $0.offset == 0 }
            return !late.isEmpty
        }
        #expect(late.map(\.attempt) == [1])
    }

    @Test(.timeLimit(.minutes(2))) func aDelayThatOutlastsItsTopicIsRefusedWhoeverPublishes() async throws {
        let server = try RunningServer(
            routes: """
                topic orders { retain 1h }
                retry once { attempts 1; backoff 10ms; timeout 5s }
                subscriber echo { from orders; run echo; allow publish orders; retry once }
                """,
            plugins: [
                "echo": """
                return function(event, ctx)
                  if event.data.echo then
                    ctx.publish("orders", {}, { deliverafter = event.data.echo })
                  end
                end
                """
            ])
        try await server.start()
        let refused = try await server.post("/v1/topics/orders/events?deliverafter=90m", "{}")
        #expect(refused.status == 400)
        let words =
            #"attribute \"deliverafter\" is \"90m\", and topic \"orders\" drops its events after 1h, before this one is delivered; "#
            + "let it wait for less, or raise the topic's `retain`"
        #expect(refused.text.contains(words), "\(refused.text)")
        _ = try await server.post("/v1/topics/orders/events", #"{"echo":"2h"}"#)
        try await eventually("the plugin is refused, too") { try await server.subscriber("echo")["dead"] as? Int == 1 }
        let error = try await server.subscriber("echo")["lastError"] as? String ?? ""
        #expect(error.contains("ctx.publish: attribute \"deliverafter\" is \"2h\""), "\(error)")
        #expect(error.contains("echo.lua:3:"), "and told where: \(error)")
        _ = try await server.post("/v1/topics/orders/events", #"{"echo":"30m"}"#)
        try await eventually("what comes in time is taken") {
            try await server.tail("orders").count == 3
        }
        try server.write(
            routes:
                "topic orders { retain 1h }\nsubscriber echo { from orders; run echo; deliver after 1h; allow publish orders }"
        )
        let reload = try await server.command("reload")
        #expect(reload.code == 2)
        #expect(reload.errors.contains("drops its events after 1h"), "\(reload.errors)")
    }

    @Test(.timeLimit(.minutes(2))) func anExpiredEventIsNeverDeliveredLate() async throws {
        let server = try await server()
        _ = try await server.command("pause", "accounting", "--reason", "stocktaking")
        try await publish(2, to: server, query: "?expirytime=100ms")
        try await publish(1, to: server)
        try await Task.sleep(for: .milliseconds(150))
        _ = try await server.command("resume", "accounting")
        #expect(try await pull(server, wait: "5s").map(\.offset) == [2])
        #expect(try await server.subscriber("accounting")["dropped"] as? Int == 2)
    }

    @Test(.timeLimit(.minutes(2))) func aPauseOutlivesAKillAndSaysWhy() async throws {
        let server = try await server()
        _ = try await server.command("pause", "accounting", "--reason", "stocktaking")
        server.killHard()
        try await server.start()
        try await publish(1, to: server)
        #expect(try await pull(server).isEmpty)
        let status = try await server.command("status")
        #expect(status.output.contains("accounting is paused by hand since 20"), "\(status.output)\(status.errors)")
        #expect(status.output.contains(": stocktaking"))
        _ = try await server.command("resume", "accounting")
        server.killHard()
        try await server.start()
        #expect(try await pull(server, wait: "5s").map(\.offset) == [0])
    }

    @Test(.timeLimit(.minutes(2))) func whatARemovedSubscriberLeavesBehindComesBackOrIsForgotten() async throws {
        let server = try await server()
        try await publish(3, to: server)
        let given = try await pull(server, "other", max: 2)
        #expect(
            try await settle(server, #"{"ack":["\#(given[0].lease)","\#(given[1].lease)"]}"#, as: "other").count == 2)
        let runs = try await server.command("forget", "other", "--yes")
        #expect(runs.code == 2)
        #expect(runs.errors.contains("subscriber \"other\" runs; remove its block"), "\(runs.errors)")

        let without = Self.routes.split(separator: "\n").filter { !$0.contains("other") }.joined(separator: "\n")
        try server.write(routes: without)
        _ = try await server.command("reload")
        let status = try await server.command("status")
        #expect(status.output.contains("IN NO CONFIGURATION"), "\(status.output)")
        // Back before its time is over, it goes on where it stopped.
        try server.write(routes: Self.routes)
        _ = try await server.command("reload")
        #expect(try await !server.command("status").output.contains("IN NO CONFIGURATION"))
        #expect(try await pull(server, "other", wait: "5s").map(\.offset) == [2])

        try server.write(routes: without)
        _ = try await server.command("reload")
        let unsure = try await server.command("forget", "other")
        #expect(unsure.code == 2)
        #expect(unsure.errors.contains("add --yes"))
        let forgotten = try await server.command("forget", "other", "--yes")
        #expect(forgotten.output == "other is forgotten\n", "\(forgotten.errors)")
        #expect(try await server.command("forget", "other", "--yes").code != 0)
        // A subscriber of that name is a new one.
        try server.write(routes: Self.routes)
        _ = try await server.command("reload")
        #expect(try await pull(server, "other", wait: "5s").map(\.offset) == [0, 1, 2])
    }
}
