// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What a ``CrashRun`` left behind, held against what was sent and against the journal.
struct CrashVerdict {
    private(set) var violations: [String]
    private(set) var orders: Int
    private(set) var summary: String

    private struct Order {
        var id: String
        var key: String
        var n: Int
        var items: [[String: Any]]
    }

    init(_ run: CrashRun) async throws {
        let server = run.server
        let orders = try await server.tail("orders").map { event in
            Order(
                id: event.id, key: event.data["order_id"] as? String ?? "", n: event.data["n"] as? Int ?? 0,
                items: event.data["items"] as? [[String: Any]] ?? [])
        }
        self.orders = orders.count
        violations = run.complaints
        summary = ""
        let places = Dictionary(orders.enumerated().map { ($1.id, $0) }) { first, _ in first }
        let keys = Dictionary(grouping: orders, by: \.key)
        expect("orders in the journal, each once", places.count, orders.count)
        for publisher in run.publishers { violations += publisher.violations(places) }

        let discarded = try await Self.discarded(server)
        let kept = orders.filter { !discarded.contains($0.id) }
        let ids = keys.mapValues { $0.map(\.id) }
        try checkOrder("keeper", Self.trail(of: server), ids)
        checkOrder("hook", run.hook.trail, ids)
        checkOrder("collector", await run.client.trail, ids)

        for (key, orders) in keys {
            let kept = orders.filter { !discarded.contains($0.id) }
            expect("keeper's count of \(key)", try await server.state("keeper", "count:\(key)"), kept.count)
            expect(
                "keeper's chain of \(key)", try await server.state("keeper", "chain:\(key)"),
                CrashShop.chain(kept.map(\.n)))
        }
        var sold: [String: Int] = [:]
        for item in orders.flatMap(\.items) {
            sold[item["sku"] as? String ?? "", default: 0] += item["quantity"] as? Int ?? 0
        }
        for (sku, sold) in sold {
            expect("stock of \(sku)", try await server.state("inventory", "stock:\(sku)"), CrashShop.stock - sold)
            expect("adding's \(sku)", try await server.state("adding", sku), sold)
            expect("reading's \(sku)", try await server.state("reading", sku), sold)
        }
        try await checkPublished(server, "counted", orders)
        try await checkPublished(server, "kept", kept)
        try await checkReplays(server, orders)
        let nobody = try await server.post("/v1/subscribers/nobody/pull", #"{"max":10}"#).object["deliveries"] as? [Any]
        expect("deliveries to whoever's filter is false", nobody?.count, 0)
        let open = try await server.get("/v1/dead").object["dead"] as? [Any]
        expect("open dead letters", open?.count, 0)

        server.signal(SIGTERM)
        try await eventually("the process has ended") { !server.process.isRunning }
        let verified = try await server.command("verify")
        if verified.code != 0 { violations.append("verify: \(verified.output)\(verified.errors)") }

        let starts = run.starts.sorted().map { Int($0 / .milliseconds(1)) }
        let accepted = run.publishers.flatMap(\.requests).filter(\.isAccepted)
        let answers = accepted.count
        summary = """
            \(orders.count) orders in \(answers) accepted requests, \(sold.values.reduce(0, +)) pieces, \
            \(discarded.count) dead letters discarded, \(run.hook.trail.steps.count) requests to the endpoint, \
            \(await run.client.trail.steps.count) leases: \(violations.isEmpty ? "exact" : "WRONG"). \
            Ready after a kill within \(starts[starts.count / 2]) ms (half of \(starts.count)), \(starts.last!) ms (all)
            """
    }

    private mutating func expect(_ what: String, _ found: Int?, _ expected: Int) {
        if found != expected { violations.append("\(what): \(found.map(String.init) ?? "nothing"), not \(expected)") }
    }

    private mutating func checkOrder(_ subscriber: String, _ trail: DeliveryTrail, _ keys: [String: [String]]) {
        violations += trail.violations(of: keys).map { "\(subscriber): \($0)" }
    }

    /// Each event published one, and those of a key in the order of it.
    private mutating func checkPublished(_ server: RunningServer, _ topic: String, _ orders: [Order]) async throws {
        try await eventually("the outbox of \(topic) is empty", within: CrashRun.patience) {
            try await server.tail(topic).count >= orders.count
        }
        let published = try await server.tail(topic)
        let ids = published.map { $0.data["id"] as? String ?? "" }
        expect("events on \(topic)", ids.count, orders.count)
        let different = Set(ids).symmetricDifference(orders.map(\.id))
        if !different.isEmpty {
            violations.append("\(topic): \(different.sorted().prefix(10)) are missing or too many")
        }
        if topic == "kept" {
            let byKey = Dictionary(grouping: published) { $0.data["key"] as? String ?? "" }
            for (key, orders) in Dictionary(grouping: orders, by: \.key)
            where byKey[key]?.compactMap({ $0.data["id"] as? String }) != orders.map(\.id) {
                violations.append("\(topic): those of \(key) are not in their order")
            }
        }
        try await eventually("second has all of \(topic)", within: CrashRun.patience) {
            try await server.state("second", topic) ?? 0 >= orders.count
        }
        expect("second's count of \(topic)", try await server.state("second", topic), orders.count)
    }

    /// Replays that there are were asked for, whether or not the answer came; each gave all of its events once.
    private mutating func checkReplays(_ server: RunningServer, _ orders: [Order]) async throws {
        func runs() async throws -> [[String: Any]] {
            try await server.get("/v1/subscribers/historian/replays").object["replays"] as? [[String: Any]] ?? []
        }
        try await eventually("the replays are finished", within: CrashRun.patience) {
            try await runs().allSatisfy { $0["state"] as? String == "finished" }
        }
        var replayed: [Order] = []
        for run in try await runs() {
            for span in run["topics"] as? [[String: Any]] ?? [] {
                guard let from = span["from"] as? Int, let until = span["until"] as? Int else { continue }
                replayed += orders[from..<until]
            }
        }
        expect("historian's count", try await server.state("historian", "live"), orders.count)
        expect("historian's sum", try await server.state("historian", "live.sum"), orders.reduce(0) { $0 + $1.n })
        expect("its count of replays", try await server.state("historian", "replayed") ?? 0, replayed.count)
        expect(
            "its sum of replays", try await server.state("historian", "replayed.sum") ?? 0,
            replayed.reduce(0) { $0 + $1.n })
    }

    private static func discarded(_ server: RunningServer) async throws -> Set<String> {
        var ids: Set<String> = []
        var before = ""
        while true {
            let page = try await server.get("/v1/dead?subscriber=keeper&state=resolved&limit=1000\(before)").object
            let letters = page["dead"] as? [[String: Any]] ?? []
            for letter in letters where letter["resolution"] as? String == "discarded" {
                if let id = (letter["event"] as? [String: Any])?["id"] as? String { ids.insert(id) }
            }
            guard letters.count == 1_000, let last = letters.last?["id"] as? Int else { return ids }
            before = "&before=\(last)"
        }
    }

    /// What `keeper` wrote down. A kill leaves half a line at most.
    private static func trail(of server: RunningServer) throws -> DeliveryTrail {
        struct Line: Decodable {
            var life: String
            var id: String
            var outcome: String
            var beside: String?
            var early: Bool
        }
        var trail = DeliveryTrail()
        let file = server.folder.appendingPathComponent("trail/trail.ndjson")
        for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
            guard let line = try? JSONDecoder().decode(Line.self, from: Data(line.utf8)),
                let outcome = DeliveryTrail.Outcome(rawValue: line.outcome)
            else { continue }
            trail.append(.init(life: line.life, id: line.id, outcome: outcome))
            if let other = line.beside { trail.complain("\(line.id) came while \(other) of its key was at work") }
            if line.early { trail.complain("\(line.id) came too early") }
        }
        return trail
    }
}
