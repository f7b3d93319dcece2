// SPDX-License-Identifier: Apache-2.0

package import Events
import Foundation
import GRDB

/// Something that ``LedgerInspection`` came upon.
package struct LedgerFinding: Hashable, Sendable {
    package enum Kind: String, Sendable {
        case notADatabase, foreignDatabase, newerLedger, damagedDatabase
        /// A position's ranges can't be decoded.
        case damagedPosition
        /// A position lies beyond the topic's end.
        case positionBeyondEnd
        /// A position lies before the topic's first record.
        case positionBeforeStart
        /// A retry whose record isn't in the journal.
        case retryWithoutRecord
        /// A retry of a dead letter that isn't there.
        case retryWithoutDeadLetter
        case damagedDeadLetter
        case damagedOutboxRow
        /// A row of a subscriber that the ledger doesn't know.
        case rowWithoutSubscriber
    }

    package var kind: Kind
    package var subscriber: String?
    /// The subscriber's run of history that it is about, where it isn't about what is live.
    package var lane: LedgerLane.Name?
    package var topic: String?
    /// The offsets, or the rows' numbers, that it is about.
    package var offsets: ClosedRange<Offset>?
    package var count = 1
    package var detail: String

    package var isDamage: Bool {
        switch kind {
        case .positionBeforeStart: false
        default: true
        }
    }

    package var meaning: String {
        let who =
            (subscriber.map { "subscriber \"\($0)\"" } ?? "a subscriber") + (lane.map { " (\($0))" } ?? "")
        // An import's events wait in a topic of their own, which nobody knows.
        let place = topic.map { " in topic \"\(lane == nil ? $0 : Topic.named($0).shownName)\"" } ?? ""
        return switch kind {
        case .notADatabase: "no SQLite database: \(detail)"
        case .foreignDatabase: "another program's database"
        case .newerLedger: "written by a newer Fairlead: use that one"
        case .damagedDatabase: "SQLite finds it damaged: \(detail)"
        case .damagedPosition:
            "what \(who) has settled\(place) can't be read; the server doesn't start until it is mended"
        case .positionBeyondEnd:
            "\(who) is\(place) at \(detail): the topic's files were removed or are an older copy; it goes on at the end"
        case .positionBeforeStart: "\(who) is\(place) at \(detail): what lies between is gone, and will be reported"
        case .retryWithoutRecord:
            "\(count) deliveries of \(who)\(place) wait for a retry and their records are gone; they will be reported as lost"
        case .retryWithoutDeadLetter:
            "\(count) deliveries of \(who)\(place) are of dead letters that aren't there; they will be reported as lost"
        case .damagedDeadLetter: "the event of dead letter \(detail) of \(who)\(place) can't be read"
        case .damagedOutboxRow:
            "the event of outbox row \(detail)\(place) can't be read; it holds up all that come after"
        case .rowWithoutSubscriber: "\(count) rows of table \(detail) belong to no subscriber"
        }
    }

    /// What ``LedgerRepair`` does about it; nil where the server does it by itself, or nobody can.
    package var repair: String? {
        switch kind {
        case .notADatabase: "keep it as ….damaged and begin an empty ledger: subscribers begin as new ones"
        case .damagedDatabase: "keep it as ….damaged and copy what can be read into a new one"
        case .damagedPosition: "forget what it settled out of order: those events come again"
        case .damagedDeadLetter, .damagedOutboxRow, .rowWithoutSubscriber: "remove it; it stays in ….damaged"
        case .foreignDatabase, .newerLedger, .positionBeyondEnd, .positionBeforeStart, .retryWithoutRecord,
            .retryWithoutDeadLetter:
            nil
        }
    }
}

