// SPDX-License-Identifier: Apache-2.0

package import Events

/// An event that a handler published, on its way from the ledger to the journal.
package struct OutboxEvent: Sendable {
    /// The ledger's row; rising, never reused.
    package var id: UInt64
    package var topic: String
    package var event: Event
    /// About what it takes as a record.
    package var byteCount: Int

    package init(id: UInt64, topic: String, event: Event, byteCount: Int) {
        self.id = id
        self.topic = topic
        self.event = event
        self.byteCount = byteCount
    }
}
