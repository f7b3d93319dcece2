// SPDX-License-Identifier: Apache-2.0

import DequeModule
package import Events

/// Deliveries that failed while their subscriber is on probation. They stay in memory until they are due, and the ledger
/// hears nothing of them: the attempt is not charged, and after a crash they are read again as if it had not been made.
extension SubscriberState {
    struct Suspended: Sendable {
        var due: Timestamp
        var delivery: Delivery
    }

    /// Ends the attempt without a consequence for the delivery but that it waits; false where it isn't in flight.
    package mutating func suspend(
        _ settlement: Settlement, until due: Timestamp, into round: inout LedgerRound
    ) -> Bool {
        guard let delivery = inFlight.removeValue(forKey: settlement.delivery) else { return false }
        land(delivery)
        var told = settlement
        if case .dead(let reason) = settlement.outcome { told.outcome = .retry(after: nil, reason: reason) }
        round.attempts.append(.init(delivery, told))
        suspended.append(Suspended(due: due, delivery: delivery))
        return true
    }

    /// Those that are due at `now` may start again, before everything that has not been tried.
    package mutating func resumeSuspended(now: Timestamp) {
        guard suspended.contains(where: { $0.due <= now }) else { return }
        let due = suspended.filter { $0.due <= now }.map(\.delivery)
        suspended.removeAll { $0.due <= now }
        let order = due.sorted { ($0.record.topic.name, $0.record.offset) < ($1.record.topic.name, $1.record.offset) }
        retries.prepend(contentsOf: order)
    }

    /// What made them fail is gone.
    package mutating func resumeAllSuspended() {
        resumeSuspended(now: .distantFuture)
    }
}
