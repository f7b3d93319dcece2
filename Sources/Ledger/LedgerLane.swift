// SPDX-License-Identifier: Apache-2.0

package import Events

/// A run of history to one subscriber, beside what is live: the past that `start` asks for, a replay, or an import. Its
/// positions and deferred deliveries are kept apart from the subscriber's own; state, publications, dead letters and
/// attempts are the subscriber's.
package struct LedgerLane: Hashable, Sendable {
    package enum Kind: String, Hashable, Sendable, Codable {
        case start, replay
        case imported = "import"
    }

    /// As somebody who asked for it knows it.
    package struct Name: Hashable, Sendable, CustomStringConvertible {
        package var id: Int64
        /// nil where it isn't known any more.
        package var kind: Kind?

        package var description: String {
            switch kind {
            case .start, nil: "history \(id)"
            case .replay: "replay \(id)"
            case .imported: "import \(id)"
            }
        }
    }

    package enum State: String, Hashable, Sendable {
        case running, finished, cancelled
    }

    /// Records of one topic: from `from` up to, but not with, `until`.
    package struct Span: Hashable, Sendable, Codable {
        package var topic: String
        package var from: Offset
        package var until: Offset

        package init(topic: String, from: Offset, until: Offset) {
            self.topic = topic
            self.from = from
            self.until = until
        }
    }

    /// What doesn't change, but for an import's end.
    package struct Details: Hashable, Sendable, Codable {
        package var kind: Kind
        package var spans: [Span]
        /// A filter beside the subscriber's own.
        package var filter: String?
        /// Events in so many milliseconds.
        package var rateCount: Int?
        package var rateMilliseconds: Int64?
        /// The digest of an imported file.
        package var file: String?
        /// How many events an import's sender means to send.
        package var expected: Int?
        /// Everything of an import is in.
        package var isComplete = true
        /// What is live waits until an import is done; nil where it doesn't.
        package var isFirst: Bool?

        package init(kind: Kind, spans: [Span]) {
            self.kind = kind
            self.spans = spans
        }
    }

    /// Rising over all subscribers.
    package var id: Int64
    package var subscriber: String
    package var details: Details
    package var state = State.running
    /// Deliveries that are settled for good.
    package var done = 0
    package var begun: Timestamp
    package var ended: Timestamp?

    package init(id: Int64, subscriber: String, details: Details, begun: Timestamp) {
        self.id = id
        self.subscriber = subscriber
        self.details = details
        self.begun = begun
    }
}

/// What one round changes in a lane.
package struct LaneChange: Sendable {
    package var id: Int64
    package var done: Int
    package var positions: [LedgerPosition] = []
    package var deferred: [DeferredChange] = []
    /// The whole, where more than `done` is new. One that isn't running any more loses its positions and deferred rows.
    package var row: LedgerLane?

    package init(id: Int64, done: Int) {
        self.id = id
        self.done = done
    }
}

/// A lane that isn't done, as the ledger knows it.
package struct LaneLedger: Hashable, Sendable {
    package var lane: LedgerLane
    package var positions: [LedgerPosition]
    /// In order of topic and offset.
    package var deferred: [Deferred]

    /// Where it stands in each topic that it isn't done with.
    package var floors: [LedgerPosition] {
        lane.details.spans.compactMap { span in
            let position = positions.first { $0.topic == span.topic }?.position ?? span.from
            return position < span.until ? LedgerPosition(topic: span.topic, position: position, settled: []) : nil
        }
    }

    package init(lane: LedgerLane, positions: [LedgerPosition], deferred: [Deferred]) {
        self.lane = lane
        self.positions = positions
        self.deferred = deferred
    }
}
