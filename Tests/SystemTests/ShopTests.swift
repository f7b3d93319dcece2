// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The shop of the repository, with its own routes.conf, plugins and purchases, driven by the commands that people type.
struct ShopTests {
    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
    private static let purchases = repository.appendingPathComponent("docs/demo/purchases.ndjson").path

    /// A running shop; `warehouse` is the port that fulfilment pushes to.
    private func shop(warehouse: Int) async throws -> RunningServer {
        let server = try RunningServer(routes: "")
        let plugins = Self.repository.appendingPathComponent("Plugins")
        for file in try FileManager.default.contentsOfDirectory(atPath: plugins.path) where file.hasSuffix(".lua") {
            try FileManager.default.copyItem(
                at: plugins.appendingPathComponent(file), to: server.folder.appendingPathComponent("Plugins/\(file)"))
        }
        try server.write(routes: try routes(warehouse: warehouse))
        try await server.start()
        return server
    }

    /// The repository's routes.conf without its `listen` line.
    private func routes(warehouse: Int) throws -> String {
        try String(contentsOf: Self.repository.appendingPathComponent("routes.conf"), encoding: .utf8)
            .split(separator: "\n", omittingEmptySubsequences: false).filter { !$0.hasPrefix("listen") }
            .joined(separator: "\n").replacing("127.0.0.1:9090", with: "127.0.0.1:\(warehouse)")
    }

    @Test(.timeLimit(.minutes(2)))
    func purchasesReachEverySubscriber() async throws {
        let sink = try Sink()
        let server = try await shop(warehouse: sink.port)

        let published = try await server.command("publish", "orders", Self.purchases)
        #expect(published.output == "49 published to orders at offsets 0 to 48, 2 known already\n")
        try await eventually("receipts, inventory, fulfilment and order history are done") {
            for name in ["receipts", "inventory", "fulfilment", "order_history"]
            where try await server.subscriber(name)["backlog"] as? Int != 0 { return false }
            return true
        }

        let mail = server.folder.appendingPathComponent("data/mail")
        let receipts = try FileManager.default.contentsOfDirectory(atPath: mail.path)
        #expect(receipts.count == 29, "everybody with an address but the one who paid in SEK")
        #expect(sink.requests.count == 40, "each order placed, no refund")
        #expect(Set(sink.requests.map(\.id)).count == 40)
        #expect(try await server.subscriber("order_history")["dropped"] as? Int == 2, "guests have no history")

        let pulled = try await server.command("pull", "accounting", "--max", "100")
        #expect(pulled.output.split(separator: "\n").count == 49, "accounting gets everything")
        let low = try await server.command("pull", "purchasing", "--wait", "5s")
        #expect(low.output.contains(#""sku":"MAP-88""#) && low.output.contains(#""sku":"TEA-07""#), "\(low.output)")

        let status = try await server.command("status")
        #expect(status.output.contains("daily_digest"), "\(status.output)")
        #expect(try await server.subscriber("daily_digest")["backlog"] as? Int == 40, "the digest waits for its day")

        try await theLetterIsMendedAndSentAgain(server, sink, receipts: mail)
        server.signal(SIGTERM)
        try await eventually("the server has ended") { !server.process.isRunning }
        #expect(server.process.terminationStatus == 0)
    }

    private func theLetterIsMendedAndSentAgain(
        _ server: RunningServer, _ sink: Sink, receipts: URL
    ) async throws {
        let dead = try await server.command("dead", "list")
        #expect(
            dead.output.contains(
                "order o-1023 is in SEK, which receipts can't show: add it to `currencies` in routes.conf"),
            "\(dead.output)")
        let announced = try await server.command("tail", "$dead", "--from", "0", "--max", "1")
        #expect(announced.output.contains("fairlead.delivery.dead"), "\(announced.output)")

        try server.write(
            routes: try routes(warehouse: sink.port).replacing(#""JPY"]"#, with: #""JPY", "SEK"]"#))
        let reloaded = try await server.command("reload")
        #expect(reloaded.output == "generation 2 applied\n  receipts changed\n", "\(reloaded.errors)")
        let redriven = try await server.command("dead", "redrive", "--all")
        #expect(redriven.output == "1 sent again, 1 acknowledged\n", "\(redriven.errors)")
        try await eventually("the receipt is there") {
            try FileManager.default.contentsOfDirectory(atPath: receipts.path).count == 30
        }
        let after = try await server.command("dead", "list")
        #expect(after.output == "no dead letters\n")
    }

    @Test(.timeLimit(.minutes(2)))
    func aWarehouseThatWasDownGetsWhatItMissed() async throws {
        let port = try Loopback.freePort()
        let server = try await shop(warehouse: port)
        _ = try await server.command("publish", "orders", Self.purchases)
        try await eventually("deliveries fail and wait") {
            (try await server.subscriber("fulfilment")["retrying"] as? Int ?? 0) > 0
        }
        server.killHard()
        try await server.start()
        let sink = try Sink(port: port)
        try await eventually("everything has arrived, over a restart too") { Set(sink.requests.map(\.id)).count == 40 }
    }

    @Test(.timeLimit(.minutes(3)))
    func theDemoRunsToItsEnd() async throws {
        let demo = try await RunningServer.command(
            ["-c", "exec docs/demo/demo.sh \"$0\"", RunningServer.program.path], of: URL(fileURLWithPath: "/bin/bash"),
            in: Self.repository)
        #expect(demo.code == 0, "\(demo.errors)")
        for line in [
            "49 published to orders at offsets 0 to 48, 2 known already", "the 5 that it missed",
            "Subject: Your order o-1023", "Slack got 29 messages", "Stopped",
        ] {
            #expect(demo.output.contains(line), "\(line) is missing in:\n\(demo.output)")
        }
    }
}
