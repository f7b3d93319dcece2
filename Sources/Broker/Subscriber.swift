// SPDX-License-Identifier: Apache-2.0

import CoreMetrics
import DequeModule
import HeapModule
package import Events
import Filtering
import Ledger
import Routes

/// A subscriber as the broker runs it: its state machine, and what drives it. Owned by the broker's thread; it stays
/// the same object over reloads.
package final class Subscriber {
    package let name: String
    var route: SubscriberRoute
    package internal(set) var fingerprint: String
    /// Tells it from one of the same name that was removed before.
    var life = 0
    package internal(set) var state: SubscriberState
    private let bounds: MemoryBounds
    /// Runs of history beside what is live, the oldest first.
    package internal(set) var history: [HistoryLane] = []
    package internal(set) var destination: (any Destination)?
    var leases = LeaseTable()
    var waitingPulls: Deque<WaitingPull> = []
    /// Since when and why it stands still, over reloads and restarts, until somebody resumes it.
    var pause: PauseRecord?
    /// What else keeps it from delivering, until it is changed or resumed by hand.
    var standstills: [Standstill.Cause: Standstill] = [:]
    /// Of these, what is not in the ledger yet.
    var standstillChanges: [StandstillChange] = []
    /// A reload changed it, and it hasn't proved itself yet.
    package internal(set) var probation: Probation?
    /// Its probation failed: it starts nothing until it is what it was before.
    package internal(set) var isUndoing = false
    /// Generations that it failed under, and what is in flight from then.
    var replaced: Range<Int>?
    /// How it did before it was changed.
    var recent = RecentAttempts()
    /// The last change, where that failed.
    var badReload: BadReload?
    /// It gets another name: what the ledger has of it is being read, so nothing of it may change until it has gone.
    var isHandedOver = false
    /// What ended meanwhile: of no consequence once it has gone, as its successor starts the same deliveries.
    var heldSettlements: [Settlements] = []
    /// How often in a row the host had to stop its script.
    var kills = 0

    /// The filter alone, for reading history; live records go through the topic's matcher.
    var matcher: Matcher
    var scratch: MatchScratch
    /// Places in the batch being routed.
    var matched: [Int32] = []

    var isReading = false
    /// When its shelf may be read again, after that failed.
    var shelfReadAt: Timestamp?
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
    /// Where in a script the last error happened.
    var lastTrace: String?
    /// Traces that the log has shown; their repetitions are for debugging.
    var shownTraces: Set<String> = []
    var metrics: SubscriberMetrics
    /// Of one that runs a plugin.
    var pluginErrors: Counter?
    var historyMetrics: [LedgerLane.Kind: HistoryMetrics] = [:]

    struct Counts {
        var acked = 0
        var retried = 0
        var dropped = 0
        /// Dead letters that nobody has dealt with.
        var dead = 0
    }

    init(_ route: SubscriberRoute, fingerprint: String, destination: (any Destination)?, bounds: MemoryBounds) {
        name = route.name
        self.bounds = bounds
        self.route = route
        self.fingerprint = fingerprint
        self.destination = destination
        state = SubscriberState(settings: route.stateSettings(bounds))
        matcher = Matcher([route.filter])
        scratch = matcher.makeScratch()
        metrics = SubscriberMetrics(subscriber: route.name)
        countPluginErrors()
    }

    /// Takes the block of a new generation; what is in flight goes on.
    func update(_ route: SubscriberRoute, fingerprint: String, destination: (any Destination)?) {
        self.route = route
        self.fingerprint = fingerprint
        self.destination = destination
        countPluginErrors()
        matcher = Matcher([route.filter])
        scratch = matcher.makeScratch()
        shownTraces = []
        state.allow(nil)
        startAfresh()
        applySettings()
    }

    private func countPluginErrors() {
        if case .run(let plugin, _, _) = route.delivery {
            pluginErrors = BrokerMetrics.pluginErrors(subscriber: name, plugin: plugin)
        } else {
            pluginErrors = nil
        }
    }

    /// Forgets what its plugin or its endpoint did before.
    func startAfresh() {
        kills = 0
        for cause in Standstill.Cause.allCases { endStandstill(cause) }
        state.resetBreaker()
    }

    func applySettings() {
        var settings = route.stateSettings(bounds)
        settings.paused =
            settings.paused || pause != nil || standstills[.quarantine] != nil || standstills[.gone] != nil || isUndoing
        if probation?.isBinding ?? false, settings.batch == nil {
            settings.inFlightMax = min(settings.inFlightMax, Limits.probationInFlight)
        }
        state.update(settings)
        for lane in history where !lane.isCancelled { lane.applySettings(settings) }
    }
}
