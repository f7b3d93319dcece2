// SPDX-License-Identifier: Apache-2.0

package import Events

extension Limits {
    /// Records a subscriber holds in memory: ready, in flight, or waiting for their key. Beyond it, the subscriber
    /// reads the journal when it has room again. Covers a second of lag at several thousand events a second.
    package static let windowEvents = 8_192

    /// Bytes of those records; large events reach this bound first.
    package static let windowBytes = 16 << 20

    /// The same of a run of history, which is never in a hurry, and how much of it is read at a time: the broker's thread
    /// looks at one read while live events wait, so that it must be a matter of a fraction of a millisecond.
    package static let historyWindowEvents = 2_048
    package static let historyWindowBytes = 8 << 20
    package static let historyReadEvents = 512

    /// Deliveries of history that a destination has at once. How many is decided by how long they take: what is live waits
    /// behind them.
    package static let historyInFlightMax = 256
    package static let historyInFlightStart = 16

    /// A delivery of history that takes longer from start to settlement halves how many there may be, one that takes
    /// less than the other lets there be more. A live event waits behind them no longer than that.
    package static let historyTurnMax: Duration = .milliseconds(4)
    package static let historyTurnMin: Duration = .milliseconds(2)

    /// How long after a published event history still makes room for the next: longer than the pauses of a shop that is
    /// awake, so that its next order doesn't find both processors busy with the past.
    package static let liveKept: Duration = .seconds(5)

    /// Meanwhile history goes in turns: so many deliveries that they are settled within the first of these times, more where
    /// they take less than the other. A live event that comes during a turn waits no longer, and most come between turns.
    package static let yieldTurnMax: Duration = .microseconds(200)
    package static let yieldTurnMin: Duration = .microseconds(100)
    package static let yieldInFlightMax = 128
    package static let yieldInFlightStart = 16

    /// From the beginning of one turn to the next: four fifths of the time both processors are free of history.
    package static let yieldInterval: Duration = .milliseconds(1)

    /// What is read at a time meanwhile.
    package static let yieldReadEvents = 128

    /// Events and bytes of an import that are taken in a second meanwhile, and the longest that its sender waits for the
    /// answer to one request because of it.
    package static let importYieldEvents = 50_000
    package static let importYieldBytes = 24 << 20
    package static let importYieldWaitMax: Duration = .milliseconds(250)

    /// Runs of history of one subscriber at once.
    package static let lanesMax = 8

    /// Runs that a listing shows, and ended ones of one subscriber that are kept; about 500 bytes each.
    package static let lanesShown = 100
    /// How long a run that has ended can be asked about: longer than anybody waits to look. Imports are kept for as long as
    /// their number allows, so that a file isn't taken twice.
    package static let lanesKept: Duration = .seconds(30 * 86_400)

    /// Deliveries that one start may pass over because another lane has them in flight.
    package static let passedOverMax = 1_024

    /// Offsets set aside for the topic of one import, so that no event of any import has the offset of another, or of
    /// the topic that it is for.
    package static let importOffsetBits: Offset = 40

    /// Over what time the speed of a run is measured.
    package static let paceInterval: Duration = .seconds(5)

    /// Deliveries handed to a destination and not settled. The lane runs them in turn; a deep pipe keeps it busy
    /// while settlements are on their way.
    package static let pipelineEvents = 2_048

    /// Leases of one pull subscriber.
    package static let leasesMax = 10_000

    /// Bytes of records in one answer to a pull, so that an answer and its JSON stay a few megabytes; one record always
    /// fits.
    package static let pullBytesMax = 4 << 20

    /// Leases of one subscriber that are over and still known, to tell who settles twice from who settles too late; a
    /// byte each.
    package static let endedLeasesKept = 100_000

    /// How often a subscriber with `deliver after` looks for what has become due: one read for all that came due since.
    package static let delayedReadInterval: Duration = .milliseconds(100)

    /// How long an orphan is kept: what a subscriber leaves behind that is in no configuration any more.
    package static let orphanKept: Duration = .seconds(7 * 86_400)

