// SPDX-License-Identifier: Apache-2.0

package import Events
import Foundation
import GRDB
package import Logging
import Synchronization

/// What is known of deliveries and of plugins' state: `data/ledger.db`, SQLite in WAL mode.
///
/// One writer thread takes whatever waits into one transaction, in the order it was handed over. A transaction that
/// holds nothing but positions, retries and state is left to the operating system to write; losing it to a power cut
/// costs redeliveries, and never a part of a change. One that holds events or dead letters is synced before
/// anyone is told.
package final class Ledger: Sendable {
    package enum Writing: Sendable {
        /// A thread of the ledger's own.
        case thread
        /// Whoever calls ``Ledger/step()``; for simulations, where nothing may happen by itself.
        case manual
    }

    package enum Health: Hashable, Sendable {
        case working
        /// The writer can't commit and tries again and again; nothing is lost while the process lives.
        case failing(Failure)
    }

    /// How much waits for the writer: 1 and more means that the broker should start nothing new.
    package struct Pressure: Hashable, Sendable {
        /// Handed over and not yet committed.
        package var changes: Int
        package var bytes: Int

        package var value: Double {
            max(
                Double(changes) / Double(Limits.ledgerWaitingChangesMax),
                Double(bytes) / Double(Limits.ledgerWaitingBytesMax))
        }
    }

    /// Work for the writer, in order.
    enum Item: Sendable {
        case change(LedgerChange, then: (@Sendable (Result<LedgerCommit, Failure>) -> Void)?)
        case job(Job)

        var isAlone: Bool {
            if case .job(let job) = self { job.isAlone } else { false }
        }

        var byteCount: Int {
            if case .change(let change, _) = self { change.byteCount } else { 256 }
        }
    }

    struct Job: Sendable {
        var isDurable: Bool
        /// It has a transaction to itself.
        var isAlone: Bool
        var body: @Sendable (Database) throws -> Void
        var then: @Sendable (Failure?) -> Void
    }

    struct Queue: Sendable {
        var waiting: [Item] = []
        var bytes = 0
        var accepted: UInt64 = 0
        /// How many of those accepted the writer has taken.
        var taken: UInt64 = 0
        /// How many the writer has taken and not yet committed.
        var inTransaction = 0
        var isOpen = true
    }

    /// What readers of state look at before the database.
    struct Shared {
        var overlay = StateOverlay()
        var subscribers: [String: Int64] = [:]
        /// Those of their names that are old: whoever still runs under one writes to what has the new name now.
        var renamed: Set<String> = []
        var isFailing = false
    }

    let clock: any Clock
    package var now: Timestamp { clock.now() }
    let log: Logger
    let database: DatabaseQueue
    private let readers: [DatabaseQueue]
    let queue = Monitor(Queue())
    let shared = Mutex(Shared())
    private let writing: Writing
    private let onHealth: @Sendable (Health) -> Void
    private let thread = Mutex<WorkerThread?>(nil)
    let writer: Writer

    /// Opens the database, or makes it.
    ///
    /// `onHealth` is called on the writing thread when the ledger begins to fail and when it works again.
    ///
    /// - Throws: `.storage` where the file isn't a ledger, is damaged, belongs to a newer version, or is held by another
    ///   process.
    package init(
        path: String, clock: any Clock, log: Logger, writing: Writing = .thread,
        busyTimeout: Duration = Limits.ledgerBusyTimeout,
        onHealth: @escaping @Sendable (Health) -> Void = { _ in }
    ) throws(Failure) {
        self.clock = clock
        self.log = log
        self.writing = writing
        self.onHealth = onHealth
        do {
            let opened = try Self.open(path, busyTimeout: busyTimeout)
            database = opened.writer
            readers = opened.readers
            writer = Writer(nextOutbox: opened.nextOutbox)
            shared.withLock { $0.subscribers = opened.subscribers }
        } catch let failure as Failure {
            throw failure
        } catch let error as DatabaseError {
            throw Self.failure(opening: path, error)
        } catch {
            throw Failure(.storage, "the ledger \(path) can't be opened: \(error)")
        }
        if writing == .thread {
            thread.withLock { $0 = WorkerThread(name: "ledger") { [self] in run() } }
        }
    }

    private struct Opened {
        var writer: DatabaseQueue
        var readers: [DatabaseQueue]
        var subscribers: [String: Int64]
        var nextOutbox: Int64
    }

    private static func open(_ path: String, busyTimeout: Duration) throws -> Opened {
        var configuration = Configuration()
        configuration.busyMode = .timeout(busyTimeout.seconds)
        configuration.label = "ledger"
        let writer = try DatabaseQueue(path: path, configuration: configuration)
        try writer.inDatabase { db in
            let application = try Int32.fetchOne(db, sql: "PRAGMA application_id") ?? 0
            let tables = try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master") ?? 0
            guard application == LedgerSchema.applicationID || tables == 0 else {
                throw Failure(
                    .storage,
                    "\(path) is an SQLite database, but no ledger of Fairlead's: move it away or choose another data folder"
                )
            }
            // First of all: whenever the process ends from here on, the file is known to be ours.
            if tables == 0 { try db.execute(sql: "PRAGMA application_id = \(LedgerSchema.applicationID)") }
            _ = try String.fetchOne(db, sql: "PRAGMA journal_mode = WAL")
            try db.execute(sql: "PRAGMA synchronous = NORMAL")
        }
        let isNewer = try writer.read { try LedgerSchema.migrator.hasBeenSuperseded($0) }
        guard !isNewer else {
            throw Failure(.storage, "\(path) was written by a newer Fairlead: use that one")
        }
        try LedgerSchema.migrator.migrate(writer)
        configuration.readonly = true
        configuration.label = "ledger-reader"
        let readers = try (0..<Limits.ledgerReaders).map { _ in
            try DatabaseQueue(path: path, configuration: configuration)
        }
        return try writer.read { db in
            var subscribers: [String: Int64] = [:]
            for row in try Row.fetchAll(db, sql: "SELECT name, id FROM subscriber") { subscribers[row[0]] = row[1] }
            let outbox = try Int64.fetchOne(db, sql: "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")
            return Opened(
                writer: writer, readers: readers, subscribers: subscribers, nextOutbox: (outbox ?? 0) + 1)
        }
    }

    private static func failure(opening path: String, _ error: DatabaseError) -> Failure {
        switch error.resultCode {
        case .SQLITE_NOTADB:
            Failure(.storage, "\(path) is no SQLite database: move it away or choose another data folder")
        case .SQLITE_CORRUPT:
            Failure(
                .storage,
                "\(path) is damaged (\(error.message ?? "")): restore it, or move it away to start with an empty ledger"
            )
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            Failure(.storage, "\(path) is held by another process: end it and start again")
        default:
            Failure(.storage, "the ledger \(path) can't be opened: \(error.message ?? "\(error.resultCode)")")
        }
    }

    /// Commits what waits and closes. What can't be committed, as the disk fails, is refused to whoever handed it over.
    package func close() {
        queue.notify { $0.isOpen = false }
        let worker = thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        if let worker { worker.join() } else { while (try? step()) == true {} }
        let left =
            writer.giveUp(self)
            + queue.withLock { queue in
                defer { (queue.waiting, queue.bytes) = ([], 0) }
                return queue.waiting
            }
        let failure = Failure(.storage, "the ledger was closed while its disk failed: the change is not kept")
        for item in left { answer(item, .failure(failure)) }
        for connection in readers + [database] {
            do {
                try connection.close()
            } catch {
                log.warning("Ledger connection not closed", metadata: ["error": "\(error)"])
            }
        }
    }

    // MARK: Changes

    /// Hands a change over; from now on reads of state see it. `then` is called on the writing thread when it is
    /// committed, or at once where it is refused.
    package func commit(
        _ change: LedgerChange, then: (@Sendable (Result<LedgerCommit, Failure>) -> Void)? = nil
    ) {
        if let refusal = Self.refusal(of: change) {
            then?(.failure(refusal))
            return
        }
        let isAccepted = queue.notify { queue in
            guard queue.isOpen else { return false }
            queue.accepted += 1
            if !change.state.isEmpty {
                shared.withLock { $0.overlay.accept(change.state, of: change.subscriber, sequence: queue.accepted) }
            }
            let item = Item.change(change, then: then)
            queue.bytes += item.byteCount
            queue.waiting.append(item)
            return true
        }
        if !isAccepted { then?(.failure(Failure(.storage, "the ledger is closed"))) }
    }

    /// Why a change won't be taken; nil where it will.
    package static func refusal(of change: LedgerChange) -> Failure? {
        guard change.state.count <= Limits.stateWritesMax else {
            return Failure(
                .tooLarge, "\(change.state.count) state writes at once; the limit is \(Limits.stateWritesMax)")
        }
        guard change.publications.count <= Limits.publicationsMax else {
            return Failure(
                .tooLarge,
                "\(change.publications.count) events published at once; the limit is \(Limits.publicationsMax)")
        }
        for write in change.state {
            guard (1...Limits.stateKeyBytesMax).contains(write.key.utf8.count) else {
                return Failure(
                    .tooLarge,
                    "a state key of \(write.key.utf8.count) bytes; allowed are 1 to \(Limits.stateKeyBytesMax)")
            }
            if case .put(let key, let value, _) = write, value.count > Limits.stateValueBytesMax {
                return Failure(
                    .tooLarge,
                    "the value of state key \"\(key)\" is \(value.count) bytes; the limit is \(Limits.stateValueBytesMax)"
                )
            }
        }
        return nil
    }

    /// Whether the last transaction could not be committed.
    package var isFailing: Bool { shared.withLock { $0.isFailing } }

    package var pressure: Pressure {
        queue.withLock { Pressure(changes: $0.waiting.count + $0.inTransaction, bytes: $0.bytes) }
    }

    /// Runs `body` in the writer's order and waits for it. Where `timeout` passes first, it is still run when the disk works
    /// again.
    func perform<Value: Sendable>(
        isDurable: Bool, isAlone: Bool = false, timeout: Duration = Limits.ledgerAnswerTimeout,
        _ body: @escaping @Sendable (Database) throws -> Value,
        afterwards: @escaping @Sendable () -> Void = {}
    ) throws(Failure) -> Value {
        let outcome = Monitor<Result<Value, Failure>?>(nil)
        let value = Mutex<Value?>(nil)
        let job = Job(
            isDurable: isDurable, isAlone: isAlone,
            body: { db in
                let result = try body(db)
                value.withLock { $0 = result }
            },
            then: { failure in
                if failure == nil { afterwards() }
                let result = value.withLock { $0 }
                outcome.notify { outcome in
                    outcome =
                        result.flatMap { failure == nil ? .success($0) : nil }
                        ?? .failure(failure ?? Failure(.storage, "the ledger gave no answer"))
                }
            })
        guard enqueue(job) else { throw Failure(.storage, "the ledger is closed") }
        if writing == .manual {
            do {
                while outcome.withLock({ $0 == nil }) { try step() }
            } catch {
                throw Self.failure(error)
            }
        }
        guard let result = outcome.wait(timeout: timeout, { $0 }) else {
            throw Failure(.storage, "the ledger's disk fails: no answer within \(timeout)")
        }
        return try result.get()
    }

    /// Puts a job into the writer's order; false where the ledger is closed.
    func enqueue(_ job: Job) -> Bool {
        queue.notify { queue in
            guard queue.isOpen else { return false }
            let item = Item.job(job)
            queue.accepted += 1
            queue.bytes += item.byteCount
            queue.waiting.append(item)
            return true
        }
    }

    /// Waits until all that was handed over before is committed.
    package func flush() throws(Failure) {
        try perform(isDurable: false) { _ in }
    }

    /// Reads with a connection that sees what is committed.
    func read<Value>(_ subscriber: String = "", _ body: (Database) throws -> Value) throws(Failure) -> Value {
        let reader = readers[subscriber.isEmpty ? 0 : abs(subscriber.hashValue % readers.count)]
        do {
            return try reader.unsafeRead(body)
        } catch {
            throw Self.failure(error)
        }
    }

    static func failure(_ error: any Error) -> Failure {
        if let failure = error as? Failure { return failure }
        if let error = error as? DatabaseError {
            return Failure(.storage, "the ledger failed: \(error.message ?? "\(error.resultCode)")")
        }
        return Failure(.storage, "the ledger failed: \(error)")
    }

    func answer(_ item: Item, _ result: Result<LedgerCommit, Failure>) {
        switch item {
        case .change(_, let then):
            then?(result)
        case .job(let job):
            if case .failure(let failure) = result { job.then(failure) } else { job.then(nil) }
        }
    }

    // MARK: The writing thread

    private func run() {
        var pause = Limits.ledgerRetryPauseMin
        while true {
            let isDone = queue.wait(timeout: Limits.statePurgeInterval) { queue -> Bool? in
                if !queue.waiting.isEmpty || writer.hasGroup { return false }
                return queue.isOpen ? nil : true
            }
            if isDone == true { return }
            do {
                try step()
                pause = Limits.ledgerRetryPauseMin
            } catch {
                // Closing doesn't wait for a disk that fails; it tries once more, as there may be room by now.
                if queue.wait(timeout: pause, { $0.isOpen ? nil : true }) == true {
                    while (try? step()) == true {}
                    return
                }
                pause = min(pause * 2, Limits.ledgerRetryPauseMax)
            }
        }
    }

    /// One group commit. Only for a ledger whose ``Writing`` is manual, and for its own thread.
    ///
    /// - Returns: whether more waits.
    /// - Throws: the group is kept, and is tried again at the next call.
    @discardableResult
    package func step() throws -> Bool {
        if !writer.hasGroup {
            let (items, sequence) = queue.withLock { queue in
                var bytes = 0
                var count = 0
                while count < min(queue.waiting.count, Limits.ledgerCommitChangesMax),
                    count == 0 || bytes < Limits.ledgerCommitBytesMax
                {
                    let isAlone = queue.waiting[count].isAlone
                    if isAlone, count > 0 { break }
                    bytes += queue.waiting[count].byteCount
                    count += 1
                    if isAlone { break }
                }
                let items = Array(queue.waiting.prefix(count))
                queue.waiting.removeFirst(count)
                queue.bytes -= bytes
                queue.taken += UInt64(count)
                queue.inTransaction = count
                return (items, queue.taken)
            }
            writer.take(items, sequence: sequence)
        }
        do {
            try writer.commitGroup(self)
            if writer.isFailing {
                writer.isFailing = false
                shared.withLock { $0.isFailing = false }
                log.notice("The ledger works again")
                onHealth(.working)
            }
        } catch {
            if !writer.isFailing {
                writer.isFailing = true
                shared.withLock { $0.isFailing = true }
                let failure = Self.failure(error)
                log.error("The ledger can't commit and tries again", metadata: ["error": "\(error)"])
                onHealth(.failing(failure))
            }
            throw error
        }
        writer.purge(self)
        return queue.withLock { !$0.waiting.isEmpty }
    }
}
