// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Simulation
import Testing

/// What a reload leaves as it is: retries that wait, with their attempts and their times.
struct ReloadRetryTests {
    private func routes(_ policy: String) -> String {
        """
        topic orders { retain 30d }
        retry policy { \(policy) }
        subscriber worker { from orders; pull { lease 30s }; start earliest; retry policy }
        """
    }

    @Test(.timeLimit(.minutes(2))) func attemptsAndDueTimesCarryOverAndTheNewPolicyCountsFromTheNextFailureOn()
        async throws
    {
        let stored = StoredBroker()
        try await stored.start(routes("attempts 5; backoff 6h"))
        try await stored.publish("orders", ["a"])
        func fail() async throws -> Int {
            let leases = try await stored.broker.pull("worker", max: 1, wait: .seconds(20))
            let lease = try #require(leases.first)
            _ = try await stored.broker.settle(
                "worker", [LeaseSettlement(lease: lease.id, action: .retry(after: nil, reason: "no"))])
            return lease.delivery.attempt
        }
        #expect(try await fail() == 1)
        try await stored.reload(routes("attempts 3; backoff 1m"))
        // Whatever the jitter is.
        stored.clock.advance(.seconds(4 * 3_600))
        #expect(
            try await stored.broker.pull("worker", max: 1, wait: .zero).isEmpty, "its time was set by the old policy")
        stored.clock.advance(.seconds(5 * 3_600))
        #expect(try await fail() == 2)
        stored.clock.advance(.seconds(120))
        #expect(try await fail() == 3, "the new policy's pause is over")
        let status = await stored.broker.status()
        #expect(status.subscribers.first?.dead == 1, "the new policy's attempts are used up")
        await stored.stop()
    }
}
