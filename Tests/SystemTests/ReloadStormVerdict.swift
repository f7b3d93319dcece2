// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What a ``ReloadStorm`` left behind, held against what was published and what was changed.
struct ReloadStormVerdict {
    private(set) var violations: [String]
    let events: Int
    private(set) var summary = ""

    init(_ storm: ReloadStorm) async throws {
        let server = storm.server
        let accepted = storm.publishers.accepted.sorted { $0.offset < $1.offset }
        events = accepted.count
        violations = storm.complaints + storm.publishers.strange
        let keys = Dictionary(grouping: accepted, by: \.key)
        expect("orders in the journal", try await server.end(of: "orders"), events)

        for name in ["steady", "tuned", "edited", "wobbly", storm.shop.walker] {
            let state = try await server.numbers(name)
            for (key, orders) in keys {
                expect("\(name)'s count of \(key)", state["count:\(key)"], orders.count)
                expect("\(name)'s sum of \(key)", state["sum:\(key)"], orders.reduce(0) { $0 + $1.n * 100 + 1 })
            }
        }
        expect("migrations of edited", try await server.state("edited", "migrations") ?? 0, storm.migrations)

        for (key, orders) in keys {
            expect("keeper's count of \(key)", try await server.state("keeper", "count:\(key)"), orders.count)
            expect(
                "keeper's chain of \(key)", try await server.state("keeper", "chain:\(key)"),
                CrashShop.chain(orders.map(\.n)))
        }
        let misdelivered = storm.publishers.misdelivered
        if !misdelivered.isEmpty {
            violations.append("pager: \(misdelivered.count) did not come exactly once: \(misdelivered.prefix(10))")
        }
        let ids = keys.mapValues { $0.map { "s-\($0.n)" } }
        violations += storm.hook.trail.violations(of: ids).map { "hook: \($0)" }
        violations += await storm.client.trail.violations(of: ids).map { "collector: \($0)" }
        try await checkLives(storm)
        expect("dead letters", (try await server.get("/v1/dead").object["dead"] as? [Any])?.count, 0)
        try await checkInventory(storm)
    }

    private mutating func expect(_ what: String, _ found: Int?, _ expected: Int) {
        if found != expected { violations.append("\(what): \(found.map(String.init) ?? "nothing"), not \(expected)") }
    }

    /// Whoever was added got each event once from there on, without a gap, up to its removal.
    private mutating func checkLives(_ storm: ReloadStorm) async throws {
        var seen: [Int: [Int]] = [:]
        for event in try await storm.server.tail("seen") {
            guard let name = (event.data["name"] as? String).flatMap({ Int($0) }),
                let offset = event.data["offset"] as? Int
            else { continue }
            seen[name, default: []].append(offset)
        }
        for (number, life) in storm.lives {
            let offsets = (seen[number] ?? []).sorted()
            guard let first = offsets.first, let last = offsets.last else {
                // One that goes again at once may have come to nothing.
                if life.end == nil, life.begin.upperBound < events { violations.append("extra \(number) got nothing") }
                continue
            }
            if offsets != Array(first...last) { violations.append("extra \(number) has gaps or doubles: \(offsets)") }
            if !life.begin.contains(first) {
                violations.append("extra \(number) began at \(first), not in \(life.begin)")
            }
            if let end = life.end, last >= end { violations.append("extra \(number) got \(last), removed at \(end)") }
            if life.end == nil, last != events - 1 {
                violations.append("extra \(number) ended at \(last) of \(events)")
            }
        }
    }

    private mutating func checkInventory(_ storm: ReloadStorm) async throws {
        let server = storm.server
        let counts = try await storm.counts()
        for verdict in ReloadStorm.Verdict.allCases {
            expect("reloads \(verdict.rawValue)", counts[verdict], storm.verdicts[verdict.rawValue] ?? 0)
        }
        let names = try await server.subscribers().keys.sorted()
        let expected =
            StormShop.unchanged + ["tuned", "edited", "wobbly", storm.shop.walker]
            + storm.shop.extras.map(StormShop.extra)
        if names != expected.sorted() { violations.append("there are \(names), not \(expected.sorted())") }
        try await eventually("nothing old is left", within: ReloadStorm.patience) {
            (try await server.get("/v1/status").object["ending"] as? [Int])?.isEmpty == true
        }
        func instances() -> Int {
            let log = server.output
            return log.components(separatedBy: StormShop.begins).count
                - log.components(separatedBy: StormShop.ends).count
        }
        let running = storm.shop.running
        do {
            try await eventually("each subscriber has one instance") { instances() == running }
        } catch {
            violations.append("\(instances()) instances of plugins live, of \(running) subscribers")
        }
        guard let before = storm.before else { return }
        var after = try ProcessInventory(of: server.process)
        do {
            // Connections that nobody uses are closed after a while.
            try await eventually("files and threads are given back", within: .seconds(60)) {
                after = try ProcessInventory(of: server.process)
                return after.files <= before.files + Self.filesMore
                    && after.threads <= before.threads + Self.threadsMore
            }
        } catch {
            violations.append("the process had \(before) before the reloads, and has \(after)")
        }
        let resident = storm.resident
        let early = Self.median(resident.prefix(max(1, resident.count / 5)))
        let late = Self.median(resident.suffix(max(1, resident.count / 10)))
        if storm.asked >= Self.longRun, late > early * Self.growth + Self.growthMiB {
            violations.append("memory rose from \(Int(early)) to \(Int(late)) MiB")
        }
        checkLatency(storm)
        let kinds = ReloadStorm.Verdict.allCases.map { "\(storm.verdicts[$0.rawValue] ?? 0) \($0.rawValue)" }
        summary += """

            \(events) events, \(storm.asked) reloads (\(kinds.joined(separator: ", "))), \(storm.undone) undone: \
            \(violations.isEmpty ? "exact" : "WRONG")
            \(before) before, \(after) after; memory \(Int(early)) MiB in the first fifth, \(Int(late)) MiB in the last tenth
            """
    }

    /// Pools and threads that the run's load calls for and the warm-up's didn't.
    private static let filesMore = 8
    private static let threadsMore = 6
    /// From so many reloads on memory is asked about: before, caches still fill.
    private static let longRun = 300
    private static let growth = 1.25
    private static let growthMiB = 16.0

    private mutating func checkLatency(_ storm: ReloadStorm) {
        let publishers = storm.publishers
        func line(_ window: StormPublishers.Window) -> String {
            [0.5, 0.99].map { String(format: "p%.0f %.1f ms", $0 * 100, publishers.latency(window, $0)) }
                .joined(separator: ", ")
        }
        summary =
            "publish to endpoint: \(line(.quiet)) without reloads, \(line(.reloads)) with, at \(Int(publishers.rate))/s"
        let ratio = publishers.latency(.reloads, 0.99) / publishers.latency(.quiet, 0.99)
        guard let most = ProcessInfo.processInfo.environment["P99_RATIO"].flatMap({ Double($0) }) else { return }
        if ratio > most { violations.append("p99 with reloads is \(ratio) times that without; at most \(most)") }
    }

    private static func median(_ values: some Sequence<Double>) -> Double {
        let sorted = values.sorted()
        return sorted.isEmpty ? 0 : sorted[sorted.count / 2]
    }
}
