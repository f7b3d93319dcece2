// SPDX-License-Identifier: Apache-2.0

package import Events
import Synchronization

/// Keeps deliveries until the simulation answers one.
package final class SimulatedDestination: Destination {
    private struct State {
        var deliveries: [Delivery] = []
        /// Deliveries that came while the same one was under way, or one of their key where order counts.
        var collisions: [DeliveryID] = []
        var underway: [DeliveryID: String?] = [:]
        var settle: (@Sendable (Settlements) -> Void)?
    }

    private let state = Mutex(State())
    private let isOrdered: Bool
    /// Whatever it is given fails.
    package let isBad: Bool
    private let onDeliver: @Sendable (SimulatedDestination, [Delivery]) -> Void

    package init(
        isOrdered: Bool, isBad: Bool = false,
        onDeliver: @escaping @Sendable (SimulatedDestination, [Delivery]) -> Void = { _, _ in }
    ) {
        self.isOrdered = isOrdered
        self.isBad = isBad
        self.onDeliver = onDeliver
    }

    package var collisions: [DeliveryID] { state.withLock { $0.collisions } }
    package var isIdle: Bool { state.withLock { $0.deliveries.isEmpty } }

    package func start(settle: @escaping @Sendable (Settlements) -> Void) { state.withLock { $0.settle = settle } }

    package func deliver(_ deliveries: [Delivery]) {
        state.withLock { state in
            state.deliveries += deliveries
            for delivery in deliveries {
                let key = delivery.record.key
                if state.underway[delivery.id] != nil || (isOrdered && state.underway.values.contains(key)) {
                    state.collisions.append(delivery.id)
                }
                state.underway[delivery.id] = .some(key)
            }
        }
        onDeliver(self, deliveries)
    }

    package func stop(_ reason: StopReason, deadline: Duration) async {}

    package func take(_ roll: UInt64) -> Delivery? {
        state.withLock { state in
            guard !state.deliveries.isEmpty else { return nil }
            let delivery = state.deliveries.remove(at: Int(roll % UInt64(state.deliveries.count)))
            state.underway[delivery.id] = nil
            return delivery
        }
    }

    /// Ends as `stop` does: what has not ended is given back.
    package func giveBack() {
        let (left, sink) = state.withLock { state in
            defer { state.deliveries = [] }
            return (state.deliveries, state.settle)
        }
        guard !left.isEmpty else { return }
        sink?(Settlements(others: left.map { Settlement($0.id, .returned) }))
    }

    package func settle(_ settlement: Settlement) {
        let sink = state.withLock { $0.settle }
        if settlement.outcome == .ack, settlement.effects == nil {
            sink?(Settlements(acks: [settlement.delivery]))
        } else {
            sink?(Settlements(others: [settlement]))
        }
    }
}
