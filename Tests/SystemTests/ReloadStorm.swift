// SPDX-License-Identifier: Apache-2.0

import Foundation
import Journal

/// A shop whose configuration is changed again and again, for the better and for the worse, while orders come in all the time.
final class ReloadStorm {
    let server: RunningServer
    let publishers = StormPublishers()
    let hook = CrashHook()
    let client: CrashClient
    var shop: StormShop
    var random: SeededRandom
    let reloads: Int

    /// Reloads that were asked for, each of a storm included once.
    var asked = 0
    /// Of what followed: the running generation, and by name of the verdict how many there were.
    var generation = 1
    var verdicts: [String: Int] = [:]
    var undone = 0
    var migrations = 0
    var complaints: [String] = []
    /// Of each subscriber that was added, by number.
    var lives: [Int: Life] = [:]
    /// Those that were removed and not forgotten.
    var orphans: [Int] = []
    var nextExtra = 1
    /// By name, as it was written last.
    private var plugins: [String: String]
    private(set) var resident: [Double] = []
    private(set) var before: ProcessInventory?
    /// Each kind of change comes before one comes twice.
    private var deck: [Change] = []
    private let sink: Sink
    private var work: Task<Void, Never>?

    /// The offsets between which a subscriber begins and, where it was removed for good, ends.
    struct Life {
        var begin: ClosedRange<Int>
        /// One past the last that it may have had; nil where it gets everything.
        var end: Int?
    }

    init(seed: UInt64, reloads: Int) throws {
        random = SeededRandom(seed: seed)
        self.reloads = reloads
        sink = try Sink(remembers: false) { [hook, publishers] request in
            if request.line == "POST /pager" {
                publishers.arrived(request.id)
                return "204 No Content"
            }
            return hook.respond(request)
        }
        shop = StormShop(sink: sink.port)
        plugins = shop.plugins
        server = try RunningServer(routes: shop.routes, plugins: plugins)
        client = CrashClient(seed: random.next(), forgets: 1)
    }

    func run() async throws {
        try await server.start()
        let (port, publishers, client) = (server.port, publishers, client)
        let seeds = (0..<StormPublishers.names).map { _ in random.next() }
        let work = Task {
            await withTaskGroup(of: Void.self) { group in
                for seed in seeds { group.addTask { await publishers.publish(port, seed: seed) } }
                group.addTask {
                    while !Task.isCancelled {
                        if await !client.turn(port, "1") { return }
                    }
                }
            }
        }
        self.work = work
        defer { work.cancel() }
        try await findRate()
        before = try ProcessInventory(of: server.process)
        while asked < reloads {
            publishers.begin(.quiet)
            try await lookOn(until: .now + Self.quiet)
            publishers.begin(.reloads)
            for _ in 0..<Self.changesAtOnce where asked < reloads {
                try await change()
                resident.append(try ProcessInventory(of: server.process).resident)
                try await slowDown(from: Self.backlogMax)
            }
        }
        publishers.stop()
    }

    /// After so many of them there are none for a while, so that there is something to compare with.
    private static let changesAtOnce = 4
    private static let quiet: Duration = .milliseconds(700)

    /// As busy as ``change()`` beside the server, commands, looks and all, but for what a reload does in it: both run on the
    /// same processors.
    private func lookOn(until end: ContinuousClock.Instant) async throws {
        while ContinuousClock.now < end {
            _ = try await server.command("generations")
            _ = try await server.get("/v1/status")
            for _ in 0..<5 where ContinuousClock.now < end {
                _ = try await counts()
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }

    /// Goes up until the subscribers only just keep up, and stays well below that.
    private func findRate() async throws {
        while publishers.rate < Self.rateMax {
            try await Task.sleep(for: .milliseconds(500))
            guard try await backlog() < Self.backlogMax / 10 else { break }
            publishers.rate *= 1.3
        }
        publishers.rate *= 0.6
        try await slowDown(from: Self.backlogMax / 10)
    }

    /// Publishes less where there is more than `most` to be done, until that is done.
    private func slowDown(from most: Int) async throws {
        let deadline = ContinuousClock.now + Self.patience
        var before = try await backlog()
        guard before > most else { return }
        while before > most / 4 {
            guard ContinuousClock.now < deadline else {
                let rows = try await server.subscribers().mapValues { "\($0["backlog"] ?? 0) \($0["state"] ?? "")" }
                throw RunningServer.Gone(description: "they don't keep up at \(publishers.rate)/s: \(rows)")
            }
            try await Task.sleep(for: .milliseconds(250))
            let now = try await backlog()
            if now >= before { publishers.rate = max(Self.rateMin, publishers.rate * 0.8) }
            before = now
        }
    }

    /// Events a second at most; each is ten deliveries and as many writes of state.
    private static let rateMax = ProcessInfo.processInfo.environment["RATE"].flatMap { Double($0) } ?? 60
    private static let rateMin = 10.0
    private static let backlogMax = 1_000

    /// Many times what any of it takes on a busy machine.
    static let patience: Duration = .seconds(120)

    private func backlog() async throws -> Int {
        try await server.subscribers().values.compactMap { $0["backlog"] as? Int }.max() ?? 0
    }

    private func change() async throws {
        if deck.isEmpty { deck = Change.allCases.shuffled(using: &random) }
        let next = deck.removeLast()
        do {
            try await make(next)
        } catch {
            throw RunningServer.Gone(
                description: "\(next), after \(asked) reloads: \(error)\n\(server.output.suffix(2_000))")
        }
    }

    func write(routes: String) throws {
        // At once, as a reload may be reading it.
        let text = "listen 127.0.0.1:\(server.port)\n\(routes)\n"
        try text.write(to: server.folder.appendingPathComponent("routes.conf"), atomically: true, encoding: .utf8)
    }

    func write(plugin name: String, _ source: String) throws {
        guard plugins.updateValue(source, forKey: name) != source else { return }
        try server.write(plugin: name, source)
    }

    /// What stands in the shop's files.
    func write() throws {
        try write(routes: shop.routes)
        for (name, source) in shop.plugins { try write(plugin: name, source) }
    }

    /// Waits until all is settled.
    func drain() async throws {
        await work?.value
        try await eventually("all is settled", within: Self.patience) {
            _ = await self.client.turn(self.server.port, "1")
            return try await self.backlog() == 0
        }
    }
}

extension RunningServer {
    /// What the status says of each subscriber.
    func subscribers() async throws -> [String: [String: Any]] {
        let all = try await get("/v1/status").object["subscribers"] as? [[String: Any]] ?? []
        return Dictionary(all.map { ($0["name"] as? String ?? "", $0) }) { first, _ in first }
    }

    /// What a plugin keeps, as far as it is whole numbers.
    func numbers(_ subscriber: String) async throws -> [String: Int] {
        let answer = try await get("/v1/subscribers/\(subscriber)/state?limit=500").object
        let entries = answer["entries"] as? [[String: Any]] ?? []
        return Dictionary(
            entries.compactMap { entry in (entry["value"] as? Int).map { (entry["key"] as? String ?? "", $0) } }
        ) { first, _ in first }
    }

    /// One past the last offset of a topic.
    func end(of topic: String) async throws -> Int {
        let all = try await get("/v1/topics").object["topics"] as? [[String: Any]] ?? []
        return all.first { $0["name"] as? String == topic }?["end"] as? Int ?? 0
    }
}
