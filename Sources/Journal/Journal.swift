// SPDX-License-Identifier: Apache-2.0

package import Events
package import Logging
import Synchronization

/// The durable record of every topic: `folder/<topic>/<first offset>.log`, described in docs/journal-format.md.
///
/// One writer thread gathers whatever waits, writes it with one call per topic, syncs each touched segment once, and
/// only then tells the callers; while it syncs, the next group gathers. Readers see nothing that isn't durable, unless
/// the topic has a sync interval. Whoever opens a journal holds the lock on the data folder.
package final class Journal: Sendable {
    package enum Writing: Sendable {
        /// A thread of the journal's own.
        case thread
        /// Whoever calls ``Journal/step()``; for simulations, where nothing may happen by itself.
        case manual
    }

    /// Which topics of its folder a journal keeps. Two journals share one, so that those that import don't hold up the
    /// group commit of those that publish.
    package enum Scope: Sendable {
        case everything, published, imported

        func holds(_ topic: Topic) -> Bool {
            switch self {
            case .everything: true
            case .published: !topic.isImport
            case .imported: topic.isImport
            }
        }
    }

    struct Pending: Sendable {
        var batch: RecordBatch
        var then: @Sendable (Result<ClosedRange<Offset>, Failure>) -> Void
    }

    struct Queue {
        var isOpen = false
        var waiting: [Pending] = []
        var events = 0
        var bytes = 0
        /// Work for the writing thread beside appends.
        var jobs: [@Sendable () -> Void] = []
    }

    /// Who is shown what was appended. A struct, as a closure by itself in a generic `Mutex` is wrapped once more at each
    /// access.
    struct Router: Sendable {
        var route: @Sendable ([RecordBatch]) -> Void
    }

    let folder: String
    let storage: any Storage
    let clock: any Clock
    let log: Logger
    let segmentBytesMax: Int
    let writing: Writing
    private let scope: Scope
    let queue = Monitor(Queue())
    let logs = Mutex<[Topic: TopicLog]>([:])
    private let creation = Monitor(())
    private let noted = Mutex<[RecoveryNote]>([])
    private let thread = Mutex<WorkerThread?>(nil)
    let router = Mutex(Router { _ in })

    package init(
        folder: String, storage: any Storage = FileStorage(), clock: any Clock, log: Logger,
        segmentBytesMax: Int = Limits.segmentBytesMax, writing: Writing = .thread,
        scope: Scope = .everything
    ) {
        self.folder = folder
        self.storage = storage
        self.clock = clock
        self.log = log
        self.segmentBytesMax = segmentBytesMax
        self.writing = writing
        self.scope = scope
    }

    /// Opens every topic that has a folder and begins to take appends.
    ///
    /// `onAppend` is called on the writing thread with the batches of one group commit, after they are durable and
    /// before their callers are told. It must not block.
    ///
    /// - Returns: what was found wrong and mended; the same is logged.
    @discardableResult
    package func open(
        onAppend: @escaping @Sendable ([RecordBatch]) -> Void = { _ in }
    ) throws(Failure) -> [RecoveryNote] {
        router.withLock { $0 = Router(route: onAppend) }
        let names: [String]
        do {
            try storage.createFolder(folder)
            names = try storage.list(folder)
        } catch {
            throw Failure(.storage, "the journal in \(folder) can't be opened: \(error)")
        }
        for name in names.sorted() where Self.isTopicName(name) && scope.holds(Topic.named(name)) {
            if isFolder("\(folder)/\(name)") {
                try openLog(Topic.named(name))
            } else {
                note(RecoveryNote(.foreignFile, topic: Topic.named(name), file: "\(folder)/\(name)"))
            }
        }
        queue.withLock { $0.isOpen = true }
        if writing == .thread {
            thread.withLock { $0 = WorkerThread(name: scope == .imported ? "imports" : "journal") { [self] in run() } }
        }
        return notes()
    }

    /// Finishes what waits, syncs, and closes. Later appends are refused.
    package func close() {
        queue.notify { $0.isOpen = false }
        let writer = thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        if let writer { writer.join() } else { while step() {} }
        let now = clock.now()
        for log in logs.withLock({ Array($0.values) }) { log.close(now: now, log: self.log) }
    }

    /// Everything found wrong since the journal was made, opening included.
    package func notes() -> [RecoveryNote] {
        noted.withLock { $0 }
    }

    /// Makes the topic's folder and first segment, where there are none yet.
    package func create(_ topic: Topic) throws(Failure) {
        guard Self.isTopicName(topic.name) else {
            throw Failure(
                .malformed,
                "topic name \"\(topic.name)\" can't be a folder: use letters, digits, \"-\", \"_\" and \".\", at most \(Limits.nameBytesMax) bytes"
            )
        }
        try creation.withLock { _ throws(Failure) in
            guard logs.withLock({ $0[topic] }) == nil else { return }
            do {
                try storage.createFolder("\(folder)/\(topic.name)")
                try storage.syncFolder(folder)
            } catch {
                throw Failure(.storage, "topic \"\(topic)\" can't be created: \(error)")
            }
            try openLog(topic)
        }
    }

    /// True also where that can't be told: opening says why.
    private func isFolder(_ path: String) -> Bool {
        do {
            _ = try storage.list(path)
            return true
        } catch {
            return !error.isNoFolder
        }
    }

    private func openLog(_ topic: Topic) throws(Failure) {
        var recovery = TopicRecovery(
            topic: topic, folder: "\(folder)/\(topic.name)", storage: storage, segmentBytesMax: segmentBytesMax,
            now: clock.now(), log: log, report: { [weak self] in self?.note($0) })
        let opened = try recovery.open()
        logs.withLock { $0[topic] = opened }
    }

    func note(_ note: RecoveryNote) {
        noted.withLock { noted in
            if noted.count < Limits.recoveryNotesMax { noted.append(note) }
        }
        let metadata: Logger.Metadata = ["topic": "\(note.topic)", "file": "\(note.file)"]
        switch note.kind {
        case _ where note.isLoss: log.error("\(note)", metadata: metadata)
        case .tornTail, .headerRewritten: log.warning("\(note)", metadata: metadata)
        default: log.notice("\(note)", metadata: metadata)
        }
    }

    /// A name that stays one folder inside the journal's. Which names a topic may have is for routes.conf to say.
    static func isTopicName(_ name: String) -> Bool {
        let allowed = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
                UInt8(ascii: "$"):
                true
            default: false
            }
        }
        return allowed && !name.isEmpty && name.utf8.count <= Limits.nameBytesMax && !name.hasPrefix(".")
    }

    // MARK: Reading

    /// In order of name.
    package func topics() -> [Topic] {
        logs.withLock { Array($0.keys) }.sorted { $0.name < $1.name }
    }

    /// The first offset there is, one past the last, and the bytes of the records on disk; nil for a topic that was
    /// never created.
    package func bounds(_ topic: Topic) -> (first: Offset, end: Offset, bytes: Int)? {
        guard let log = logs.withLock({ $0[topic] }) else { return nil }
        return log.view.withLock { view in
            (
                view.sealed.first?.first ?? view.activeFirst, view.end,
                view.sealed.reduce(view.activeByteCount) { $0 + $1.byteCount }
            )
        }
    }

    /// Records from `offset` on, or from the next one there is: offsets may be left out after damage or retention. Fewer
    /// than asked for where a segment ends; at least one, whatever `maxBytes` says; nil at the end of the topic.
    /// Blocks on the disk.
    package func read(
        _ topic: Topic, from offset: Offset, maxRecords: Int, maxBytes: Int
    ) throws(Failure) -> RecordBatch? {
        try log(topic).read(from: offset, maxRecords: maxRecords, maxBytes: maxBytes)
    }

    /// The first offset whose record was appended at `time` or later; the topic's end where there is none.
    /// Blocks on the disk.
    package func offset(at time: Timestamp, in topic: Topic) throws(Failure) -> Offset {
        try log(topic).offset(at: time)
    }

    func log(_ topic: Topic) throws(Failure) -> TopicLog {
        guard let log = logs.withLock({ $0[topic] }) else {
            throw Failure(.unknownTopic, "topic \"\(topic)\" has no journal: create it first")
        }
        return log
    }
}
