// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// What `ordered` promises, on the real program: after a dead letter, and beside an import.
struct OrderTests {
    private static let routes = """
        topic orders { retain 30d; key data.order_id }
        subscriber stock { from orders; run stock; ordered; retry { attempts 2; backoff 10ms } }
        """

    /// Writes down the numbers of each key in the order in which it handled them.
    private static func plugin(refusing bad: Bool) -> String {
        """
        return function(event, ctx)
          if \(bad) and event.data.bad then error("no such article") end
          local key = "seen-" .. event.data.order_id
          ctx.state.put(key, (ctx.state.get(key) or "") .. event.data.n .. " ")
        end
        """
    }

    private func publish(_ server: RunningServer, _ numbers: ClosedRange<Int>, bad: [String: Int] = [:]) async throws {
        let lines = numbers.flatMap { number in
            ["a", "b", "c"].map { key in
                #"{"order_id":"\#(key)","n":\#(number)\#(bad[key] == number ? #","bad":true"# : "")}"#
            }
        }
        let answer = try await server.post(
            "/v1/topics/orders/events", lines.joined(separator: "\n"), type: "application/x-ndjson")
        #expect(answer.status == 202)
    }

    private func seen(_ server: RunningServer, _ key: String) async throws -> String {
        let answer = try await server.get("/v1/subscribers/stock/state/seen-\(key)")
        return answer.status == 200 ? answer.text.trimmingCharacters(in: ["\"", "\n"]) : ""
    }

    private func sequence(_ numbers: ClosedRange<Int>) -> String { numbers.map { "\($0) " }.joined() }

    @Test(.timeLimit(.minutes(3)))
    func aRedriveKeepsTheOrderOfItsKeyThroughAKillAndASecondFailure() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: ["stock": Self.plugin(refusing: true)])
        try await server.start()
        try await publish(server, 1...6, bad: ["a": 2, "b": 4])
        try await eventually("two are dead") { try await server.subscriber("stock")["dead"] as? Int == 2 }
        try await eventually("the key without a bad one goes on") {
            try await self.seen(server, "c") == self.sequence(1...6)
        }
        #expect(try await seen(server, "a") == sequence(1...1), "what came behind the dead letter waits")
        #expect(try await seen(server, "b") == sequence(1...3))

        // It fails again: its followers wait on, and so do those that come meanwhile.
        let failed = try await server.command("dead", "redrive", "--all", "--canary")
        #expect(failed.code == 1, "\(failed)")
        try await eventually("they are dead letters again") {
            try await server.subscriber("stock")["dead"] as? Int == 2
        }
        try await publish(server, 7...9)
        try await eventually("those of the third key are handled") {
            try await self.seen(server, "c") == self.sequence(1...9)
        }
        #expect(try await seen(server, "a") == sequence(1...1))
        #expect(try await seen(server, "b") == sequence(1...3))

        server.killHard()
        try server.write(plugin: "stock", Self.plugin(refusing: false))
        try await server.start()
        let redriven = try await server.command("dead", "redrive", "--all")
        #expect(redriven.output == "2 sent again, 2 acknowledged\n", "\(redriven)")
        for key in ["a", "b", "c"] {
            try await eventually("all of \(key) are handled") {
                try await self.seen(server, key).count >= self.sequence(1...9).count
            }
            #expect(try await seen(server, key) == sequence(1...9), "each once, in order")
        }
        server.signal(SIGTERM)
    }

    @Test(.timeLimit(.minutes(3)))
    func anImportThatGoesFirstIsHandledBeforeWhatIsLive() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: ["stock": Self.plugin(refusing: false)])
        try await server.start()
        let lines = (1...400).flatMap { n in ["a", "b"].map { #"{"order_id":"\#($0)","n":\#(n)}"# } }
        let file = server.folder.appendingPathComponent("past.ndjson")
        try Data(lines.joined(separator: "\n").utf8).write(to: file)
        let folder = server.folder
        let sender = Task {
            try await RunningServer.command(
                ["import", "orders", "past.ndjson", "--only", "stock", "--first", "--batch", "20"], in: folder)
        }
        try await eventually("the import has begun") {
            let runs = try await server.get("/v1/subscribers/stock/replays").object["replays"] as? [[String: Any]]
            return runs?.first?["first"] as? Bool == true
        }
        try await publish(server, 401...403)
        let done = try await sender.value
        #expect(done.code == 0, "\(done)")
        for key in ["a", "b"] {
            try await eventually("what is live comes when the import is done") {
                try await self.seen(server, key).count >= self.sequence(1...403).count
            }
            #expect(try await seen(server, key) == sequence(1...403))
        }
        server.signal(SIGTERM)
    }

    @Test(.timeLimit(.minutes(3)))
    func aDeadLetterOfAnImportIsFoundUnderItsRealTopic() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: ["stock": Self.plugin(refusing: true)])
        try await server.start()
        let lines = (1...3).map { #"{"order_id":"a","n":\#($0)\#($0 == 2 ? #","bad":true"# : "")}"# }
        let file = server.folder.appendingPathComponent("past.ndjson")
        try Data(lines.joined(separator: "\n").utf8).write(to: file)
        let sent = try await server.command("import", "orders", "past.ndjson", "--only", "stock", "--no-wait")
        #expect(sent.code == 0, "\(sent)")
        try await eventually("one is dead") { try await server.subscriber("stock")["dead"] as? Int == 1 }
        let list = try await server.command("dead", "list", "--topic", "orders")
        #expect(list.output.contains("orders (import 1)") && !list.output.contains("$import"), "\(list)")
        #expect(try await server.command("dead", "list", "--topic", "order").output == "no dead letters\n")
        let letter = try #require(
            try await server.get("/v1/dead?topic=orders").object["dead"] as? [[String: Any]]
        ).first
        #expect(letter?["topic"] as? String == "orders" && letter?["import"] as? Int == 1)
        let announced = try await server.tail("$dead")
        #expect(announced.first?.data["topic"] as? String == "orders")
        #expect(announced.first?.data["import"] as? Int == 1)
        let event = announced.first?.data["event"] as? [String: Any]
        #expect(event?["type"] as? String == "orders" && event?["source"] as? String == "/topics/orders")

        // The one behind it waits.
        try await eventually("one remains") {
            try await server.get("/metrics").text.contains(
                #"fairlead_history_remaining{kind="import",subscriber="stock"} 1"#)
        }
        try server.write(plugin: "stock", Self.plugin(refusing: false))
        #expect(try await server.command("reload").code == 0)
        let redriven = try await server.command("dead", "redrive", "--topic", "orders")
        #expect(redriven.output == "1 sent again, 1 acknowledged\n", "\(redriven)")
        try await eventually("the import is done, in order") {
            try await self.seen(server, "a") == self.sequence(1...3)
        }
        // Three events, one of them twice.
        try await eventually("nothing remains") {
            let metrics = try await server.get("/metrics").text
            return metrics.contains(#"fairlead_history_remaining{kind="import",subscriber="stock"} 0"#)
                && metrics.contains(#"fairlead_history_settled_total{kind="import",subscriber="stock"} 4"#)
                && metrics.contains(#"fairlead_history_runs{kind="import",subscriber="stock"} 0"#)
        }
        server.signal(SIGTERM)
    }
}
