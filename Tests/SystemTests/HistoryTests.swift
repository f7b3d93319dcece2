// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The past beside what is live, on the real program: `start earliest`, replays and imports, through SIGKILL.
struct HistoryTests {
    private static let routes = """
        topic orders { retain 400d; key data.order_id }
        topic seen { retain 30d }
        subscriber counter { from orders; run counter; allow publish seen }
        subscriber other { from orders; run counter; allow publish seen }
        subscriber careful { from orders; run counter; allow publish seen; replay deny }
        """

    private static let counter = """
        return function(event, ctx)
          ctx.state.add(event.replay and "replayed" or "live", 1)
          ctx.state.add("id:" .. event.id, 1)
          if event.data.n == 1 and event.replay then
            ctx.publish("seen", { topic = event.topic, time = event.time, key = event.key }, { type = "seen" })
          end
        end
        """

    private func shop(orders: Int) async throws -> RunningServer {
        let server = try RunningServer(routes: Self.routes, plugins: ["counter": Self.counter])
        try await server.start()
        if orders > 0 { try await publish(server, 1...orders) }
        return server
    }

    private static func order(_ number: Int, time: String? = nil) -> String {
        let time = time.map { #","time":"\#($0)""# } ?? ""
        return #"{"specversion":"1.0","id":"e\#(number)","source":"/shop","type":"order.placed"\#(time),"#
            + #""data":{"order_id":"o-\#(number % 50)","n":\#(number)}}"#
    }

    private func publish(_ server: RunningServer, _ numbers: ClosedRange<Int>) async throws {
        for start in stride(from: numbers.lowerBound, through: numbers.upperBound, by: 1_000) {
            let lines = (start...min(start + 999, numbers.upperBound)).map { Self.order($0) }
            let answer = try await server.post(
                "/v1/topics/orders/events", lines.joined(separator: "\n"), type: "application/x-ndjson")
            #expect(answer.status == 202)
        }
    }

    private func count(_ server: RunningServer, _ subscriber: String, _ key: String) async throws -> Int {
        let answer = try await server.get("/v1/subscribers/\(subscriber)/state/\(key)")
        return answer.status == 200 ? Int(answer.text) ?? -1 : 0
    }

    /// Keys of events that the subscriber handled, and how often each.
    private func handled(_ server: RunningServer, _ subscriber: String) async throws -> [String: Int] {
        var all: [String: Int] = [:]
        var after = ""
        while true {
            let answer = try await server.get(
                "/v1/subscribers/\(subscriber)/state?prefix=id:&limit=1000&after=\(after)")
            let entries = try answer.object["entries"] as? [[String: Any]] ?? []
            for entry in entries {
                guard let key = entry["key"] as? String else { continue }
                all[key] = entry["value"] as? Int
                after = key
            }
            if entries.count < 1_000 { return all }
        }
    }

    private func runs(_ server: RunningServer, _ subscriber: String) async throws -> [[String: Any]] {
        try await server.get("/v1/subscribers/\(subscriber)/replays").object["replays"] as? [[String: Any]] ?? []
    }

    private func imports(_ server: RunningServer) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: server.folder.appendingPathComponent("data/journal").path)
            .filter { $0.hasPrefix("$import.") }
    }

    @Test(.timeLimit(.minutes(2)))
    func aReplayGoesOnAfterSIGKILLAndCountsEachEventOnce() async throws {
        let server = try await shop(orders: 4_000)
        try await eventually("all are handled") { try await self.count(server, "counter", "live") == 4_000 }
        let begun = try await server.command(
            "replay", "counter", "--from", "earliest", "--rate", "2000/s", "--where", "data.n > 1000", "--no-wait")
        #expect(begun.code == 0, "\(begun)")
        for _ in 0..<2 {
            let before = try await count(server, "counter", "replayed")
            try await eventually("some more are replayed") {
                try await self.count(server, "counter", "replayed") > before
            }
            server.killHard()
            try await server.start()
        }
        try await publish(server, 4_001...4_010)
        try await eventually("the replay is finished") {
            try await self.runs(server, "counter").first?["state"] as? String == "finished"
        }
        #expect(try await count(server, "counter", "replayed") == 3_000)
        try await eventually("what is live came as well") {
            try await self.count(server, "counter", "live") == 4_010
        }
        #expect(try await count(server, "other", "replayed") == 0)
        let run = try #require(try await runs(server, "counter").first)
        #expect(run["delivered"] as? Int == 3_000 && run["passed"] as? Int == 4_000)
        let list = try await server.command("replay", "counter", "--list")
        #expect(
            list.output.contains("replay") && list.output.contains("finished") && list.output.contains("orders 0-4000"))
        server.signal(SIGTERM)
    }

    @Test(.timeLimit(.minutes(2)))
    func aReplayIsRefusedWhereItIsDeniedAndCancelledWhereItIsAsked() async throws {
        let server = try await shop(orders: 2_000)
        let denied = try await server.command("replay", "careful", "--from", "earliest")
        #expect(denied.code == 2)
        #expect(denied.errors.contains("subscriber \"careful\" has a `replay deny` line in routes.conf"))
        let wrong = try await server.command("replay", "counter", "--from", "yesterday")
        #expect(wrong.code == 2 && wrong.errors.contains("\"from\" is \"yesterday\"; write earliest, an offset"))
        let filter = try await server.command("replay", "counter", "--from", "0", "--where", "data.n >")
        #expect(filter.code == 2 && filter.errors.contains("the filter is wrong"))
        let nothing = try await server.command("replay", "counter", "--from", "2000")
        #expect(nothing.code == 2 && nothing.errors.contains("there is nothing between these points in orders"))
        let elsewhere = try await server.command("replay", "counter", "--from", "0", "--topic", "seen")
        #expect(elsewhere.errors.contains("subscriber \"counter\" doesn't take from \"seen\"; it takes from: orders"))

        _ = try await server.command("replay", "counter", "--from", "1h", "--rate", "100/s", "--no-wait")
        let run = try #require(try await server.subscriber("counter")["history"] as? [[String: Any]]).first
        let id = try #require(run?["id"] as? Int)
        let cancelled = try await server.command("replay", "counter", "--cancel", "\(id)")
        #expect(cancelled.code == 0 && cancelled.output.contains("replay \(id) of counter is cancelled"))
        let again = try await server.command("replay", "counter", "--cancel", "\(id)")
        #expect(again.code == 2 && again.errors.contains("is cancelled already"))
        let part = try await server.command("replay", "counter", "--from", "5", "--to", "25")
        #expect(part.code == 0 && part.output.contains("finished: 20 delivered of 20 looked at"), "\(part)")
        server.signal(SIGTERM)
    }

    @Test(.timeLimit(.minutes(2)))
    func aSubscriberAddedLaterGetsThePastAndStaysLiveWithEachEventOnce() async throws {
        let server = try await shop(orders: 5_000)
        let late = "subscriber late { from orders; run counter; allow publish seen; start earliest }"
        try server.write(routes: Self.routes + "\n" + late)
        let port = server.port
        let publishing = Task {
            for number in 5_001...5_300 {
                let answer = try await Loopback.send(
                    "POST", port, "/v1/topics/orders/events", body: Array(Self.order(number).utf8),
                    type: "application/cloudevents+json")
                #expect(answer.status == 202)
            }
        }
        #expect(try await server.command("reload").code == 0)
        try await publishing.value
        try await eventually("all are handled") { try await self.count(server, "late", "live") == 5_300 }
        let handled = try await handled(server, "late")
        #expect(handled.count == 5_300 && handled.values.allSatisfy { $0 == 1 })
        #expect(try await count(server, "late", "replayed") == 0)
        try await eventually("the run has ended") {
            try await self.runs(server, "late").first?["state"] as? String == "finished"
        }
        server.signal(SIGTERM)
    }

    @Test(.timeLimit(.minutes(3)))
    func anImportGoesOnAfterSIGKILLOfBothSidesAndReachesOneSubscriberAlone() async throws {
        let server = try await shop(orders: 100)
        let file = server.folder.appendingPathComponent("past.ndjson")
        let lines = (1...6_000).map { Self.order($0, time: "2019-05-04T03:02:01Z") }
        try Data((lines.joined(separator: "\n") + "\n\n").utf8).write(to: file)
        let arguments = ["import", "orders", "past.ndjson", "--only", "counter", "--batch", "20"]

        func taken() async throws -> Int {
            try await runs(server, "counter").first?["taken"] as? Int ?? 0
        }
        // The sender dies.
        let sender = Process()
        sender.executableURL = RunningServer.program
        sender.arguments = arguments
        sender.currentDirectoryURL = server.folder
        sender.standardOutput = FileHandle.nullDevice
        sender.standardError = FileHandle.nullDevice
        try sender.run()
        try await eventually("some are in") { try await taken() > 200 }
        kill(sender.processIdentifier, SIGKILL)
        sender.waitUntilExit()
        // Then the server, with a sender at work.
        let half = try await taken()
        let folder = server.folder
        let second = Task { try await RunningServer.command(arguments, in: folder) }
        try await eventually("some more are in") { try await taken() > half }
        server.killHard()
        #expect(try await second.value.code == 1)
        try await server.start()

        let done = try await server.command("import", "orders", "past.ndjson", "--only", "counter")
        #expect(done.code == 0, "\(done)")
        #expect(done.output.contains("goes on behind its first") && done.output.contains("finished: 6000 delivered"))
        #expect(try await count(server, "counter", "replayed") == 6_000)
        let handled = try await handled(server, "counter")
        #expect(handled.count == 6_000)
        #expect(handled["id:e6000"] == 1 && handled["id:e50"] == 2, "those of the topic itself came before")
        #expect(try await count(server, "other", "replayed") == 0)
        #expect(try await count(server, "other", "live") == 100)

        let seen = try await server.get("/v1/topics/seen/events?from=0&wait=5s").text.split(separator: "\n")
        #expect(
            seen.count == 1 && seen[0].contains(#""topic":"orders""#) && seen[0].contains(#""key":"o-1""#), "\(seen)")
        #expect(seen[0].contains("1556938921"), "its own time: \(seen)")

        let again = try await server.command("import", "orders", "past.ndjson", "--only", "counter")
        #expect(again.code == 0 && again.output.contains("was imported before"))
        #expect(try await count(server, "counter", "replayed") == 6_000)
        try await eventually("nothing is left of it") { try self.imports(server).isEmpty }
        server.signal(SIGTERM)
    }

    @Test(.timeLimit(.minutes(2)))
    func aFileWithBadLinesIsRefusedWithTheirNumbersAndNothingIsTaken() async throws {
        let server = try await shop(orders: 0)
        let lines = [
            Self.order(1), "", "{\"a\":", Self.order(2), #"{"specversion":"1.0","id":"","source":"/s","type":"t"}"#,
        ]
        try Data(lines.joined(separator: "\n").utf8).write(to: server.folder.appendingPathComponent("bad.ndjson"))
        let refused = try await server.command("import", "orders", "bad.ndjson", "--only", "counter")
        #expect(refused.code == 2)
        #expect(refused.errors.contains("bad.ndjson:3: ") && refused.errors.contains("bad.ndjson:5: "), "\(refused)")
        #expect(refused.errors.contains("2 of 4 lines are no events; nothing was imported"))
        #expect(try await runs(server, "counter").isEmpty)
        let missing = try await server.command("import", "orders", "none.ndjson", "--only", "counter")
        #expect(missing.code == 2 && missing.errors.contains("can't read none.ndjson"))
        try Data(Self.order(1).utf8).write(to: server.folder.appendingPathComponent("good.ndjson"))
        let nobody = try await server.command("import", "orders", "good.ndjson", "--only", "nobody")
        #expect(nobody.code == 2 && nobody.errors.contains("no subscriber \"nobody\""))
        let elsewhere = try await server.command("import", "seen", "good.ndjson", "--only", "counter")
        #expect(elsewhere.code == 2 && elsewhere.errors.contains("doesn't take from \"seen\""))
        server.signal(SIGTERM)
    }

    /// A soft bound: on a busy machine a live event still comes in a fraction of the time that the replay takes.
    @Test(.timeLimit(.minutes(2)))
    func whatIsLiveDoesNotWaitForALongReplay() async throws {
        let slow =
            "return function(event, ctx) ctx.state.add(event.replay and \"replayed\" or \"live\", 1) ctx.sleep(\"2ms\") end"
        let server = try RunningServer(routes: Self.routes, plugins: ["counter": slow])
        try await server.start()
        try await publish(server, 1...3_000)
        try await eventually("all are handled") { try await self.count(server, "counter", "live") == 3_000 }
        _ = try await server.command("replay", "counter", "--from", "earliest", "--no-wait")
        var slowest: Duration = .zero
        for number in 3_001...3_010 {
            let begun = ContinuousClock.now
            try await publish(server, number...number)
            try await eventually("it is handled") { try await self.count(server, "counter", "live") == number }
            slowest = max(slowest, ContinuousClock.now - begun)
        }
        #expect(slowest < .seconds(1))
        #expect(try await runs(server, "counter").first?["state"] as? String == "running", "the replay was under way")
        server.signal(SIGTERM)
    }
}
