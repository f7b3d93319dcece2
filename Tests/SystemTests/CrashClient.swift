// SPDX-License-Identifier: Apache-2.0

import Foundation
import Journal

/// A client that pulls from `collector`: it settles, asks for retries, forgets leases until they run out, settles twice or too
/// late, and settles after a kill what it was given before.
actor CrashClient {
    private(set) var trail = DeliveryTrail()
    private var random: SeededRandom
    private let forgets: Int
    private var attempts: [String: Int] = [:]
    /// Leases that it keeps, by key.
    private var held: [String: Held] = [:]

    private struct Held {
        var lease: String
        var id: String
        var step: Int
        var life: String
    }

    private struct Delivery {
        var lease: String
        var id: String
        var data: [String: Any]

        init?(_ object: [String: Any]) {
            guard let lease = object["lease"] as? String, let event = object["event"] as? [String: Any],
                let id = event["id"] as? String, let data = event["data"] as? [String: Any]
            else { return nil }
            self.lease = lease
            self.id = id
            self.data = data
        }
    }

    /// - Parameter forgets: of a hundred leases.
    init(seed: UInt64, forgets: Int = 3) {
        random = SeededRandom(seed: seed)
        self.forgets = forgets
    }

    func workUntilGone(_ port: Int, life: String) async {
        while await turn(port, life) {}
    }

    /// One pull and what follows it; false where the server is gone.
    func turn(_ port: Int, _ life: String) async -> Bool {
        for (key, lease) in held where lease.life != life && random.chance(50) {
            // It may have run out meanwhile, or have been settled by a request that had no answer.
            trail.set(.unsure, of: lease.step)
            guard let results = await settle(port, ack: [lease.lease]) else { return false }
            if results == ["done"] { trail.set(.settled, of: lease.step) }
            held[key] = nil
        }
        guard let deliveries = await pull(port) else { return false }
        var acks: [Delivery] = []
        var retries: [Delivery] = []
        for delivery in deliveries {
            let key = delivery.data["order_id"] as? String ?? ""
            if let other = held.removeValue(forKey: key) {
                if other.id == delivery.id {
                    trail.set(.again, of: other.step)
                } else if other.life == life {
                    trail.complain("\(delivery.id) came while \(other.id) of its key was leased")
                }
            }
            let ready = (delivery.data["sent"] as? Int ?? 0) + (delivery.data["delay"] as? Int ?? 0)
            if Int(Date().timeIntervalSince1970 * 1_000) < ready { trail.complain("\(delivery.id) came too early") }
            attempts[delivery.id, default: 0] += 1
            let step = trail.append(.init(life: life, id: delivery.id, outcome: .again))
            held[key] = Held(lease: delivery.lease, id: delivery.id, step: step, life: life)
            if attempts[delivery.id]! <= delivery.data["fails"] as? Int ?? 0 {
                retries.append(delivery)
            } else if !random.chance(forgets) {
                acks.append(delivery)
            }
        }
        let settled = acks + retries
        if settled.isEmpty { return true }
        for delivery in acks {
            if let step = held[delivery.data["order_id"] as? String ?? ""]?.step { trail.set(.unsure, of: step) }
        }
        guard let results = await settle(port, ack: acks.map(\.lease), retry: retries.map(\.lease)) else {
            return false
        }
        guard results.count == settled.count else {
            trail.complain("\(settled.count) settlements had \(results.count) results")
            return true
        }
        for (index, (delivery, result)) in zip(settled, results).enumerated() {
            let key = delivery.data["order_id"] as? String ?? ""
            guard let step = held.removeValue(forKey: key)?.step else { continue }
            switch result {
            case "done": trail.set(index < acks.count ? .settled : .again, of: step)
            case "expired": trail.set(.again, of: step)
            default: trail.complain("the first settlement of \(delivery.id) was answered with \(result)")
            }
        }
        if random.chance(10), results[0] == "done" {
            guard let again = await settle(port, ack: [settled[0].lease]) else { return false }
            if again != ["settled"] { trail.complain("a second settlement was answered with \(again)") }
        }
        return true
    }

    private func pull(_ port: Int) async -> [Delivery]? {
        let answer = try? await Loopback.send(
            "POST", port, "/v1/subscribers/collector/pull", body: Array(#"{"max":50,"wait":"50ms"}"#.utf8))
        guard let answer else { return nil }
        guard answer.status == 200, let list = try? answer.object["deliveries"] as? [[String: Any]] else {
            trail.complain("a pull was answered with \(answer.status): \(answer.text)")
            return []
        }
        return list.compactMap { Delivery($0) }
    }

    private func settle(_ port: Int, ack: [String], retry: [String] = []) async -> [String]? {
        let body: [String: Any] = ["ack": ack, "retry": retry.map { ["lease": $0, "after": "5ms"] }]
        let data = (try? JSONSerialization.data(withJSONObject: body)) ?? Data()
        let answer = try? await Loopback.send("POST", port, "/v1/subscribers/collector/settle", body: Array(data))
        guard let answer else { return nil }
        let results = try? answer.object["results"] as? [[String: Any]]
        return results?.compactMap { $0["result"] as? String } ?? []
    }
}
