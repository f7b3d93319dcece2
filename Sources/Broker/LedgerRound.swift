// SPDX-License-Identifier: Apache-2.0

package import Events

/// What one round of taking in or settling changes for a subscriber, besides its positions.
package struct LedgerRound: Sendable {
    /// Rows to write, new or changed.
    package var deferred: [DeferredRow] = []
    /// Deferred deliveries that are done: their rows go.
    package var finished: [DeliveryID] = []
    package var dead: [Burial] = []
    /// Dead letters that were sent again and are settled now, one way or the other.
    package var resolved: [Int64] = []

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
    }

    package init() {}

    package var isEmpty: Bool { deferred.isEmpty && finished.isEmpty && dead.isEmpty && resolved.isEmpty }
}
