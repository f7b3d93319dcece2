// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The plugins that come with Fairlead, in the real program, with the routes.conf of docs/plugins.
struct PluginBoxTests {
    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
    private static let pages = repository.appendingPathComponent("docs/plugins")
    /// Those with a page.
    private static let names = [
        "dead_letter_alert", "discord", "email", "file_append", "http_forward", "slack", "throttle_digest", "transform",
    ]

    /// A folder with all plugins and no server yet.
    private func folder(_ routes: String = "") throws -> RunningServer {
        let server = try RunningServer(routes: routes)
        let plugins = server.folder.appendingPathComponent("Plugins")
        try FileManager.default.removeItem(at: plugins)
        try FileManager.default.copyItem(at: Self.repository.appendingPathComponent("Plugins"), to: plugins)
        return server
    }

    private func json(_ bytes: [UInt8]) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
    }

    @Test(.timeLimit(.minutes(2)))
    func theTestsOfThePluginsPassAndTheirRoutesAreGood() async throws {
        let server = try folder()
        let tests = try await server.command("test", Self.pages.appendingPathComponent("all.conf").path)
        #expect(tests.code == 0, "\(tests.output)")
        for name in Self.names { #expect(tests.output.contains("Plugins/\(name)_test.lua: "), "\(name) has no test") }
        let check = try await server.command("check", Self.pages.appendingPathComponent("all.conf").path)
        #expect(check.code == 0, "\(check.errors)")
    }

    @Test(.timeLimit(.minutes(2)), arguments: names)
    func whatAPageShowsCanBePasted(_ name: String) async throws {
        let page = try String(contentsOf: Self.pages.appendingPathComponent("\(name).md"), encoding: .utf8)
        let blocks = page.components(separatedBy: "```conf\n").dropFirst()
            .compactMap { $0.components(separatedBy: "```").first }
        try #require(!blocks.isEmpty)
        let server = try folder()
        for block in blocks {
            let topics = ["orders", "payments", "partner_orders", "digests"].map { "topic \($0) { retain 30d }\n" }
            try server.write(routes: topics.joined() + "mail { directory \"data/mail\" }\n" + block)
            let check = try await server.command("check")
            #expect(check.code == 0, "\(block)\n\(check.errors)")
        }
        // A setting that there is not makes it list those that there are.
        try server.write(routes: "topic orders { retain 30d }\nsubscriber s { from orders; run \(name) { nothing 1 } }")
        let refused = try await server.command("check")
        let list = try #require(refused.errors.components(separatedBy: "its settings are ").dropFirst().first)
        for setting in list.prefix(while: { $0 != "\n" }).components(separatedBy: ", ") {
            #expect(page.contains("| `\(setting)` |"), "\(name).md says nothing of \(setting)")
        }
    }

    private func start(_ sink: Sink) async throws -> RunningServer {
        let routes = try String(contentsOf: Self.pages.appendingPathComponent("all.conf"), encoding: .utf8)
            .split(separator: "\n", omittingEmptySubsequences: false).filter { !$0.hasPrefix("listen") }
            .joined(separator: "\n").replacing("../../Plugins", with: "Plugins")
            .replacing("127.0.0.1:9090", with: "127.0.0.1:\(sink.port)")
        let server = try folder(routes)
        try await server.start(environment: secrets(sink))
        return server
    }

    private func secrets(_ sink: Sink) -> [String: String] {
        [
            "SLACK_WEBHOOK_URL": "http://127.0.0.1:\(sink.port)/slack",
            "DISCORD_WEBHOOK_URL": "http://127.0.0.1:\(sink.port)/discord",
        ]
    }

    private func counts(_ server: RunningServer, _ most: Int) async throws -> [Int] {
        let digests = try await server.command("tail", "digests", "--from", "0", "--max", "\(most)")
        return digests.output.split(separator: "\n").compactMap { line in
            line.firstMatch(of: /"count":(\d+)/).flatMap { Int($0.1) }
        }
    }

    private func publish(_ type: String, _ id: String, _ data: String, on server: RunningServer) async throws {
        let answer = try await server.post(
            "/v1/topics/orders/events",
            #"{"specversion":"1.0","id":"\#(id)","source":"/shop","type":"\#(type)","data":\#(data)}"#,
            type: "application/cloudevents+json")
        #expect(answer.status == 202)
    }

    private func sent(_ line: String, to sink: Sink) throws -> [[String: Any]] {
        try sink.requests.filter { $0.line == line }.map { try json($0.body) }
    }

    private func mails(of server: RunningServer) throws -> [String] {
        let folder = server.folder.appendingPathComponent("data/mail")
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        return try names.filter { $0.hasSuffix(".eml") }.map {
            try String(contentsOf: folder.appendingPathComponent($0), encoding: .utf8)
        }
    }

    /// The lines of the archive, but for half a line that a crash has left.
    private func exported(by server: RunningServer) throws -> [[String: Any]] {
        let exports = server.folder.appendingPathComponent("data/exports")
        let years = (try? FileManager.default.contentsOfDirectory(atPath: exports.path)) ?? []
        return try years.sorted().flatMap { year in
            try String(contentsOf: exports.appendingPathComponent("\(year)/orders.ndjson"), encoding: .utf8)
                .split(separator: "\n").compactMap { try? json(Array($0.utf8)) }
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func anOrderIsToldWrittenMailedForwardedAndReshaped() async throws {
        let sink = try Sink()
        let server = try await start(sink)
        try await publish(
            "order.placed", "e-1",
            #"{"order_id":"o/1","total":12.5,"currency":"EUR","customer":{"name":"Ada <3","email":"ada@example.com"}}"#,
            on: server)
        try await publish("order.shipped", "e-2", #"{"order_id":"o/1"}"#, on: server)
        try await eventually("all are done") {
            for name in ["slack", "discord", "mails", "forward", "archive", "for_partners"]
            where try await server.subscriber(name)["backlog"] as? Int != 0 { return false }
            return true
        }

        let slack = try #require(try sent("POST /slack", to: sink).first)
        #expect(slack["text"] as? String == "Order *o/1* over 12.5" && slack["icon_emoji"] as? String == ":package:")
        let discord = try #require(try sent("POST /discord", to: sink).first)
        #expect(discord["content"] as? String == "Order **o/1**")
        let card = try #require((discord["embeds"] as? [[String: Any]])?.first)
        let fields = try #require(card["fields"] as? [[String: Any]])
        #expect(fields.map { $0["value"] as? String } == ["Ada <3", "12.5"])

        let put = try #require(try sent("PUT /v1/orders/o%2F1", to: sink).first)
        #expect(put["total"] as? Double == 12.5 && put["note"] as? String == "For Ada <3")

        let mail = try mails(of: server)
        #expect(
            mail.count == 1 && mail[0].contains("To: ada@example.com") && mail[0].contains("Subject: Your order o/1"))

        let lines = try exported(by: server)
        #expect(lines.map { $0["id"] as? String } == ["e-1", "e-2"])
        #expect(lines.map { $0["offset"] as? Int } == [0, 1] && lines[0]["topic"] as? String == "orders")

        let partners = try await server.command("pull", "partners", "--wait", "5s")
        #expect(partners.output.contains(#""shop":"north""#) && partners.output.contains(#""type":"partner.order""#))
        #expect(partners.output.contains(#""reference":"/shop/o/1""#) && !partners.output.contains("ada@example.com"))
    }

    @Test(.timeLimit(.minutes(2)))
    func aDigestComesWithoutAnotherEventAndCountsEachOnce() async throws {
        let server = try await start(try Sink())
        func fail(_ number: Int) async throws {
            try await publish(
                "payment.failed", "p-\(number)", #"{"shop":"north","order_id":"o-\#(number)"}"#, on: server)
        }
        try await fail(0)
        try await eventually("the first is told at once") {
            try await server.subscriber("per_shop")["backlog"] as? Int == 0
        }
        for number in 1...20 { try await fail(number) }
        try await eventually("the rest is told when the interval is over, though nothing else came") {
            try await server.subscriber("per_shop")["backlog"] as? Int == 0
        }
        #expect(try await counts(server, 2) == [1, 20])
    }

    @Test(.timeLimit(.minutes(2)))
    func aDigestCountsEachOnceOverCrashes() async throws {
        let sink = try Sink()
        let server = try await start(sink)
        for round in 0..<4 {
            for number in 0..<25 {
                try await publish(
                    "payment.failed", "p-\(round)-\(number)", #"{"shop":"north","order_id":"o"}"#, on: server)
            }
            try await eventually("all but one that is put back are counted") {
                try await server.subscriber("per_shop")["backlog"] as? Int ?? 25 <= 1
            }
            server.killHard()
            try await server.start(environment: secrets(sink))
        }
        func told() async throws -> Int {
            let topics = try await server.get("/v1/status").object["topics"] as? [[String: Any]] ?? []
            let digests = try #require(topics.first { $0["name"] as? String == "digests" }?["end"] as? Int)
            return try await counts(server, digests).reduce(0, +)
        }
        try await eventually("all are told") { try await told() >= 100 }
        try await eventually("nothing waits") { try await server.subscriber("per_shop")["backlog"] as? Int == 0 }
        #expect(try await told() == 100)
    }

    @Test(.timeLimit(.minutes(2)))
    func noLineIsLostInACrashAndDoublesAreTold() async throws {
        let sink = try Sink()
        let server = try await start(sink)
        for round in 0..<4 {
            for number in 0..<25 { try await publish("order.shipped", "s-\(round)-\(number)", "{}", on: server) }
            server.killHard()
            try await server.start(environment: secrets(sink))
        }
        try await eventually("every event has a line") {
            Set(try exported(by: server).compactMap { $0["offset"] as? Int }) == Set(0..<100)
        }
        var ids: [Int: Set<String>] = [:]
        for line in try exported(by: server) {
            ids[try #require(line["offset"] as? Int), default: []].insert(try #require(line["id"] as? String))
        }
        #expect(ids.values.allSatisfy { $0.count == 1 }, "lines with the same offset are the same event")
    }

    @Test(.timeLimit(.minutes(2)))
    func deadLettersAreToldInOneMessage() async throws {
        let sink = try Sink()
        let server = try await start(sink)
        for number in 1...3 {
            try await publish(
                "order.placed", "s-\(number)",
                #"{"order_id":"o-\#(number)","total":1,"currency":"SEK","customer":{"email":"a@example.com"}}"#,
                on: server)
        }
        try await eventually("the three are told about") {
            try sent("POST /alerts", to: sink).compactMap { ($0["data"] as? [String: Any])?["total"] as? Int }
                .reduce(0, +) == 3
        }
        let told = try #require(
            try sent("POST /slack", to: sink).first { ($0["channel"] as? String) == "#oncall" }?["text"] as? String)
        #expect(told.contains("x receipts: order o-1 is in SEK, which receipts can't show"), "\(told)")
        #expect(try mails(of: server).contains { $0.contains("To: oncall@example.com") })
    }
}
