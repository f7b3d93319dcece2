// SPDX-License-Identifier: Apache-2.0

package import Events
package import Ledger
package import Routes

/// What stores events and settlement. The embedded one is ``EmbeddedEngine``; the broker knows only this.
///
/// Calls marked *blocks* wait for a disk or a network: never on the broker's thread, never on the cooperative pool.
package protocol Engine: AnyObject, Sendable {
    /// Makes the records durable in their topic, then calls `then` from any thread. Batches of one topic are appended
    /// in the order of the calls. The engine shows appended batches to the broker (``BrokerCore/route(_:)``) in
    /// that same order, before `then`.
    func append(
        _ batch: RecordBatch, then: @escaping @Sendable (Result<ClosedRange<Offset>, Failure>) -> Void)

    /// Records from `from` on, or from the first after it that there is; nil at the end. *Blocks.*
    func read(
        _ topic: Topic, from: Offset, maxRecords: Int, maxBytes: Int
    ) throws(Failure) -> RecordBatch?

    /// One record: of a dead letter, where it is one, else of its topic; nil where it is gone. *Blocks.*
    func record(_ id: DeliveryID, deadLetter: Int64?) throws(Failure) -> Record?

    func bounds(of topic: Topic) -> TopicBounds

    /// The first record that is not older than `time`; the end where all are. *Blocks.*
    func offset(at time: Timestamp, in topic: Topic) throws(Failure) -> Offset

    /// Makes the topics exist, with their retention and sync settings. *Blocks.*
    func declare(_ topics: [TopicRoute]) throws(Failure)

    /// Whole segments that retention doesn't keep. *Blocks.*
    func expired() -> [ExpiredRecords]
    /// Removes the records of `topic` below `end`, which is where one of those segments ends. *Blocks.*
    func drop(_ topic: Topic, before end: Offset)
    /// Returns when all changes handed over before are written. *Blocks.*
    func flush() throws(Failure)

    /// Makes the topic exist that an import's events wait in, with offsets from `first` on; kept until it is removed.
    func createImport(_ topic: Topic, first: Offset) async throws(Failure)
    /// The topics of imports that there are.
    func imports() -> [Topic]
    func removeImport(_ topic: Topic) async throws(Failure)

    /// Runs of history, ended ones included, the newest first; of all subscribers where none is named. *Blocks.*
    func lanes(of subscriber: String?, limit: Int) throws(Failure) -> [LedgerLane]
    /// The highest number that a run was ever given. *Blocks.*
    func lastLane() throws(Failure) -> Int64

    /// Applies a change, all of it or nothing, after those handed over before. Kept and tried again while the disk
    /// refuses it; `then` is called when it is written.
    func commit(_ change: LedgerChange, then: @escaping @Sendable (Result<LedgerCommit, Failure>) -> Void)

    /// Plugins' state, with all changes handed over so far.
    var state: any StateReader { get }

    /// Changes handed over and not yet written.
    var unwritten: Int { get }

    /// Whether changes can't be written now: they are kept and tried again.
    var isFailing: Bool { get }

    /// Every subscriber that anything is known of. *Blocks.*
    func subscribers() throws(Failure) -> [String]
    /// *Blocks.*
    func load(_ subscriber: String, scheduledMax: Int) throws(Failure) -> SubscriberLedger
    /// The lowest offset of `topic` that any subscriber's retry or scheduled delivery needs. *Blocks.*
    func lowestDeferred(in topic: Topic) throws(Failure) -> (subscriber: String, offset: Offset)?
    /// Scheduled deliveries from a place in their order on. *Blocks.*
    func scheduled(of subscriber: String, from place: SchedulePlace, limit: Int) throws(Failure) -> [Deferred]
    /// All others that anything is known of are orphans from now on. *Blocks.*
    func setRunning(_ subscribers: Set<String>) throws(Failure)
    /// They can't be purged from here on; then gives what is known of each `old` to its `new`. All of it or, where it
    /// throws, nothing. *Blocks.*
    func adopt(_ subscribers: Set<String>, renaming: [SubscriberRename]) throws(Failure)
    /// *Blocks.*
    func orphans() throws(Failure) -> [Orphan]
    /// Forgets an orphan that is one since `moment` or before; false where it isn't. *Blocks.*
    func purgeOrphan(_ subscriber: String, since moment: Timestamp) throws(Failure) -> Bool

    /// The oldest rows, without those handed to ``removeOutbox(_:)``. *Blocks.*
    func outbox(limit: Int) throws(Failure) -> [OutboxEvent]
    /// Removes the rows whose event is in its topic already: the process ended between the append and the row's
    /// removal. Before anything is appended. *Blocks.*
    func recoverOutbox() throws(Failure)
    func removeOutbox(_ ids: [UInt64])

    /// How many dead letters of a subscriber nobody has dealt with, and their keys. *Blocks.*
    func openDeadLetters(of subscriber: String) throws(Failure) -> OpenDeadLetters
    /// Newest first, ids below `before`. *Blocks.*
    func deadLetters(_ filter: DeadLetterFilter, before: Int64?, limit: Int) throws(Failure) -> [DeadLetter]
    /// The ids of all that fit, the oldest first. *Blocks.*
    func deadLetterIDs(_ filter: DeadLetterFilter, limit: Int) throws(Failure) -> [Int64]
    /// The largest first. *Blocks.*
    func deadLetterGroups(_ filter: DeadLetterFilter, limit: Int) throws(Failure) -> [DeadLetterSummary]
    /// Whatever became of it. *Blocks.*
    func deadLetter(_ id: Int64) throws(Failure) -> DeadLetter?
    /// Those of these that there are, whatever became of them, in the order of their ids. *Blocks.*
    func deadLetters(_ ids: [Int64]) throws(Failure) -> [DeadLetter]
    /// The newest of one delivery. *Blocks.*
    func deadLetter(of subscriber: String, _ id: DeliveryID) throws(Failure) -> DeadLetter?
    /// `record` is delivered in the original's place from now on; false where the dead letter isn't open. *Blocks.*
    func mend(_ id: Int64, record: [UInt8]) throws(Failure) -> Bool
    /// What is kept of the attempts on a delivery, the oldest first. *Blocks.*
    func attempts(of subscriber: String, _ id: DeliveryID) throws(Failure) -> [Attempt]
    /// The last failed attempts of a subscriber, the newest first. *Blocks.*
    func failures(of subscriber: String, limit: Int) throws(Failure) -> [Attempt]
    /// Removes what is kept of attempts for longer than `attempts`, runs of history that ended long ago, and open dead letters older than `dead`; returns how
    /// many dead letters of each subscriber. *Blocks.*
    func expire(attempts: Duration, dead: Duration?) throws(Failure) -> [String: Int]

    /// Writes what is still unwritten and closes. *Blocks.*
    func close()
}

package struct ExpiredRecords: Sendable {
    package var topic: Topic
    /// The offsets of each segment, the oldest first.
    package var segments: [Range<Offset>]

    package init(topic: Topic, segments: [Range<Offset>]) {
        self.topic = topic
        self.segments = segments
    }
}

package struct TopicBounds: Hashable, Sendable {
    package var first: Offset
    /// One past the last record.
    package var end: Offset
    package var bytes: Int

    package init(first: Offset, end: Offset, bytes: Int) {
        self.first = first
        self.end = end
        self.bytes = bytes
    }
}
