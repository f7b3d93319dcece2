// SPDX-License-Identifier: Apache-2.0

import DequeModule
import HeapModule
package import Events
import Filtering
package import Logging
import Routes

/// The path of an event, from the moment it is durable until it is settled. Confined to one thread (``BrokerThread``),
/// or to a test that drives it by hand; it never blocks: reading is handed to `perform`, writing to the engine, and both
/// come back through `post`.
///
/// The five verbs: **publish** is `Publish.swift` of the Gateway, **append** is `Journal+append.swift` of the Journal,
/// **route** `Route.swift`, **dispatch** `Dispatch.swift`, **settle** `Settle.swift`, the last three in this folder.
package final class BrokerCore {
    let engine: any Engine
    let clock: any Clock
    let log: Logger
    package let bounds: MemoryBounds
    /// Runs work on the thread that owns this core, later.
    let post: @Sendable (@escaping @Sendable (BrokerCore) -> Void) -> Void
    /// Runs work that may block, somewhere else.
    let perform: @Sendable (@escaping @Sendable () -> Void) -> Void
    var random: SeededGenerator
    let metrics = BrokerMetrics()

    package internal(set) var generation: Generation?
    /// Where each topic ended when the generation took over.
    var swapEnds: [String: Offset] = [:]
    package internal(set) var subscribers: [String: Subscriber] = [:]
    /// Who takes what, by topic; made anew by each generation.
    var routing: [Topic: TopicRouting] = [:]
    var ends: [Topic: TopicEnd] = [:]
    var waitingTails: [Topic: [WaitingTail]] = [:]
    var wakes = Heap<Wake>()
    /// When an event was published last, by anybody.
    var liveAt: Timestamp?
    var flushAt: Timestamp?
    var positionsAt: Timestamp?
    /// When the outbox is looked at again after it could not be emptied.
    var outboxAt: Timestamp?
    /// Dead letters that are being sent again, and runs that have ended lately.
    var redrives: [Int: RedriveRun] = [:]
    var lastRedrive = 0
    /// The highest number that a run of history has.
    var lastLane: Int64 = 0
    /// When a run may send more by its rate.
    var redriveAt: Timestamp?
    /// Answers that wait for the ledger, in the order in which they are due.
    var lateAnswers: [(due: Timestamp, once: Once)] = []
    var answersAt: Timestamp?
    /// Subscribers that were made so far.
    var lives = 0
    /// Told what became of changed subscribers.
    package var reportProbation: @Sendable (ProbationReport) -> Void = { _ in }
    var isDraining = false
    var isOutboxBusy = false
    var nextLease: UInt64
    package internal(set) var pollers = 0

    final class TopicRouting {
        let matcher: Matcher
        let scratch: MatchScratch
        let subscribers: [Subscriber]

        let metrics: FilterMetrics

        init(_ topic: Topic, subscribers: [Subscriber]) {
            self.subscribers = subscribers
            matcher = Matcher(subscribers.map(\.route.filter))
            scratch = matcher.makeScratch()
            metrics = FilterMetrics(topic: topic, unindexed: matcher.unindexedCount)
            // Counters that are there from the start, at 0, so that their first rise is seen as one.
            for subscriber in subscribers { _ = BrokerMetrics.lost(subscriber: subscriber.name, topic: topic.name) }
        }
    }

    struct Wake: Comparable {
        var time: Timestamp
        var subscriber: Subscriber?

        static func < (a: Wake, b: Wake) -> Bool { a.time < b.time }
        static func == (a: Wake, b: Wake) -> Bool { a.time == b.time }
    }

    package init(
        engine: any Engine, clock: any Clock, log: Logger, seed: UInt64,
        bounds: MemoryBounds = MemoryBounds(),
        perform: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void,
        post: @escaping @Sendable (@escaping @Sendable (BrokerCore) -> Void) -> Void
    ) {
        self.engine = engine
        self.clock = clock
        self.log = log
        self.bounds = bounds
        self.perform = perform
        self.post = post
        random = SeededGenerator(seed: seed)
        // Leases of an earlier life of the process are not mistaken for this one's. 45 bits are nine digits of a lease's
        // text, which then fits a string without memory of its own.
        nextLease = random.next() >> 19
    }

    /// When ``tick()`` wants to be called next.
    package var wake: Timestamp? {
        [wakes.min?.time, flushAt, positionsAt, outboxAt, redriveAt, answersAt].compactMap { $0 }.min()
    }

    /// Does what has become due: retries, expired leases, waits that are over, positions to write.
    package func tick() {
        let now = clock.now()
        while let next = wakes.min, next.time <= now {
            wakes.removeMin()
            if let subscriber = next.subscriber {
                // Superseded entries are left in the heap and passed over here.
                guard subscriber.wake == next.time else { continue }
                subscriber.wake = nil
                dispatch(subscriber)
            } else {
                expireTails(now)
            }
        }
        if let due = flushAt, due <= now { flush() }
        if let due = positionsAt, due <= now { flushAllPositions(now) }
        if let due = redriveAt, due <= now { advanceRedrives() }
        if let due = answersAt, due <= now { answerLate(now) }
        if let due = outboxAt, due <= now {
            outboxAt = nil
            drainOutbox()
        }
    }

    func wake(_ subscriber: Subscriber, at time: Timestamp) {
        if let current = subscriber.wake, current <= time { return }
        subscriber.wake = time
        wakes.insert(Wake(time: time, subscriber: subscriber))
    }
}

/// SplitMix64: small, fast, and the same sequence for the same seed, which a simulation needs.
/// Constants from Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
package struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) {
        state = seed
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
