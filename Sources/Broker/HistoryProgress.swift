// SPDX-License-Identifier: Apache-2.0

import Events
package import Ledger
package import Routes

/// What somebody asks to have delivered again.
package struct ReplayRequest: Sendable {
    /// `latest` is the end as it is now.
    package var from: StartPosition
    package var until: StartPosition = .latest
    /// One of the subscriber's topics; nil is all of them.
    package var topic: String?
    /// A filter beside the subscriber's own.
    package var filter: String?
    package var rate: Rate?

    package init(from: StartPosition) {
        self.from = from
    }
}

/// How a run of history goes.
package struct HistoryProgress: Hashable, Sendable {
    package var lane: LedgerLane
    /// Records that it goes through, whether or not they match.
    package var total = 0
    /// How many of them are behind it.
    package var passed = 0
    package var inFlight = 0
    /// Deliveries that wait for a retry, or behind their key.
    package var waiting = 0
    /// Of an import: events that are in.
    package var taken: Int?
    /// Records a second, lately.
    package var perSecond: Double?

    package init(_ lane: LedgerLane) {
        self.lane = lane
        total = lane.details.spans.reduce(0) { $0 + Int($1.until - $1.from) }
        passed = total
        if lane.details.kind == .imported, let expected = lane.details.expected {
            (total, passed, taken) = (expected, expected, expected)
        }
    }

    /// Until everything is behind it, at the speed of late.
    package var remaining: Duration? {
        guard lane.state == .running, let perSecond, perSecond > 0 else { return nil }
        return .milliseconds(Int64(Double(total - passed) / perSecond * 1_000))
    }
}
