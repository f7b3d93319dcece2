// SPDX-License-Identifier: Apache-2.0

import Foundation
import Journal

/// A shop that is killed again and again.
final class CrashRun {
    let server: RunningServer
    let hook = CrashHook()
    let client: CrashClient
    private(set) var publishers: [CrashPublisher]
    /// From the start of the process until it said that it was ready.
    private(set) var starts: [Duration] = []
    private(set) var complaints: [String] = []
    private let sink: Sink
    private var random: SeededRandom
    private var life = 0

    init(seed: UInt64) throws {
        random = SeededRandom(seed: seed)
        sink = try Sink { [hook] in hook.respond($0) }
        server = try RunningServer(routes: CrashShop.routes(hook: sink.port), plugins: CrashShop.plugins)
        client = CrashClient(seed: random.next())
        let seed = random.next()
        publishers = CrashPublisher.Form.allCases.map { CrashPublisher($0, seed: seed) }
    }

    /// Starts the server, lets everybody work and kills it.
    func live(_ round: Int, of rounds: Int) async throws {
        // One in four comes while the program still starts and finishes what the last one interrupted.
        if round > 0, random.chance(25) {
            life += 1
            try server.launch(environment: ["LIFE": "\(life)"])
            try await Task.sleep(for: .milliseconds(Int.random(in: 0..<150, using: &random)))
            server.killHard()
        }
        try await start()
        let delay = Duration.milliseconds(Int.random(in: 5..<400, using: &random))
        let (port, life) = (server.port, "\(life)")
        // The server tells of 100 runs at most; the last ones of a long test aren't of more interest than others.
        let replays = random.chance(50) && round % max(1, rounds / Self.replaysMax) == 0
        let mends = random.chance(50)
        publishers = await withTaskGroup(of: CrashPublisher?.self) { group in
            for publisher in publishers {
                group.addTask {
                    var publisher = publisher
                    await publisher.publishUntilGone(port)
                    return publisher
                }
            }
            group.addTask { [client] in
                await client.workUntilGone(port, life: life)
                return nil
            }
            if replays {
                group.addTask {
                    await Self.replay(port)
                    return nil
                }
            }
            if mends {
                group.addTask {
                    // Cut off by the kill or not: the letters tell.
                    _ = try? await Self.treatDeadLetters(port)
                    return nil
                }
            }
            try? await Task.sleep(for: delay)
            server.killHard()
            return await group.reduce(into: []) { if let publisher = $1 { $0.append(publisher) } }
        }
    }

    /// Publishes what shows that a key with a dead letter holds only itself, waits until all is settled, and tells.
    func drain() async throws -> CrashVerdict {
        try await start()
        let last =
            [CrashOrder("last-dead", key: CrashShop.poison, isDead: true), CrashOrder("last", key: CrashShop.poison)]
            + CrashShop.keys.map { CrashOrder("last-\($0)", key: $0) }
        let answer = try await server.post(
            "/v1/topics/orders/events", last.map(\.json).joined(separator: "\n"), type: "application/x-ndjson")
        if answer.status != 202 { complaints.append("the last orders were answered with \(answer.text)") }
        let orders = try await server.tail("orders")
        for key in CrashShop.keys {
            let count = orders.count { $0.data["order_id"] as? String == key }
            try await eventually("keeper has all of \(key) beside a dead letter", within: Self.patience) {
                try await self.server.state("keeper", "count:\(key)") == count
            }
        }
        let poisoned = orders.count { $0.data["order_id"] as? String == CrashShop.poison }
        if try await server.state("keeper", "count:\(CrashShop.poison)") ?? 0 >= poisoned {
            complaints.append("the key with a dead letter did not wait")
        }
        try await eventually("keeper has settled everything", within: Self.patience) {
            _ = try await Self.treatDeadLetters(self.server.port)
            return try await self.backlog("keeper") == 0
        }
        try await eventually("the client has everything", within: Self.patience) {
            _ = await self.client.turn(self.server.port, "\(self.life)")
            return try await self.backlog("collector") == 0
        }
        for name in ["inventory", "adding", "reading", "hook", "historian"] {
            try await eventually("\(name) has settled everything", within: Self.patience) {
                try await self.backlog(name) == 0
            }
        }
        return try await CrashVerdict(self)
    }

    /// Many times what any of it takes on a busy machine.
    static let patience: Duration = .seconds(180)
    private static let replaysMax = 60

    private func backlog(_ name: String) async throws -> Int? {
        try await server.subscriber(name)["backlog"] as? Int
    }

    private func start() async throws {
        life += 1
        let begun = ContinuousClock.now
        try await server.start(environment: ["LIFE": "\(life)"])
        starts.append(ContinuousClock.now - begun)
    }

    /// The last few hundred events again, slowly enough that a kill comes in between.
    private static func replay(_ port: Int) async {
        guard let topics = try? await Loopback.send("GET", port, "/v1/topics").object["topics"] as? [[String: Any]],
            let end = topics.first(where: { $0["name"] as? String == "orders" })?["end"] as? Int, end > 0
        else { return }
        let body = #"{"from":\#(max(0, end - 300)),"to":\#(end),"rate":"1000/s"}"#
        _ = try? await Loopback.send("POST", port, "/v1/subscribers/historian/replay", body: Array(body.utf8))
    }

    /// Of what is open, every second is mended and sent again, the others are discarded.
    private static func treatDeadLetters(_ port: Int) async throws -> Int {
        let list = try await Loopback.send("GET", port, "/v1/dead?subscriber=keeper").object
        let letters = list["dead"] as? [[String: Any]] ?? []
        for letter in letters {
            guard let id = letter["id"] as? Int, let event = letter["event"] as? [String: Any],
                let n = (event["data"] as? [String: Any])?["n"] as? Int
            else { continue }
            if n % 2 == 0 {
                _ = try await Loopback.send(
                    "PATCH", port, "/v1/dead/\(id)", body: Array(#"{"data":{"fate":"ack"}}"#.utf8))
                _ = try await Loopback.send("POST", port, "/v1/dead/redrive", body: Array(#"{"ids":[\#(id)]}"#.utf8))
            } else {
                _ = try await Loopback.send("DELETE", port, "/v1/dead/\(id)?reason=spoilt")
            }
        }
        return letters.count
    }
}
