// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Foundation
import Simulation
import Testing

/// Leases that outlive their process.
struct LeaseRestartTests {
    private static let routes = """
        topic orders { retain 30d }
        subscriber books { from orders; pull { lease 30s }; start earliest }
        """

    /// The process ended where it was settled: how long it had taken could not be told.
    @Test(.timeLimit(.minutes(1)))
    func aLeaseThatOutlivesARestartHasTheBeginningThatItHad() async throws {
        let stored = StoredBroker()
        try await stored.start(Self.routes)
        try await stored.publish("orders", ["a", "b"])
        let began = stored.clock.now()
        let leases = try await stored.broker.pull("books", max: 2, wait: .seconds(20))
        try #require(leases.count == 2)
        stored.clock.advance(.seconds(5))
        await stored.stop()
        try await stored.start(Self.routes)
        let results = try await stored.broker.settle(
            "books",
            [
                LeaseSettlement(lease: leases[0].id, action: .ack),
                LeaseSettlement(lease: leases[1].id, action: .dead(reason: "torn")),
            ])
        #expect(results == [.done, .done])
        for lease in leases {
            let deadline = ContinuousClock.now + .seconds(30)
            var attempts: [Attempt] = []
            while attempts.isEmpty, ContinuousClock.now < deadline {
                attempts = try await stored.broker.attempts(of: "books", lease.delivery.id)
                stored.clock.advance(.seconds(1))
                try await Task.sleep(for: .milliseconds(5))
            }
            #expect(attempts.map(\.began) == [began])
        }
        await stored.stop()
    }
}
