// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization
import Testing

/// Promise P3 where it matters to a shop: the program is killed at random points while it counts stock, and afterwards
/// the shelves hold exactly what was not sold. `KILLS=300` asks for a long run (`make soak-crash`).
struct InventoryCrashTests {
    static let kills = ProcessInfo.processInfo.environment["KILLS"].flatMap { Int($0) } ?? 5
    static let skus = ["MUG-01", "TEE-02", "CAP-03", "PEN-04", "BAG-05"]
    static let initial = 1_000_000

    /// The shop's own inventory, and two that count with eight calls beside each other: by `add`, and by the read and
    /// write that would lose updates if nobody noticed.
    static let routes = """
        topic orders { retain 30d; key data.order_id }
        topic stock { retain 30d }
        topic counted { retain 30d }
        retry quick { attempts 50; backoff 5ms to 50ms; timeout 5s }
        subscriber inventory {
          from orders
          run inventory { low_water 5; initial \(initial) }
          ordered
          allow publish stock
          start earliest
          retry quick
        }
        subscriber adding { from orders; run adding; concurrency 8; start earliest; allow publish counted; retry quick }
        subscriber reading { from orders; run reading; concurrency 8; start earliest; retry quick }
        """

    static let adding = """
        return function(event, ctx)
          ctx.sleep(event.data.pause)
          if event.attempt == 1 and event.data.pause > 0.003 then return ctx.retry { reason = "not yet" } end
          for _, item in ipairs(event.data.items) do ctx.state.add(item.sku, item.quantity) end
          ctx.publish("counted", { id = event.id }, { type = "counted" })
        end
        """

    static let reading = """
        return function(event, ctx)
          for _, item in ipairs(event.data.items) do
            local sold = ctx.state.get(item.sku, 0)
            ctx.sleep(event.data.pause)
            ctx.state.put(item.sku, sold + item.quantity)
          end
        end
        """

    @Test(.timeLimit(.minutes(5 + kills / 20)))
    func whateverIsKilledTheStockIsWhatWasNotSold() async throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed), \(Self.kills) kills")
        var random = Seeded(state: seed)
        let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let inventory = try String(
            contentsOf: repository.appendingPathComponent("Plugins/inventory.lua"), encoding: .utf8)
        let server = try RunningServer(
            routes: Self.routes, plugins: ["inventory": inventory, "adding": Self.adding, "reading": Self.reading])
        let accepted = Mutex<Set<String>>([])
        try await server.start()
        for round in 0..<Self.kills {
            // One in four comes while the program still starts and finishes what the last one interrupted.
            if round > 0, random.next() % 4 == 0 {
                try server.launch()
                try await Task.sleep(for: .milliseconds(Int(random.next() % 150)))
                server.killHard()
            }
            if round > 0 { try await server.start() }
            await publishUntilKilled(
                server, accepted, round, seed: random.next(), .milliseconds(Int(random.next() % 200)))
        }
        try await server.start()
        for name in ["inventory", "adding", "reading"] {
            try await eventually("\(name) has settled everything", within: .seconds(120)) {
                try await server.subscriber(name)["backlog"] as? Int == 0
            }
            #expect(try await server.subscriber(name)["dead"] as? Int == 0)
        }

        var sold: [String: Int] = [:]
        var ids: Set<String> = []
        for event in try await server.tail("orders") {
            #expect(ids.insert(event.id).inserted, "seed \(seed): \(event.id) is in the journal twice")
            for item in event.data["items"] as? [[String: Any]] ?? [] {
                sold[item["sku"] as? String ?? "", default: 0] += item["quantity"] as? Int ?? 0
            }
        }
        #expect(accepted.withLock { $0 }.subtracting(ids).isEmpty, "P1, seed \(seed): accepted and lost")
        #expect(sold.count == Self.skus.count, "enough was sold to mean something")
        for sku in Self.skus {
            let expected = sold[sku] ?? 0
            #expect(
                try await state(server, "inventory", "stock:\(sku)") == Self.initial - expected, "seed \(seed), \(sku)")
            #expect(try await state(server, "adding", sku) == expected, "seed \(seed), \(sku)")
            #expect(try await state(server, "reading", sku) == expected, "seed \(seed), \(sku)")
        }
        try await eventually("the outbox is empty") {
            try await server.tail("counted").count >= ids.count
        }
        let counted = try await server.tail("counted").map { $0.data["id"] as? String ?? "" }
        #expect(counted.count == ids.count && Set(counted) == ids, "seed \(seed): each was published once")
        print("\(ids.count) orders, \(sold.values.reduce(0, +)) pieces, \(Self.kills) kills: exact")
        server.signal(SIGTERM)
    }

    private func publishUntilKilled(
        _ server: RunningServer, _ accepted: borrowing Mutex<Set<String>>, _ round: Int, seed: UInt64,
        _ delay: Duration
    ) async {
        let port = server.port
        let answered = await withTaskGroup(of: [String].self) { group in
            for publisher in 0..<2 {
                group.addTask {
                    var random = Seeded(state: seed &+ UInt64(publisher))
                    var answered: [String] = []
                    for number in 0... {
                        let id = "r\(round)-p\(publisher)-\(number)"
                        let items = (0..<1 + random.next() % 2).map { _ in
                            let sku = Self.skus[Int(random.next() % UInt64(Self.skus.count))]
                            return #"{"sku":"\#(sku)","quantity":\#(1 + random.next() % 3)}"#
                        }
                        let pause = Double(random.next() % 4) / 1_000
                        let body = """
                            {"specversion":"1.0","id":"\(id)","source":"/test","type":"order.placed","data":\
                            {"order_id":"o-\(random.next() % 9)","pause":\(pause),"items":[\(items.joined(separator: ","))]}}
                            """
                        let answer = try? await Loopback.send(
                            "POST", port, "/v1/topics/orders/events", body: Array(body.utf8),
                            type: "application/cloudevents+json")
                        guard let answer else { return answered }
                        if answer.status == 202 { answered.append(id) }
                        try? await Task.sleep(for: .milliseconds(2))
                    }
                    return answered
                }
            }
            try? await Task.sleep(for: delay)
            server.killHard()
            return await group.reduce(into: []) { $0 += $1 }
        }
        accepted.withLock { $0.formUnion(answered) }
    }

    private func state(_ server: RunningServer, _ subscriber: String, _ key: String) async throws -> Int? {
        let value = try await server.command("state", "get", subscriber, key).output
        return Int(value.trimmingCharacters(in: .whitespacesAndNewlines))
    }

    private struct Seeded {
        var state: UInt64

        /// SplitMix64.
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
    }
}