    /// Deliveries of one subscriber that wait for a retry or behind their key. Each costs about 150 bytes of memory
    /// and a row; beyond it the subscriber stops taking new records until some are settled. Deliveries that wait for a time
    /// that their publisher set don't count, unless their subscriber is `ordered` and they hold their key.
    package static let deferredMax = 50_000

    /// Records and bytes of one read for a subscriber that is behind.
    package static let catchUpEvents = 2_048
    package static let catchUpBytes = 4 << 20

    /// Times in a row that a subscriber's script is stopped before the subscriber is quarantined: more than an unlucky
    /// event or two, and few enough that the processor time lost is under a second at the default limit.
    package static let quarantineKills = 5

    /// Events of one topic that `fairlead plan` looks at, the newest: a few seconds of reading.
    package static let filterCountEvents: Offset = 1_000_000

    /// Bytes of appended records waiting to be routed from memory. Beyond it subscribers read them from the journal.
    package static let routingBytes = 64 << 20

    /// How long plain acknowledgements may stay unwritten. Losing them costs redeliveries only.
    package static let settleFlushDelay: Duration = .milliseconds(20)

    /// Pause before a read that failed is tried again.
    package static let readRetryDelay: Duration = .seconds(1)

    /// Positions of subscribers that settle nothing are written this often, so that a restart does not match again
    /// what was routed long ago.
    package static let positionsInterval: Duration = .seconds(5)

    /// Unwritten changes in the ledger's queue beyond which no new deliveries start.
    package static let ledgerQueueMax = 20_000

    /// A lease can't be asked to delay its retry for longer, nor a handler's `retry`: 12 hours, SQS's bound.
    package static let retryAfterMax: Duration = .seconds(12 * 3600)

    /// How long an endpoint that answers 429 or 503 can have itself left alone: what is asked beyond it is a mistake, or a
    /// trap that only a person gets it out of.
    package static let busyMax: Duration = .seconds(3_600)

    /// And how long it is left alone at least: such an answer costs no attempt, so it must cost time.
    package static let busyMin: Duration = .seconds(1)

    /// How long a pull or a tail may wait for something to come.
    package static let pollWaitMax: Duration = .seconds(60)

    /// Pulls and tails waiting at once; each holds a connection.
    package static let pollersMax = 4_096

    /// Remembered (source, id) pairs of one topic with `dedupe`; about 100 bytes each. Where more came within its time,
    /// the oldest are forgotten, and counted.
    package static let dedupeEventsMax = 1_000_000

    /// How often whole segments past their retention are looked for.
    package static let retentionInterval: Duration = .seconds(30)

    /// Segments that retention removes in one go: each go is one report to a subscriber that loses events by it, and
    /// holds the offsets of those events.
    package static let retentionSegments = 8

    /// Dead letters of one run under way at once: enough to keep a subscriber busy, few enough that a fault that all
    /// have stops the run early.
    package static let redriveBatch = 500

    /// Dead letters of one run or one discard; 8 bytes each are held.
    package static let redriveMax = 1_000_000

    /// Runs that have ended and can still be asked about.
    package static let redrivesKept = 100

    /// How long a destination that was replaced may go on with what it has begun.
    package static let stopDeadline: Duration = .seconds(30)

    /// Longest that the broker's thread waits without a look at the clock: one that was set forward, or a machine that
    /// slept, is noticed that much later.
    package static let wakeMax: Duration = .seconds(10)

    /// Events looked at in one step when an event is looked for by its id, and how long the search may take: millions of
    /// events, and less than a person's patience.
    package static let findEvents: Offset = 65_536
    package static let findTime: Duration = .seconds(15)

    /// How long a client waits for its leases to be written before it gets them unwritten: far longer than any commit takes
    /// that succeeds.
    package static let leaseWriteWait: Duration = .seconds(1)

    /// Acknowledgements of one subscriber gathered for one row of the ledger's attempts; 8 bytes each.
    package static let passedGatheredMax = 65_536

    /// Outbox rows taken in one go.
    package static let outboxBatch = 1_000

    /// Places of failure of one subscriber that the log warns of; a script that fails at more of them is only noise.
    package static let shownTracesMax = 20

    /// Bytes of the reason kept for a failed attempt.
    package static let reasonBytesMax = 4 << 10
}
