// SPDX-License-Identifier: Apache-2.0

import Foundation
import Journal
import Testing

/// Files of the data folder that are cut short, have a bit flipped or are somebody else's: the program serves what there is
/// and says what is gone, or says which file keeps it from starting, and `verify --repair` gets it to start.
struct BadDataTests {
    private static let routes = """
        topic orders { retain 30d; key data.order_id }
        subscriber counter { from orders; run counter; start earliest }
        subscriber accounting { from orders; pull; start earliest }
        """
    private static let counter = #"return function(event, ctx) ctx.state.add("count", 1) end"#
    private static let published = 60

    enum Damage: String, CaseIterable {
        case cutShort, bitFlipped, foreign

        func apply(to file: URL, _ random: inout SeededRandom) throws {
            var bytes = try Data(contentsOf: file)
            // Segments are made larger than what is in them.
            let used = (bytes.lastIndex { $0 != 0 } ?? 0) + 1
            switch self {
            case .cutShort: bytes = bytes.prefix(Int.random(in: 0..<used, using: &random))
            case .bitFlipped:
                bytes[Int.random(in: 0..<used, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case .foreign: bytes = Data("%PDF-1.7 ".utf8) + bytes.reversed()
            }
            try bytes.write(to: file)
        }
    }

    @Test(
        .timeLimit(.minutes(5)),
        arguments: ["journal/orders/log", "journal/orders/idx", "ledger.db", "ledger.db-wal"], Damage.allCases)
    func aDamagedFileIsServedAroundOrNamed(_ name: String, _ damage: Damage) async throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededRandom(seed: seed)
        let server = try RunningServer(routes: Self.routes, plugins: ["counter": Self.counter])
        try await server.start()
        let note = String(repeating: "x", count: 300)
        let lines = (0..<Self.published).map { #"{"order_id":"o-\#($0)","note":"\#(note)"}"# }
        #expect(try await publish(server, lines) == 202)
        try await eventually("all are counted") { try await server.state("counter", "count") == Self.published }
        // Without an index there is none to damage: it is written when a segment closes.
        if name.hasSuffix("idx") {
            server.signal(SIGTERM)
            try await eventually("the process has ended") { !server.process.isRunning }
        } else {
            server.killHard()
        }
        guard let file = try file(name, server) else {
            #expect(name.hasSuffix("wal") || name.hasSuffix("idx"), "there is no \(name)")
            return
        }
        try damage.apply(to: file, &random)
        let what: Comment = "seed \(seed), \(name) \(damage): \(server.output)"

        try server.launch()
        try await eventually("it serves or has ended") {
            if !server.process.isRunning { return true }
            return (try? await server.get("/readyz").status) == 200
        }
        if !server.process.isRunning {
            #expect(server.process.terminationReason == .exit && server.process.terminationStatus == 1, what)
            #expect(server.output.contains("can't start: ") && server.output.contains(file.lastPathComponent), what)
            let repaired = try await server.command("verify", "--repair")
            #expect(repaired.code == 0, "\(what): \(repaired.output)\(repaired.errors)")
            try await server.start()
        }
        #expect(try await publish(server, [#"{"order_id":"new"}"#]) == 202, what)
        let orders = Set(try await pulled(server))
        #expect(orders.contains("new"), what)
        if orders.count < Self.published + 1 {
            #expect(file.pathExtension == "log", what)
            let output = server.output
            #expect(output.contains("warning") || output.contains("error"), "\(what): what is gone is told")
        }
        #expect(orders.isSubset(of: Set((0..<Self.published).map { "o-\($0)" } + ["new"])), what)
        server.signal(SIGTERM)
        try await eventually("the process has ended") { !server.process.isRunning }
        #expect(server.process.terminationStatus == 0, what)
    }

    private func file(_ name: String, _ server: RunningServer) throws -> URL? {
        let data = server.folder.appendingPathComponent("data")
        guard name.hasPrefix("journal") else {
            let file = data.appendingPathComponent(name)
            return FileManager.default.fileExists(atPath: file.path) ? file : nil
        }
        let topic = data.appendingPathComponent("journal/orders")
        let ending = String(name.suffix(3))
        return try FileManager.default.contentsOfDirectory(at: topic, includingPropertiesForKeys: nil)
            .first { $0.pathExtension == ending }
    }

    private func publish(_ server: RunningServer, _ lines: [String]) async throws -> Int {
        try await server.post(
            "/v1/topics/orders/events", lines.joined(separator: "\n"), type: "application/x-ndjson"
        ).status
    }

    /// The numbers of the orders that the client gets, up to the one published last.
    private func pulled(_ server: RunningServer) async throws -> [String] {
        var all: [String] = []
        try await eventually("the last one comes") {
            let answer = try await server.post("/v1/subscribers/accounting/pull", #"{"max":500,"wait":"1s"}"#)
            for delivery in try answer.object["deliveries"] as? [[String: Any]] ?? [] {
                let data = (delivery["event"] as? [String: Any])?["data"] as? [String: Any]
                if let order = data?["order_id"] as? String { all.append(order) }
            }
            return all.contains("new")
        }
        return all
    }
}
