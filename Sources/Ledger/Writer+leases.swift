// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import GRDB

extension Writer {
    func write(_ change: LeaseChange, of subscriber: Int64, _ db: Database) throws {
        switch change {
        case .put(let row):
            try db.cachedStatement(
                sql: "INSERT OR REPLACE INTO lease (subscriber, id, expires, deliveries) VALUES (?, ?, ?, ?)"
            ).execute(arguments: [
                subscriber, Int64(bitPattern: row.id), row.expires.milliseconds, Data(row.encoded),
            ])
        case .remove(let id):
            try db.cachedStatement(sql: "DELETE FROM lease WHERE subscriber = ? AND id = ?")
                .execute(arguments: [subscriber, Int64(bitPattern: id)])
        }
    }

    func write(_ change: PauseChange, of subscriber: Int64, _ db: Database) throws {
        switch change {
        case .pause(let record):
            try db.cachedStatement(
                sql: "INSERT OR REPLACE INTO pause (subscriber, since, cause, reason) VALUES (?, ?, ?, ?)"
            ).execute(arguments: [
                subscriber, record.since.milliseconds, record.cause.rawValue,
                record.reason.cut(to: Limits.keptReasonBytesMax),
            ])
        case .resume:
            try db.cachedStatement(sql: "DELETE FROM pause WHERE subscriber = ?").execute(arguments: [subscriber])
        }
    }

    func write(_ change: StandstillChange, of subscriber: Int64, _ db: Database) throws {
        switch change {
        case .begin(let standstill):
            try db.cachedStatement(
                sql: """
                    INSERT OR REPLACE INTO standstill (subscriber, cause, since, reason, fingerprint)
                    VALUES (?, ?, ?, ?, ?)
                    """
            ).execute(arguments: [
                subscriber, standstill.cause.rawValue, standstill.since.milliseconds,
                standstill.reason.cut(to: Limits.keptReasonBytesMax), standstill.fingerprint,
            ])
        case .end(let cause):
            try db.cachedStatement(sql: "DELETE FROM standstill WHERE subscriber = ? AND cause = ?")
                .execute(arguments: [subscriber, cause.rawValue])
        }
    }
}
