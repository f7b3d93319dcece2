// SPDX-License-Identifier: Apache-2.0

package import Events

/// What publishing to a topic needs.
package struct PublishTarget: Sendable {
    package var topic: Topic
    package var key: (any KeyExtractor)?
}

package struct Published: Hashable, Sendable {
    /// Events that were put into the topic.
    package var accepted: Int
    package var first: Offset?
    package var last: Offset?
    /// Events that were there already by (source, id).
    package var duplicates: Int
}

/// A pull client's right to a delivery.
package struct Lease: Sendable {
    package var id: String
    package var delivery: Delivery
    package var expires: Timestamp
}

package struct LeaseSettlement: Sendable {
    package var lease: String
    package var action: Action

    package init(lease: String, action: Action) {
        self.lease = lease
        self.action = action
    }

    package enum Action: Sendable {
        case ack
        case retry(after: Duration?, reason: String)
        case dead(reason: String)
        /// A whole lease time from now.
        case extend
    }
}

package enum LeaseResult: String, Sendable {
    case done
    /// It ran out, or was settled before; the delivery is or was somebody else's.
    case expired
}

package struct BrokerStatus: Sendable {
    package var generation: Int
    package var started: Timestamp
    package var topics: [TopicStatus]
    package var subscribers: [SubscriberStatus]
}

package struct TopicStatus: Sendable {
    package var name: String
    package var first: Offset
    /// One past the last record.
    package var end: Offset
    package var bytes: Int
}

package struct SubscriberStatus: Sendable {
    package var name: String
    /// `run`, `push` or `pull`.
    package var method: String
    /// `live`, `behind`, `paused`, `quarantined` (its plugin was stopped again and again), or `stalled`: too many deliveries wait for a retry to take in more.
    package var state: String
    /// Records not yet settled; an upper bound while the subscriber is behind, since those unread are not filtered yet.
    package var backlog: Int
    package var inFlight: Int
    /// Waiting for a retry, or behind their key.
    package var retrying: Int
    /// Dead letters that nobody has dealt with.
    package var dead: Int
    package var oldestUnsettled: Timestamp?
    package var acked: Int
    package var retried: Int
    package var dropped: Int
    package var lastError: String?
    /// Runs of history beside what is live.
    package var history: [HistoryProgress] = []
}
