// SPDX-License-Identifier: Apache-2.0

package import Events

/// What publishing to a topic needs.
package struct PublishTarget: Sendable {
    package var topic: Topic
    package var key: (any KeyExtractor)?
    /// Of one event, as it comes.
    package var eventBytesMax = Limits.eventBytesMax

    package init(topic: Topic, key: (any KeyExtractor)?, eventBytesMax: Int = Limits.eventBytesMax) {
        self.topic = topic
        self.key = key
        self.eventBytesMax = eventBytesMax
    }
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
    /// As the client named it.
    package var lease: String
    package var action: Action
    /// nil where the client's text names no lease.
    let id: LeaseID?

    package init(lease: String, action: Action) {
        self.lease = lease
        self.action = action
        id = LeaseID(lease)
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
    /// It was settled before.
    case settled
    /// It ran out before it was settled; the delivery is or was somebody else's.
    case expired
    /// No lease of this subscriber, or one that was over long ago.
    case unknown
}

package struct BrokerStatus: Sendable {
    package var generation: Int
    package var started: Timestamp
    package var topics: [TopicStatus]
    package var subscribers: [SubscriberStatus]
    /// Subscribers that are known from before and in no configuration.
    package var orphans: [OrphanStatus] = []
    /// Generations that were replaced and of which something is still under way.
    package var ending: [Int] = []
}

package struct OrphanStatus: Hashable, Sendable {
    package var name: String
    package var since: Timestamp
    /// When it will be forgotten by itself.
    package var until: Timestamp
    package var deferred: Int
    package var dead: Int
    /// Runs of history that are not done.
    package var history = 0
}

package struct PauseStatus: Hashable, Sendable {
    /// `hand`, `dead` (a dead letter, with `on dead pause`), `bad_reload` (a reload that changed it made it fail), `quarantine`, `gone`
    /// or `routes.conf`.
    package var cause: String
    /// nil where it is routes.conf that says so.
    package var since: Timestamp?
    package var reason: String
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
    /// `live`, `behind`, `delayed` (what comes next isn't due yet, by `deliver after`), `paused`, `undoing` (a reload broke it, and it goes back), `quarantined` (its plugin was stopped again and again), `gone` (its endpoint answered 410),
    /// `down` (its endpoint fails, the breaker is open), `busy` (its endpoint asked to be left alone), or `stalled`: too many deliveries wait for a retry to take in more.
    package var state: String
    /// Why and since when it stands still, where it does.
    package var pause: PauseStatus?
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
    /// Where in a script it happened, as a stack trace.
    package var lastTrace: String?
    /// When an endpoint that is `down` or `busy` is tried next.
    package var until: Timestamp?
    /// Runs of history beside what is live.
    package var history: [HistoryProgress] = []
    /// The last change of it, where it failed; until it is changed again.
    package var badReload: BadReload?
}
