// SPDX-License-Identifier: Apache-2.0

import Foundation
import Journal
import Testing

/// Promises P1 to P4 on the real program: it is killed with SIGKILL at random moments while publishers, subscribers of every
/// kind, a client, replays and somebody who deals with dead letters are at work, and started again on the same folder. At
/// the end what is there is held against what was sent. `KILLS=300` asks for a long run (`make soak-crash`), `SEED=n` for the
/// same events and moments again.
struct CrashTests {
    static let kills = ProcessInfo.processInfo.environment["KILLS"].flatMap { Int($0) } ?? 20

    @Test(.timeLimit(.minutes(5 + kills / 10)))
    func whateverIsKilledNothingIsLostAndStateAndOrderAreExact() async throws {
        let seed = ProcessInfo.processInfo.environment["SEED"].flatMap { UInt64($0) } ?? .random(in: 0 ... .max)
        print("seed \(seed), \(Self.kills) kills")
        let run = try CrashRun(seed: seed)
        for round in 0..<Self.kills { try await run.live(round, of: Self.kills) }
        let verdict = try await run.drain()
        #expect(verdict.violations.isEmpty, "seed \(seed): \(verdict.violations.prefix(20).joined(separator: "\n"))")
        #expect(verdict.orders > Self.kills * 10, "enough was accepted to mean something")
        print(verdict.summary)
    }
}
