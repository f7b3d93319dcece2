// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import GRDB
import Logging
import Synchronization

/// The writing thread's side of a ledger: puts a group of changes into one transaction.
///
/// Within a group only the last write to each position, deferred row and state key reaches SQLite; as all of a group
/// is committed or none, nobody can tell.
final class Writer: @unchecked Sendable {
    // Checked by hand: touched by the writing thread alone, but for `isFailing` and `hasGroup`, which it also reads.
    private var group: [Ledger.Item] = []
    private var notNumbers: [[String]] = []
    private var sequence: UInt64 = 0
    private var state: [String: [StateOverlay.Key: StateOverlay.Resolved]]?
    private var nextOutbox: Int64
    private var isSynchronous = false
    private var purged: Timestamp?
    private var newSubscribers: [String: Int64] = [:]
    var isFailing = false

    var hasGroup: Bool { !group.isEmpty }

    init(nextOutbox: Int64) {
        self.nextOutbox = nextOutbox
    }

    func take(_ items: [Ledger.Item], sequence: UInt64) {
        group = items
        self.sequence = sequence
        state = nil
    }

    /// What was taken and never committed.
    func giveUp(_ ledger: Ledger) -> [Ledger.Item] {
        defer { group = [] }
        ledger.queue.withLock { $0.inTransaction = 0 }
        return group
    }

    /// - Throws: the disk fails; everything is as before and may be tried again.
    func commitGroup(_ ledger: Ledger) throws {
        guard hasGroup else { return }
        let state = try resolveState(ledger)
        let isDurable = group.contains { item in
            switch item {
            case .change(let change, _): change.isDurable
            case .job(let job): job.isDurable
            }
        }
        do {
            try setSynchronous(isDurable, ledger)
            let commits = try transaction(group, state: state, notNumbers: notNumbers, ledger)
            finish(ledger, commits.map { .success($0) })
        } catch let error where !Self.isDiskFault(error) {
            try commitSingly(ledger)
        }
    }

    /// Something in the group is wrong by itself: each goes alone, and only the wrong one is refused.
    private func commitSingly(_ ledger: Ledger) throws {
        var results: [Result<LedgerCommit, Failure>] = []
        for item in group {
            do {
                let (state, notNumbers) = try resolve([item], ledger)
                results += try transaction([item], state: state, notNumbers: notNumbers, ledger).map { .success($0) }
            } catch let error where !Self.isDiskFault(error) {
                ledger.log.error("A change was refused by the ledger", metadata: ["error": "\(error)"])
                results.append(.failure(Ledger.failure(error)))
            } catch {
                // Those done are done; the rest is tried again.
                let done = results.count
                let rest = Array(group.dropFirst(done))
                answer(Array(group.prefix(done)), results, ledger)
                group = rest
                self.state = nil
                throw error
            }
        }
        finish(ledger, results)
    }

    private func finish(_ ledger: Ledger, _ results: [Result<LedgerCommit, Failure>]) {
        let done = group
        let keys = state ?? [:]
        ledger.shared.withLock { shared in
            for (subscriber, values) in keys { shared.overlay.clear(values.keys, of: subscriber) }
        }
        group = []
        state = nil
        answer(done, results, ledger)
    }

    private func answer(_ items: [Ledger.Item], _ results: [Result<LedgerCommit, Failure>], _ ledger: Ledger) {
        ledger.queue.withLock { $0.inTransaction -= items.count }
        for (item, result) in zip(items, results) { ledger.answer(item, result) }
    }

    /// Whether trying again may help; else the change itself is at fault.
    private static func isDiskFault(_ error: any Error) -> Bool {
        guard let error = error as? DatabaseError else { return false }
        switch error.resultCode {
        case .SQLITE_CONSTRAINT, .SQLITE_TOOBIG, .SQLITE_MISMATCH, .SQLITE_RANGE, .SQLITE_ERROR, .SQLITE_MISUSE:
            return false
        default:
            return true
        }
    }

