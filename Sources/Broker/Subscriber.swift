// SPDX-License-Identifier: Apache-2.0

import DequeModule
import HeapModule
import Events
import Filtering
import Routes

/// A subscriber as the broker runs it: its state machine, and what drives it. Owned by the broker's thread; it stays
/// the same object over reloads.
final class Subscriber {
    let name: String
    var route: SubscriberRoute
    var fingerprint: String
    var state: SubscriberState
    /// Runs of history beside what is live, the oldest first.
    var history: [HistoryLane] = []
    var destination: (any Destination)?
    var leases = LeaseTable()
    var waitingPulls: Deque<WaitingPull> = []
    /// Paused by hand, which outlives reloads.
    var isPausedByHand = false
    /// Paused since its plugin was stopped again and again; until it is changed or resumed by hand.
    var isQuarantined = false
    /// How often in a row the host had to stop its script.
    var kills = 0

    /// The filter alone, for reading history; live records go through the topic's matcher.
    var matcher: Matcher
    var scratch: MatchScratch
    /// Places in the batch being routed.
    var matched: [Int32] = []

    var isReading = false
    /// Positions have moved since they were written last.
    var isDirty = false
    /// The sum of its positions when they were written last; positions only rise.
    var positionsWritten: Offset = 0
    /// When the broker looks at it next by itself.
    var wake: Timestamp?

    /// Ended attempts that are not in the ledger yet.
    var attempts = AttemptLog()

    var counts = Counts()
    var lastError: String?
    var metrics: SubscriberMetrics

    struct Counts {
        var acked = 0
        var retried = 0
        var dropped = 0
        /// Dead letters that nobody has dealt with.
        var dead = 0
    }

    init(_ route: SubscriberRoute, fingerprint: String, destination: (any Destination)?, state: SubscriberState) {
        name = route.name
        self.route = route
        self.fingerprint = fingerprint
        self.destination = destination
        self.state = state
        matcher = Matcher([route.filter])
        scratch = matcher.makeScratch()
        metrics = SubscriberMetrics(subscriber: route.name)
    }

    /// Takes the block of a new generation; what is in flight goes on.
    func update(_ route: SubscriberRoute, fingerprint: String, destination: (any Destination)?) {
        self.route = route
        self.fingerprint = fingerprint
        self.destination = destination
        matcher = Matcher([route.filter])
        scratch = matcher.makeScratch()
        liftQuarantine()
        applySettings()
    }

    func liftQuarantine() {
        isQuarantined = false
        kills = 0
    }

    func applySettings() {
        var settings = route.stateSettings
        settings.paused = settings.paused || isPausedByHand || isQuarantined
        state.update(settings)
        for lane in history where !lane.isCancelled { lane.applySettings(settings) }
    }
}
