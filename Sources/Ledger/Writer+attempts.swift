// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import GRDB

extension Writer {
    /// Returns the new row's id.
    func insert(_ letter: NewDeadLetter, of subscriber: Int64, _ db: Database) throws -> Int64 {
        let group = DeadLetterGroup(reason: letter.reason, trace: letter.trace)
        try db.cachedStatement(
            sql: """
                INSERT INTO dead (subscriber, topic, offset, key, reason, trace, attempts, time, record, generation,
                  grouped, place, previous, lane)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """
        ).execute(arguments: [
            subscriber, letter.topic, Int64(bitPattern: letter.offset), letter.key.map { Data($0.utf8) },
            letter.reason.cut(to: Limits.keptReasonBytesMax), letter.trace?.cut(to: Limits.keptTraceBytesMax),
            letter.attempts, letter.time.milliseconds, Data(letter.record), letter.generation, group.id, group.place,
            letter.previous, letter.lane,
        ])
        return db.lastInsertedRowID
    }

    func insert(_ attempt: Attempt, of subscriber: Int64, _ db: Database) throws {
        var published: String?
        if !attempt.published.isEmpty {
            published = String(decoding: try JSONEncoder().encode(attempt.published), as: UTF8.self)
        }
        try db.cachedStatement(
            sql: """
                INSERT INTO attempt (subscriber, topic, offset, number, began, ended, outcome, reason, trace, generation,
                  replay, published)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """
        ).execute(arguments: [
            subscriber, attempt.topic, Int64(bitPattern: attempt.offset), attempt.number, attempt.began.milliseconds,
            attempt.ended.milliseconds, attempt.outcome.rawValue,
            attempt.reason?.cut(to: Limits.keptReasonBytesMax), attempt.trace?.cut(to: Limits.keptTraceBytesMax),
            attempt.generation, attempt.replay, published,
        ])
    }

    func insert(_ passed: PassedDeliveries, of subscriber: Int64, _ db: Database) throws {
        for (bucket, offsets) in passed.byBucket {
            let first = offsets[offsets.startIndex]
            try db.cachedStatement(
                sql: """
                    INSERT INTO passed (subscriber, topic, bucket, first, offsets, began, ended, generation, replay)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """
            ).execute(arguments: [
                subscriber, passed.topic, Int64(bitPattern: bucket), Int64(bitPattern: first),
                Data(SettledRanges.encode(SettledRanges.joining(offsets), above: first)), passed.began.milliseconds,
                passed.ended.milliseconds, passed.generation, passed.replay,
            ])
        }
    }
}

extension NewDeadLetter {
    /// The key of the event it is about.
    fileprivate var key: String? { RecordBatch.single(record, topic: topic)?[0].key }
}
