// SPDX-License-Identifier: Apache-2.0

package import Events

extension Limits {
    /// Bytes of a key in a subscriber's state.
    package static let stateKeyBytesMax = 1 << 10

    /// Bytes of a value in a subscriber's state, as JSON text: a document, not a file.
    package static let stateValueBytesMax = 256 << 10

    /// State writes of one handled event or batch; one transaction holds them all.
    package static let stateWritesMax = 10_000

    /// Events published by one handled event or batch.
    package static let publicationsMax = 10_000

    /// Entries of one listing of state.
    package static let stateListMax = 1_000

    /// Bytes of a failure's reason and of its trace, as kept; longer ones are cut.
    package static let keptReasonBytesMax = 4 << 10
    package static let keptTraceBytesMax = 16 << 10

    /// Changes and bytes that wait for the ledger's writer at a ``Ledger/Pressure`` of 1.
    package static let ledgerWaitingChangesMax = 50_000
    package static let ledgerWaitingBytesMax = 64 << 20

    /// Changes and bytes of one transaction, so that it takes some 10 ms and no more.
    package static let ledgerCommitChangesMax = 2_000
    package static let ledgerCommitBytesMax = 8 << 20

    /// The pause after a failed transaction, doubled with each further one.
    package static let ledgerRetryPauseMin = Duration.milliseconds(50)
    package static let ledgerRetryPauseMax = Duration.seconds(5)

    /// How long a call that needs the writer waits while its disk fails.
    package static let ledgerAnswerTimeout = Duration.seconds(30)

    /// How long a reload waits for the ledger before it is refused, or its refusal goes unwritten for the time being: many
    /// times what a commit takes on a disk that works.
    package static let reloadWriteTimeout = Duration.seconds(10)
    package static let attemptWriteTimeout = Duration.seconds(2)

    /// Reloads that did not take effect, kept for `fairlead generations`; the newest.
    package static let reloadAttemptsKept = 1_000

    /// How long another process may hold the database before a call fails: a backup or the sqlite3 shell.
    package static let ledgerBusyTimeout = Duration.seconds(5)

    /// How often, and how many at a time, expired state is removed. It isn't shown in the meantime.
    package static let statePurgeInterval = Duration.seconds(10)
    package static let statePurgeRowsMax = 1_000

    /// Rows of old attempts removed in one transaction: a few milliseconds.
    package static let attemptPurgeRows = 2_000

    /// Attempts that a search for a subscriber's failures looks at, of all subscribers: 10 ms, or 25 where each has a long
    /// trace. Acknowledgements of many together don't count.
    package static let failureScanMax = 10_000

    /// Scheduled deliveries of one subscriber that are held in memory, about 150 bytes each; the others are rows until
    /// their time comes near.
    package static let scheduledMax = 16_384

    /// Connections that read state. Lanes are threads; more than the cores that serve them gain nothing.
    package static let ledgerReaders = 2
}
