// SPDX-License-Identifier: Apache-2.0

package import Events
package import Ledger

/// What one round of taking in or settling changes for a subscriber, besides its positions.
package struct LedgerRound: Sendable {
    /// Rows to write, new or changed.
    package var deferred: [DeferredRow] = []
    /// Deferred deliveries that are done: their rows go.
    package var finished: [DeliveryID] = []
    package var dead: [Burial] = []
    /// Dead letters that were sent again and are settled now, one way or the other.
    package var resolved: [ResolvedLetter] = []
    /// First attempts that ended in a plain acknowledgement. They and `attempts` are told later, and don't make a round
    /// worth writing.
    package var passed: [Passed] = []
    package var attempts: [AttemptEnd] = []

    package struct DeferredRow: Sendable {
        package var id: DeliveryID
        package var deferral: SubscriberState.Deferred
        package var trace: String?
    }

    /// A delivery that becomes a dead letter.
    package struct Burial: Sendable {
        package var delivery: Delivery
        package var reason: String
        package var trace: String?
        package var time: Timestamp
        /// The dead letter that it was before.
        package var previous: Int64?
    }

    package struct Passed: Sendable {
        package var id: DeliveryID
        package var began: Timestamp
        package var generation: Int
        package var replay: Bool

        init(_ delivery: Delivery) {
            id = delivery.id
            began = delivery.began
            generation = delivery.generation
            replay = delivery.replay
        }
    }

    package struct AttemptEnd: Sendable {
        package var delivery: Delivery
        package var settlement: Settlement

        init(_ delivery: Delivery, _ settlement: Settlement) {
            self.delivery = delivery
            self.settlement = settlement
        }
    }

    package init() {}

    package var isEmpty: Bool { deferred.isEmpty && finished.isEmpty && dead.isEmpty && resolved.isEmpty }
}
