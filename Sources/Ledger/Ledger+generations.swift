// SPDX-License-Identifier: Apache-2.0

package import Events
import Foundation
import GRDB
import Logging

/// One loaded configuration, as remembered.
package struct LedgerGeneration: Hashable, Sendable {
    package var number: Int
    /// Of all of its files.
    package var hash: String
    package var time: Timestamp
    /// `start`, `SIGHUP`, `HTTP`, …
    package var trigger: String
    /// `applied`, or why it was refused.
    package var verdict: String
    package var details: Details

    /// The verdict of one that is about to take over; one that still has it later never did.
    package static let applying = "applying"

    /// What else is kept, as JSON.
    package struct Details: Hashable, Codable, Sendable {
        /// What it changed, in words.
        package var changes: [String] = []
        /// Where each topic ended when it took over: events from there on were routed by it.
        package var ends: [String: Offset] = [:]
        /// The version that each subscriber's plugin gives itself.
        package var versions: [String: String] = [:]
        /// The configuration's main file, as `files` names it.
        package var config = ""
        /// Where the plugins are.
        package var plugins = ""
        /// The generation whose files these are, where it was gone back to.
        package var origin: Int?
        /// Hashes of the contents by path: routes.conf, includes, plugins.
        package var files: [String: String] = [:]
        /// By subscriber: changes that had not proved themselves when it was written; nil before there were any.
        package var probations: [String: LedgerProbation]?
        /// By subscriber: changes that failed, until the subscriber is changed again.
        package var badReloads: [String: BadReload]?

        package init() {}
    }

    package init(
        number: Int, hash: String, time: Timestamp, trigger: String, verdict: String, details: Details = Details()
    ) {
        self.number = number
        self.hash = hash
        self.time = time
        self.trigger = trigger
        self.verdict = verdict
        self.details = details
    }
}

extension Ledger {
    /// `contents` by hash: those that the ledger doesn't have yet are kept. Blocks.
    ///
    /// - Throws: where the ledger's disk fails. It is written then when the disk works again, unless it is forgotten.
    package func recordGeneration(
        _ generation: LedgerGeneration, contents: [String: [UInt8]] = [:]
    ) throws(Failure) {
        try perform(isDurable: true, timeout: Limits.reloadWriteTimeout) { db in
            let details = String(decoding: try JSONEncoder().encode(generation.details), as: UTF8.self)
            for (hash, bytes) in contents {
                try db.execute(
                    sql: "INSERT OR IGNORE INTO config_file (hash, bytes) VALUES (?, ?)",
                    arguments: [hash, Data(bytes)])
            }
            try db.execute(
                sql: """
                    INSERT OR REPLACE INTO generation (number, hash, time, "trigger", verdict, details)
                    VALUES (?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    generation.number, generation.hash, generation.time.milliseconds, generation.trigger,
                    generation.verdict, details,
                ])
        }
    }

    /// One that did not take over after all; done in the writer's order, so also where recording it is still to come.
    package func forgetGeneration(_ number: Int) {
        let job = Job(isDurable: true, isAlone: false) { db in
            try db.execute(sql: "DELETE FROM generation WHERE number = ?", arguments: [number])
        } then: { [log] failure in
            guard let failure else { return }
            log.error("A generation that did not take over stays listed", metadata: ["error": "\(failure)"])
        }
        _ = enqueue(job)
    }

    /// Newest first. Blocks.
    package func generations(limit: Int) throws(Failure) -> [LedgerGeneration] {
        try read { db in
            try Row.fetchAll(
                db, sql: "\(Self.generationColumns) ORDER BY number DESC LIMIT ?", arguments: [limit]
            ).map(Self.generation)
        }
    }

    /// nil where there was none. Blocks.
    package func generation(_ number: Int) throws(Failure) -> LedgerGeneration? {
        try read { db in
            try Row.fetchOne(db, sql: "\(Self.generationColumns) WHERE number = ?", arguments: [number])
                .map(Self.generation)
        }
    }

    /// The newest below `number` that took over and whose files are others than those with `hash`. Blocks.
    package func generation(before number: Int, otherThan hash: String) throws(Failure) -> LedgerGeneration? {
        try read { db in
            try Row.fetchOne(
                db,
                sql: """
                    \(Self.generationColumns) WHERE number < ? AND hash <> ? AND verdict <> ?
                    ORDER BY number DESC LIMIT 1
                    """, arguments: [number, hash, LedgerGeneration.applying]
            ).map(Self.generation)
        }
    }

    /// The generation that was in force when the record at `offset` was routed; nil where the ledger doesn't know. Reads
    /// from the newest on. Blocks.
    package func generation(routing topic: String, _ offset: Offset) throws(Failure) -> LedgerGeneration? {
        try read { db in
            let rows = try Row.fetchCursor(db, sql: "\(Self.generationColumns) ORDER BY number DESC")
            while let row = try rows.next() {
                let generation = try Self.generation(row)
                if let end = generation.details.ends[topic], end <= offset { return generation }
            }
            return nil
        }
    }

    static let generationColumns = #"SELECT number, hash, time, "trigger", verdict, details FROM generation"#

    static func generation(_ row: Row) throws -> LedgerGeneration {
        let details: String? = row[5]
        return LedgerGeneration(
            number: row[0], hash: row[1], time: row.time(2) ?? .distantPast, trigger: row[3], verdict: row[4],
            details: try details.map {
                try JSONDecoder().decode(LedgerGeneration.Details.self, from: Data($0.utf8))
            } ?? LedgerGeneration.Details())
    }

    /// The contents of a configuration's file; nil where the ledger doesn't have them. Blocks.
    package func configFile(_ hash: String) throws(Failure) -> [UInt8]? {
        try read { db in
            try Data.fetchOne(
                db.cachedStatement(sql: "SELECT bytes FROM config_file WHERE hash = ?"), arguments: [hash])
        }.map { Array($0) }
    }

    /// The files of `generation` whose paths are `wanted`, by path, without those that aren't kept any more. Blocks.
    package func configFiles(
        of generation: LedgerGeneration, where wanted: (String) -> Bool = { _ in true }
    ) throws(Failure) -> [String: [UInt8]] {
        var files: [String: [UInt8]] = [:]
        for (path, hash) in generation.details.files where wanted(path) { files[path] = try configFile(hash) }
        return files
    }
}
