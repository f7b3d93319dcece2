// SPDX-License-Identifier: Apache-2.0

import Foundation
import Simulation
import Testing

/// The promises P1 to P5 and P7, by simulation: seeded histories with failing destinations, disks and machines that stop at
/// any point, looked at after every step. `make test` and `make soak-simulation` play many more, optimised; a seed that
/// fails there fails here: `SWIFT_DETERMINISTIC_HASHING=1 SEED=n swift test --filter PromiseTests`.
struct PromiseTests {
    static let seeds: [UInt64] =
        ProcessInfo.processInfo.environment["SEED"].flatMap(UInt64.init).map { [$0] }
        ?? Array(1...UInt64(ProcessInfo.processInfo.environment["SEEDS"] ?? "20")!)

    @Test(arguments: Scenario.allCases) func promisesHoldAfterEveryStep(_ scenario: Scenario) {
        for seed in Self.seeds {
            let breaches = scenario.play(seed).breaches
            #expect(breaches.isEmpty, "\(scenario), seed \(seed): \(breaches.joined(separator: "\n"))")
        }
    }
}
