// SPDX-License-Identifier: Apache-2.0

/// One attempt to deliver a record to a subscriber, as kept.
package struct Attempt: Hashable, Sendable {
    package enum Outcome: String, Sendable {
        case ack, retry, dead, drop
    }

    package var topic: String
    package var offset: Offset
    /// From 1; begins anew when a dead letter is sent again.
    package var number: Int
    package var began: Timestamp
    package var ended: Timestamp
    package var outcome: Outcome
    package var reason: String?
    package var trace: String?
    package var generation: Int
    package var replay: Bool
    /// What the handler published, where the attempt was acknowledged.
    package var published: [PublishedName]

    package init(
        topic: String, offset: Offset, number: Int, began: Timestamp, ended: Timestamp, outcome: Outcome,
        reason: String? = nil, trace: String? = nil, generation: Int, replay: Bool = false,
        published: [PublishedName] = []
    ) {
        self.topic = topic
        self.offset = offset
        self.number = number
        self.began = began
        self.ended = ended
        self.outcome = outcome
        self.reason = reason
        self.trace = trace
        self.generation = generation
        self.replay = replay
        self.published = published
    }
}

/// Names an event that a handler published.
package struct PublishedName: Hashable, Codable, Sendable {
    package var topic: String
    package var id: String

    package init(topic: String, id: String) {
        self.topic = topic
        self.id = id
    }
}