    /// In WAL mode NORMAL doesn't sync at a commit and FULL does, with all that was written to the log before
    /// (https://www.sqlite.org/pragma.html#pragma_synchronous).
    private func setSynchronous(_ isDurable: Bool, _ ledger: Ledger) throws {
        guard isDurable != isSynchronous else { return }
        try ledger.database.inDatabase { db in
            try db.execute(sql: isDurable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL")
        }
        isSynchronous = isDurable
    }

    // MARK: State

    private typealias Values = [String: [StateOverlay.Key: StateOverlay.Resolved]]

    private func resolveState(_ ledger: Ledger) throws -> Values {
        if let state { return state }
        let (values, notNumbers) = try resolve(group, ledger)
        self.notNumbers = notNumbers
        ledger.shared.withLock { shared in
            for (subscriber, values) in values { shared.overlay.resolve(values, of: subscriber, upTo: sequence) }
        }
        state = values
        return values
    }

    /// What each key will hold after these items, and for each item which keys `add` found to be no number.
    private func resolve(_ items: [Ledger.Item], _ ledger: Ledger) throws -> (values: Values, notNumbers: [[String]]) {
        let now = ledger.clock.now()
        var values: Values = [:]
        var notNumbers: [[String]] = []
        try ledger.database.inDatabase { db in
            for item in items {
                var wrong: [String] = []
                if case .change(let change, _) = item, !change.state.isEmpty {
                    var own = values.removeValue(forKey: change.subscriber) ?? [:]
                    for write in change.state {
                        let key = Array(write.key.utf8)
                        switch write {
                        case .put(_, let json, let expires):
                            own[key] = .value(.init(json: json, expires: expires))
                        case .delete:
                            own[key] = .missing
                        case .add(_, let delta):
                            let base =
                                if let known = own[key] { known.value } else {
                                    try ledger.storedValue(db, key, of: change.subscriber)
                                }
                            let sum = StateOverlay.add([delta], to: base, at: now)
                            if !sum.wasNumber { wrong.append(write.key) }
                            own[key] = .value(sum.value)
                        }
                    }
                    values[change.subscriber] = own
                }
                notNumbers.append(wrong)
            }
        }
        return (values, notNumbers)
    }

    /// Removes what has expired, now and then. It isn't shown any more, so a failure waits for the next time.
    func purge(_ ledger: Ledger) {
        let now = ledger.clock.now()
        if let purged, now >= purged, now - purged < Limits.statePurgeInterval { return }
        purged = now
        do {
            try setSynchronous(false, ledger)
            try ledger.database.inDatabase { db in
                let statement = try db.cachedStatement(
                    sql: """
                        DELETE FROM state WHERE (subscriber, key) IN
                          (SELECT subscriber, key FROM state WHERE expires <= ? LIMIT ?)
                        """)
                repeat {
                    try statement.execute(arguments: [now.milliseconds, Limits.statePurgeRowsMax])
                } while db.changesCount == Limits.statePurgeRowsMax
            }
        } catch {
            ledger.log.warning("Expired state not removed", metadata: ["error": "\(error)"])
        }
    }

    // MARK: One transaction

    private struct RowKey: Hashable {
        var subscriber: String
        var topic: String
        var offset: Offset
    }

    private struct LeaseKey: Hashable {
        var subscriber: String
        var id: UInt64
    }

    /// Rows that only the last write of a group matters for.
    private struct Rows {
        var positions: [RowKey: LedgerPosition] = [:]
        var deferred: [RowKey: DeferredChange] = [:]
        var leases: [LeaseKey: LeaseChange] = [:]
        var state: Values
        /// Lanes that are done: nothing of theirs is kept.
        var endedLanes: Set<String> = []

        mutating func add(_ positions: [LedgerPosition], _ deferred: [DeferredChange], of name: String) {
            for position in positions {
                self.positions[RowKey(subscriber: name, topic: position.topic, offset: 0)] = position
            }
            for change in deferred {
                let key =
                    switch change {
                    case .put(let row): RowKey(subscriber: name, topic: row.topic, offset: row.offset)
                    case .remove(let topic, let offset): RowKey(subscriber: name, topic: topic, offset: offset)
                    }
                self.deferred[key] = change
            }
        }
    }

    private func transaction(
        _ items: [Ledger.Item], state: Values, notNumbers: [[String]], _ ledger: Ledger
    ) throws -> [LedgerCommit] {
        let firstOutbox = nextOutbox
        var results = notNumbers.map { LedgerCommit(notNumbers: $0) }
        newSubscribers = [:]
        do {
            try ledger.database.inTransaction(.immediate) { db in
                var rows = Rows(state: state)
                for (index, item) in items.enumerated() {
                    switch item {
                    case .change(let change, _):
                        try add(change, to: &rows, result: &results[index], db, ledger)
                    case .job(let job):
                        // A job sees what was handed over before it. State of later changes may come in early: with
                        // the group being one transaction, only the job itself could tell, and those that would are
                        // alone.
                        try write(&rows, db, ledger)
                        try job.body(db)
                    }
                }
                try write(&rows, db, ledger)
                return .commit
            }
        } catch {
            nextOutbox = firstOutbox
            throw error
        }
        let added = newSubscribers
        if !added.isEmpty {
            ledger.shared.withLock { $0.subscribers.merge(added) { _, new in new } }
        }
        return results
    }

    private func add(
        _ change: LedgerChange, to rows: inout Rows, result: inout LedgerCommit, _ db: Database, _ ledger: Ledger
    ) throws {
        let name = change.subscriber
        rows.add(change.positions, change.deferred, of: name)
        for lane in change.lanes {
            try write(lane, of: id(of: name, db, ledger), db)
            let laneName = LedgerLane.name(lane.id)
            rows.add(lane.positions, lane.deferred, of: laneName)
            if let row = lane.row, row.state != .running { rows.endedLanes.insert(laneName) }
        }
        for lease in change.leases { rows.leases[LeaseKey(subscriber: name, id: lease.id)] = lease }
        if let pause = change.pause { try write(pause, of: id(of: name, db, ledger), db) }
        for standstill in change.standstills { try write(standstill, of: id(of: name, db, ledger), db) }
        let now = ledger.clock.now()
        for letter in change.dead {
            result.deadLetters.append(try insert(letter, of: id(of: name, db, ledger), db))
        }
        if let version = change.stateVersion {
            try db.cachedStatement(sql: "UPDATE subscriber SET state_version = ? WHERE id = ?")
                .execute(arguments: [version, try id(of: name, db, ledger)])
        }
        for id in change.redriven {
            try db.cachedStatement(sql: "UPDATE dead SET redriven = ? WHERE id = ?")
                .execute(arguments: [now.milliseconds, id])
        }
        for letter in change.resolved {
            try db.cachedStatement(sql: "UPDATE dead SET resolved = ?, resolution = ?, note = ? WHERE id = ?")
                .execute(arguments: [
                    now.milliseconds, letter.end.name, letter.end.note?.cut(to: Limits.keptReasonBytesMax), letter.id,
                ])
        }
        for attempt in change.attempts { try insert(attempt, of: id(of: name, db, ledger), db) }
        for passed in change.passed { try insert(passed, of: id(of: name, db, ledger), db) }
        for publication in change.publications {
            let outbox = UInt64(nextOutbox)
            nextOutbox += 1
            try db.cachedStatement(sql: "INSERT INTO outbox (id, topic, record, topic_end) VALUES (?, ?, ?, ?)")
                .execute(arguments: [
                    Int64(outbox), publication.topic, Self.record(publication, outbox: outbox, at: now),
                    Int64(bitPattern: change.topicEnds[publication.topic] ?? 0),
                ])
            result.outbox.append(outbox)
        }
    }

    private static func record(_ publication: Publication, outbox: UInt64, at now: Timestamp) -> Data {
        let topic = Topic.named(publication.topic)
        var builder = RecordBatchBuilder(
            topic: topic, key: nil, capacity: publication.event.data.bytes.count + 512)
        builder.append(publication.event, outbox: outbox)
        let batch = builder.finish()
        // The journal gives it an offset; the checksum is for reading it back from here.
        batch.stamp(first: 0, time: now)
        return Data(batch.bytes)
    }

    private func write(_ rows: inout Rows, _ db: Database, _ ledger: Ledger) throws {
        for (key, row) in rows.positions {
            try db.cachedStatement(
                sql: """
                    INSERT INTO position (subscriber, topic, position, settled) VALUES (?, ?, ?, ?)
                    ON CONFLICT (subscriber, topic) DO UPDATE SET position = excluded.position, settled = excluded.settled
                    """
            ).execute(arguments: [
                try id(of: key.subscriber, db, ledger), key.topic, Int64(bitPattern: row.position),
                Data(SettledRanges.encode(row.settled, above: row.position)),
            ])
        }
        for (key, change) in rows.deferred {
            let subscriber = try id(of: key.subscriber, db, ledger)
            switch change {
            case .put(let row):
                try db.cachedStatement(
                    sql: """
                        INSERT OR REPLACE INTO deferred
                        (subscriber, topic, offset, attempts, due, key, reason, trace, replay, dead)
                        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                        """
                ).execute(arguments: [
                    subscriber, row.topic, Int64(bitPattern: row.offset), row.attempts, row.due?.milliseconds,
                    row.key.map { Data($0.utf8) }, row.reason.cut(to: Limits.keptReasonBytesMax),
                    row.trace?.cut(to: Limits.keptTraceBytesMax), row.replay, row.deadLetter,
                ])
            case .remove:
                try db.cachedStatement(
                    sql: "DELETE FROM deferred WHERE subscriber = ? AND topic = ? AND offset = ?"
                ).execute(arguments: [subscriber, key.topic, Int64(bitPattern: key.offset)])
            }
        }
        for (key, change) in rows.leases { try write(change, of: id(of: key.subscriber, db, ledger), db) }
        for (name, values) in rows.state {
            let subscriber = try id(of: name, db, ledger)
            for (key, value) in values {
                switch value {
                case .value(let value):
                    try db.cachedStatement(
                        sql: """
                            INSERT INTO state (subscriber, key, value, expires) VALUES (?, ?, ?, ?)
                            ON CONFLICT (subscriber, key) DO UPDATE SET value = excluded.value, expires = excluded.expires
                            """
                    ).execute(arguments: [subscriber, Data(key), Data(value.json), value.expires?.milliseconds])
                case .missing:
                    try db.cachedStatement(sql: "DELETE FROM state WHERE subscriber = ? AND key = ?")
                        .execute(arguments: [subscriber, Data(key)])
                }
            }
        }
        for name in rows.endedLanes {
            let lane = try id(of: name, db, ledger)
            for table in ["position", "deferred"] {
                try db.cachedStatement(sql: "DELETE FROM \(table) WHERE subscriber = ?").execute(arguments: [lane])
            }
        }
        rows = Rows(state: [:])
    }

    /// The subscriber's number, given at its first change.
    private func id(of name: String, _ db: Database, _ ledger: Ledger) throws -> Int64 {
        if let known = newSubscribers[name] ?? ledger.shared.withLock({ $0.subscribers[name] }) { return known }
        try db.cachedStatement(sql: "INSERT INTO subscriber (name) VALUES (?)").execute(arguments: [name])
        let id = db.lastInsertedRowID
        newSubscribers[name] = id
        return id
    }
}

extension String {
    /// At most `count` bytes of UTF-8, cut between characters.
    func cut(to count: Int) -> String {
        guard utf8.count > count else { return self }
        var end = utf8.index(startIndex, offsetBy: count)
        while end > startIndex, end.samePosition(in: unicodeScalars) == nil { end = utf8.index(before: end) }
        return String(self[..<end])
    }
}
