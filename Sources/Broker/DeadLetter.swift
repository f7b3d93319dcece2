// SPDX-License-Identifier: Apache-2.0

package import Events

/// A delivery given up on.
package struct DeadLetter: Sendable {
    package var id: Int64
    package var subscriber: String
    package var topic: String
    package var offset: Offset
    package var key: String?
    package var reason: String
    package var trace: String?
    package var attempts: Int
    package var time: Timestamp
    package var generation = 0
    package var group = DeadLetterGroup(id: "", place: nil)
    /// The dead letter that it was before it was sent again.
    package var previous: Int64?
    /// The run of history in which it was given up on.
    package var lane: Int64?
    /// As it was published.
    package var original: Event
    /// What is delivered in the original's place, where somebody mended it.
    package var mended: Event?
    package var mendedTime: Timestamp?
    package var redriven: Timestamp?
    package var resolved: Timestamp?
    package var end: DeadLetterEnd?

    package var event: Event { mended ?? original }

    package var state: DeadLetterFilter.State {
        if resolved != nil { .resolved } else if redriven != nil { .underway } else { .open }
    }

    package init(
        id: Int64, subscriber: String, topic: String, offset: Offset, key: String?, reason: String,
        trace: String? = nil, attempts: Int, time: Timestamp, event: Event
    ) {
        self.id = id
        self.subscriber = subscriber
        self.topic = topic
        self.offset = offset
        self.key = key
        self.reason = reason
        self.trace = trace
        self.attempts = attempts
        self.time = time
        original = event
    }
}
