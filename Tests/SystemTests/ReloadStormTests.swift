// SPDX-License-Identifier: Apache-2.0

import Foundation
import Journal
import Testing

/// Promise P5 on the real program under load: publishers, an endpoint, a client and plugins are at work all the time, while the
/// configuration is changed, broken, mended, undone and rolled back. What was changed and what wasn't is held against what was
/// sent. `RELOADS=1000` asks for a long run (`make soak-reload`), `SEED=n` for the same changes again, `RATE=n` for other than 60 orders a second, `P99_RATIO=1.1` for the
/// latency of who isn't changed to be held against that without reloads, which a busy machine doesn't allow.
struct ReloadStormTests {
    static let reloads = ProcessInfo.processInfo.environment["RELOADS"].flatMap { Int($0) } ?? 30

    @Test(.timeLimit(.minutes(6 + reloads / 15)))
    func whateverIsReloadedUnderLoadEveryEventIsSettledAsItShouldBe() async throws {
        let seed = ProcessInfo.processInfo.environment["SEED"].flatMap { UInt64($0) } ?? .random(in: 0 ... .max)
        print("seed \(seed), \(Self.reloads) reloads, load \(ProcessInventory.load) for each processor")
        let storm = try ReloadStorm(seed: seed, reloads: Self.reloads)
        try await storm.run()
        try await storm.drain()
        let verdict = try await ReloadStormVerdict(storm)
        #expect(verdict.violations.isEmpty, "seed \(seed): \(verdict.violations.prefix(20).joined(separator: "\n"))")
        #expect(verdict.events > Self.reloads * 10, "enough was accepted to mean something")
        print(verdict.summary)
    }
}