/// Reads a ledger through and changes nothing.
package struct LedgerInspection: Sendable {
    package struct Position: Hashable, Sendable {
        package var subscriber: String
        package var lane: LedgerLane.Name?
        package var topic: String
        package var position: Offset
        package var settled: [ClosedRange<Offset>]
    }

    /// What it needs to know of the journal.
    package struct Records {
        package var bounds: (_ topic: String) -> Range<Offset>?
        package var has: (_ offset: Offset, _ topic: String) -> Bool

        package init(
            bounds: @escaping (_ topic: String) -> Range<Offset>?,
            has: @escaping (_ offset: Offset, _ topic: String) -> Bool
        ) {
            self.bounds = bounds
            self.has = has
        }
    }

    package private(set) var findings: [LedgerFinding] = []
    package private(set) var positions: [Position] = []
    package private(set) var rows = 0
    /// Whose run of history a name without an owner of its own is.
    private var lanes: [String: (subscriber: String, lane: LedgerLane.Name)] = [:]

    package init(reading path: String, records: Records) {
        do {
            var configuration = Configuration()
            configuration.readonly = true
            configuration.busyMode = .timeout(Limits.ledgerBusyTimeout.seconds)
            let database = try DatabaseQueue(path: path, configuration: configuration)
            try database.unsafeRead { db in try inspect(db, records) }
            try database.close()
        } catch let error as DatabaseError where error.resultCode == .SQLITE_NOTADB {
            add(.notADatabase, error.message ?? "")
        } catch let error as DatabaseError {
            add(.damagedDatabase, error.message ?? "\(error.resultCode)")
        } catch {
            add(.damagedDatabase, "\(error)")
        }
    }

    private mutating func add(
        _ kind: LedgerFinding.Kind, _ detail: String, subscriber: String? = nil, topic: String? = nil,
        offsets: ClosedRange<Offset>? = nil, count: Int = 1
    ) {
        let run = subscriber.flatMap { lanes[$0] }
        findings.append(
            LedgerFinding(
                kind: kind, subscriber: run?.subscriber ?? subscriber, lane: run?.lane, topic: topic, offsets: offsets,
                count: count, detail: detail))
    }

    private mutating func inspect(_ db: Database, _ records: Records) throws {
        let application = try Int32.fetchOne(db, sql: "PRAGMA application_id") ?? 0
        guard application == LedgerSchema.applicationID else {
            let tables = try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master") ?? 0
            if tables > 0 { add(.foreignDatabase, "") }
            return
        }
        if try LedgerSchema.migrator.hasBeenSuperseded(db) { return add(.newerLedger, "") }
        let verdicts = try String.fetchAll(db, sql: "PRAGMA integrity_check(20)")
        guard verdicts == ["ok"] else {
            return add(.damagedDatabase, verdicts.prefix(3).joined(separator: "; "))
        }
        // An older ledger is brought up to date by the next start, and read through after that.
        guard try LedgerSchema.migrator.hasCompletedMigrations(db) else { return }
        try inspectLanes(db)
        try inspectPositions(db, records)
        try inspectRetries(db, records)
        try inspectRecords(db)
        for table in LedgerSchema.subscriberTables {
            let count = try Int.fetchOne(
                db, sql: "SELECT count(*) FROM \(table) WHERE subscriber NOT IN (SELECT id FROM subscriber)")
            if let count, count > 0 { add(.rowWithoutSubscriber, table, count: count) }
        }
    }

    /// One whose row can't be read is still named by its number.
    private mutating func inspectLanes(_ db: Database) throws {
        let cursor = try Row.fetchCursor(
            db,
            sql: """
                SELECT lane.id, subscriber.name,
                  CASE WHEN json_valid(details) THEN json_extract(details, '$.kind') END FROM lane
                JOIN subscriber ON subscriber.id = lane.subscriber
                """)
        while let row = try cursor.next() {
            rows += 1
            let id: Int64 = row[0]
            lanes[LedgerLane.name(id)] = (
                row[1], LedgerLane.Name(id: id, kind: (row[2] as String?).flatMap(LedgerLane.Kind.init))
            )
        }
    }

    private mutating func inspectPositions(_ db: Database, _ records: Records) throws {
        let cursor = try Row.fetchCursor(
            db,
            sql: """
                SELECT subscriber.name, topic, position, settled FROM position
                JOIN subscriber ON subscriber.id = position.subscriber ORDER BY subscriber.name, topic
                """)
        while let row = try cursor.next() {
            rows += 1
            let (name, topic, position): (String, String, Offset) = (row[0], row[1], row.offset(2))
            guard let settled = SettledRanges.decode(row.bytes(3), above: position) else {
                add(.damagedPosition, "\(position)", subscriber: name, topic: topic)
                continue
            }
            let run = lanes[name]
            positions.append(
                Position(
                    subscriber: run?.subscriber ?? name, lane: run?.lane, topic: topic, position: position,
                    settled: settled))
            guard let bounds = records.bounds(topic) else {
                if position > 0 {
                    add(.positionBeyondEnd, "\(position) of a topic without files", subscriber: name, topic: topic)
                }
                continue
            }
            if position > bounds.upperBound {
                add(
                    .positionBeyondEnd, "\(position) of \(bounds.upperBound)", subscriber: name, topic: topic,
                    offsets: bounds.upperBound...position - 1)
            } else if position < bounds.lowerBound {
                add(
                    .positionBeforeStart, "\(position), before the first record, \(bounds.lowerBound)",
                    subscriber: name, topic: topic, offsets: position...bounds.lowerBound - 1)
            }
        }
    }

    private mutating func inspectRetries(_ db: Database, _ records: Records) throws {
        struct Place: Hashable {
            var subscriber: String
            var topic: String
            var kind: LedgerFinding.Kind
        }
        var gone: [Place: (range: ClosedRange<Offset>, count: Int)] = [:]
        let cursor = try Row.fetchCursor(
            db,
            sql: """
                SELECT subscriber.name, topic, offset, dead, dead IN (SELECT id FROM dead) FROM deferred
                JOIN subscriber ON subscriber.id = deferred.subscriber
                """)
        while let row = try cursor.next() {
            rows += 1
            let (name, topic, offset): (String, String, Offset) = (row[0], row[1], row.offset(2))
            let isOfDeadLetter = (row[3] as Int64?) != nil
            if isOfDeadLetter ? (row[4] as Bool? ?? false) : records.has(offset, topic) { continue }
            let kind: LedgerFinding.Kind = isOfDeadLetter ? .retryWithoutDeadLetter : .retryWithoutRecord
            let place = Place(subscriber: name, topic: topic, kind: kind)
            let known = gone[place] ?? (offset...offset, 0)
            gone[place] = (
                min(known.range.lowerBound, offset)...max(known.range.upperBound, offset), known.count + 1
            )
        }
        for (place, found) in gone.sorted(by: {
            ($0.key.subscriber, $0.key.topic) < ($1.key.subscriber, $1.key.topic)
        }) {
            add(
                place.kind, "", subscriber: place.subscriber, topic: place.topic, offsets: found.range,
                count: found.count)
        }
    }

    /// Events that the ledger itself keeps.
    private mutating func inspectRecords(_ db: Database) throws {
        let letters = try Row.fetchCursor(
            db,
            sql: """
                SELECT dead.id, subscriber.name, topic, offset, record, mended FROM dead
                LEFT JOIN subscriber ON subscriber.id = dead.subscriber ORDER BY dead.id
                """)
        while let row = try letters.next() {
            rows += 1
            let offset = row.offset(3)
            let isSound =
                RecordBatch.single(row.bytes(4), topic: row[2]) != nil
                && ((row[5] as Data?) == nil || RecordBatch.single(row.bytes(5), topic: row[2]) != nil)
            if !isSound {
                add(
                    .damagedDeadLetter, "\(row[0] as Int64)", subscriber: row[1], topic: row[2],
                    offsets: offset...offset)
            }
        }
        let outbox = try Row.fetchCursor(db, sql: "SELECT id, topic, record FROM outbox ORDER BY id")
        while let row = try outbox.next() {
            rows += 1
            if RecordBatch.single(row.bytes(2), topic: row[1]) == nil {
                add(.damagedOutboxRow, "\(row[0] as Int64)", topic: row[1])
            }
        }
    }
}
