// SPDX-License-Identifier: Apache-2.0

/// Which dead letters a listing or a redrive is about; what is nil isn't looked at.
package struct DeadLetterFilter: Hashable, Sendable {
    package enum State: String, CaseIterable, Sendable {
        /// Nobody has dealt with it.
        case open
        /// Sent again, and not settled yet.
        case underway
        case resolved
        case any
    }

    package var subscriber: String?
    package var topic: String?
    /// ``DeadLetterGroup/id``.
    package var group: String?
    package var state: State
    /// Not older than.
    package var since: Timestamp?
    /// Found in the reason, in any case of ASCII letters.
    package var text: String?

    package init(
        subscriber: String? = nil, topic: String? = nil, group: String? = nil, state: State = .open,
        since: Timestamp? = nil, text: String? = nil
    ) {
        self.subscriber = subscriber
        self.topic = topic
        self.group = group
        self.state = state
        self.since = since
        self.text = text
    }
}

/// Open dead letters of one subscriber that failed in the same way.
package struct DeadLetterSummary: Hashable, Sendable {
    package var subscriber: String
    package var group: DeadLetterGroup
    package var count: Int
    package var first: Timestamp
    package var last: Timestamp
    /// The newest of them, and its reason.
    package var sample: Int64
    package var reason: String

    package init(
        subscriber: String, group: DeadLetterGroup, count: Int, first: Timestamp, last: Timestamp, sample: Int64,
        reason: String
    ) {
        self.subscriber = subscriber
        self.group = group
        self.count = count
        self.first = first
        self.last = last
        self.sample = sample
        self.reason = reason
    }
}
