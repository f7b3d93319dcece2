// SPDX-License-Identifier: Apache-2.0

import GRDB

/// The tables of `data/ledger.db`. A migration, once released, is never changed; a new one is added.
enum LedgerSchema {
    /// Tells our files from other SQLite databases: "FLLG".
    static let applicationID: Int32 = 0x464C_4C47

    /// What belongs to one subscriber, by its number.
    static let subscriberTables = [
        "position", "deferred", "dead", "state", "state_usage", "attempt", "passed", "lease", "pause", "orphan", "lane",
        "standstill",
    ]

    static let tables = ["subscriber"] + subscriberTables + ["outbox", "generation", "config_file", "reload_attempt"]

    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1") { db in
            try db.execute(
                sql: """
                    CREATE TABLE subscriber (
                      id INTEGER PRIMARY KEY AUTOINCREMENT,
                      name TEXT NOT NULL UNIQUE
                    );
                    CREATE TABLE position (
                      subscriber INTEGER NOT NULL,
                      topic TEXT NOT NULL,
                      position INTEGER NOT NULL,
                      settled BLOB NOT NULL,
                      PRIMARY KEY (subscriber, topic)
                    ) WITHOUT ROWID;
                    CREATE TABLE deferred (
                      subscriber INTEGER NOT NULL,
                      topic TEXT NOT NULL,
                      offset INTEGER NOT NULL,
                      attempts INTEGER NOT NULL,
                      due INTEGER,
                      key BLOB,
                      reason TEXT NOT NULL,
                      trace TEXT,
                      replay INTEGER NOT NULL,
                      dead INTEGER,
                      PRIMARY KEY (subscriber, topic, offset)
                    ) WITHOUT ROWID;
                    CREATE TABLE dead (
                      id INTEGER PRIMARY KEY AUTOINCREMENT,
                      subscriber INTEGER NOT NULL,
                      topic TEXT NOT NULL,
                      offset INTEGER NOT NULL,
                      key BLOB,
                      reason TEXT NOT NULL,
                      trace TEXT,
                      attempts INTEGER NOT NULL,
                      time INTEGER NOT NULL,
                      record BLOB NOT NULL,
                      redriven INTEGER
                    );
                    CREATE INDEX dead_subscriber ON dead (subscriber, id) WHERE redriven IS NULL;
                    CREATE TABLE state (
                      subscriber INTEGER NOT NULL,
                      key BLOB NOT NULL,
                      value BLOB NOT NULL,
                      expires INTEGER,
                      PRIMARY KEY (subscriber, key)
                    ) WITHOUT ROWID;
                    CREATE INDEX state_expires ON state (expires) WHERE expires IS NOT NULL;
                    CREATE TABLE outbox (
                      id INTEGER PRIMARY KEY AUTOINCREMENT,
                      topic TEXT NOT NULL,
                      record BLOB NOT NULL
                    );
                    CREATE TABLE generation (
                      number INTEGER PRIMARY KEY,
                      hash TEXT NOT NULL,
                      time INTEGER NOT NULL,
                      "trigger" TEXT NOT NULL,
                      verdict TEXT NOT NULL,
                      files BLOB
                    );
                    """)
        }
        migrator.registerMigration("2") { db in
            try db.execute(
                sql: """
                    ALTER TABLE dead ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
                    ALTER TABLE dead ADD COLUMN grouped TEXT NOT NULL DEFAULT '';
                    ALTER TABLE dead ADD COLUMN place TEXT;
                    ALTER TABLE dead ADD COLUMN previous INTEGER;
                    ALTER TABLE dead ADD COLUMN mended BLOB;
                    ALTER TABLE dead ADD COLUMN mended_time INTEGER;
                    ALTER TABLE dead ADD COLUMN resolved INTEGER;
                    ALTER TABLE dead ADD COLUMN resolution TEXT;
                    ALTER TABLE dead ADD COLUMN note TEXT;
                    DROP INDEX dead_subscriber;
                    CREATE INDEX dead_open ON dead (subscriber, grouped, id) WHERE redriven IS NULL AND resolved IS NULL;
                    CREATE INDEX dead_time ON dead (time);
                    CREATE INDEX dead_resolved ON dead (resolved) WHERE resolved IS NOT NULL;
                    CREATE TABLE attempt (
                      id INTEGER PRIMARY KEY,
                      subscriber INTEGER NOT NULL,
                      topic TEXT NOT NULL,
                      offset INTEGER NOT NULL,
                      number INTEGER NOT NULL,
                      began INTEGER NOT NULL,
                      ended INTEGER NOT NULL,
                      outcome TEXT NOT NULL,
                      reason TEXT,
                      trace TEXT,
                      generation INTEGER NOT NULL,
                      replay INTEGER NOT NULL,
                      published TEXT
                    );
                    CREATE INDEX attempt_delivery ON attempt (subscriber, topic, offset);
                    CREATE INDEX attempt_ended ON attempt (ended);
                    CREATE TABLE passed (
                      id INTEGER PRIMARY KEY,
                      subscriber INTEGER NOT NULL,
                      topic TEXT NOT NULL,
                      bucket INTEGER NOT NULL,
                      first INTEGER NOT NULL,
                      offsets BLOB NOT NULL,
                      began INTEGER NOT NULL,
                      ended INTEGER NOT NULL,
                      generation INTEGER NOT NULL,
                      replay INTEGER NOT NULL
                    );
                    CREATE INDEX passed_bucket ON passed (subscriber, topic, bucket);
                    CREATE INDEX passed_ended ON passed (ended);
                    ALTER TABLE generation ADD COLUMN details TEXT;
                    CREATE TABLE config_file (
                      hash TEXT PRIMARY KEY,
                      bytes BLOB NOT NULL
                    ) WITHOUT ROWID;
                    """)
        }
        migrator.registerMigration("3") { db in
            try db.execute(
                sql: """
                    ALTER TABLE subscriber ADD COLUMN state_version INTEGER;
                    CREATE TABLE state_usage (
                      subscriber INTEGER PRIMARY KEY,
                      entries INTEGER NOT NULL,
                      bytes INTEGER NOT NULL
                    );
                    INSERT INTO state_usage
                      SELECT subscriber, count(*), sum(length(key) + length(value)) FROM state GROUP BY subscriber;
                    CREATE TRIGGER state_added AFTER INSERT ON state BEGIN
                      INSERT INTO state_usage VALUES (NEW.subscriber, 1, length(NEW.key) + length(NEW.value))
                      ON CONFLICT (subscriber) DO UPDATE
                      SET entries = entries + 1, bytes = bytes + excluded.bytes;
                    END;
                    CREATE TRIGGER state_changed AFTER UPDATE OF value ON state
                    WHEN length(NEW.value) <> length(OLD.value) BEGIN
                      UPDATE state_usage SET bytes = bytes + length(NEW.value) - length(OLD.value)
                      WHERE subscriber = NEW.subscriber;
                    END;
                    CREATE TRIGGER state_removed AFTER DELETE ON state BEGIN
                      UPDATE state_usage
                      SET entries = entries - 1, bytes = bytes - length(OLD.key) - length(OLD.value)
                      WHERE subscriber = OLD.subscriber;
                    END;
                    """)
        }
        // Leases, pauses and orphans; a name of its own, since its order among others doesn't matter.
        migrator.registerMigration("leases") { db in
            try db.execute(
                sql: """
                    CREATE TABLE lease (
                      subscriber INTEGER NOT NULL,
                      id INTEGER NOT NULL,
                      expires INTEGER NOT NULL,
                      deliveries BLOB NOT NULL,
                      PRIMARY KEY (subscriber, id)
                    ) WITHOUT ROWID;
                    CREATE TABLE pause (
                      subscriber INTEGER PRIMARY KEY,
                      since INTEGER NOT NULL,
                      cause TEXT NOT NULL,
                      reason TEXT NOT NULL
                    );
                    CREATE TABLE orphan (
                      subscriber INTEGER PRIMARY KEY,
                      since INTEGER NOT NULL
                    );
                    CREATE INDEX deferred_scheduled ON deferred (subscriber, due, topic, offset)
                      WHERE attempts = 0 AND due IS NOT NULL AND dead IS NULL;
                    """)
        }
        migrator.registerMigration("history") { db in
            try db.execute(
                sql: """
                    CREATE TABLE lane (
                      id INTEGER PRIMARY KEY,
                      subscriber INTEGER NOT NULL,
                      state TEXT NOT NULL,
                      done INTEGER NOT NULL,
                      begun INTEGER NOT NULL,
                      ended INTEGER,
                      details TEXT NOT NULL
                    );
                    CREATE INDEX lane_subscriber ON lane (subscriber, state);
                    ALTER TABLE dead ADD COLUMN lane INTEGER;
                    """)
        }
        migrator.registerMigration("standstills") { db in
            try db.execute(
                sql: """
                    CREATE TABLE standstill (
                      subscriber INTEGER NOT NULL,
                      cause TEXT NOT NULL,
                      since INTEGER NOT NULL,
                      reason TEXT NOT NULL,
                      fingerprint TEXT NOT NULL,
                      PRIMARY KEY (subscriber, cause)
                    ) WITHOUT ROWID;
                    """)
        }
        migrator.registerMigration("outbox ends") { db in
            try db.execute(sql: "ALTER TABLE outbox ADD COLUMN topic_end INTEGER NOT NULL DEFAULT 0")
        }
        // Rebuilt so that SQLite remembers the highest number: one that was removed is not given again.
        migrator.registerMigration("lane numbers") { db in
            try db.execute(
                sql: """
                    CREATE TABLE numbered (
                      id INTEGER PRIMARY KEY AUTOINCREMENT,
                      subscriber INTEGER NOT NULL,
                      state TEXT NOT NULL,
                      done INTEGER NOT NULL,
                      begun INTEGER NOT NULL,
                      ended INTEGER,
                      details TEXT NOT NULL
                    );
                    INSERT INTO numbered SELECT id, subscriber, state, done, begun, ended, details FROM lane;
                    DROP TABLE lane;
                    ALTER TABLE numbered RENAME TO lane;
                    CREATE INDEX lane_subscriber ON lane (subscriber, state);
                    """)
            try raiseLaneNumber(to: 0, db)
        }
        migrator.registerMigration("reload attempts") { db in
            try db.execute(
                sql: """
                    CREATE TABLE reload_attempt (
                      id INTEGER PRIMARY KEY AUTOINCREMENT,
                      time INTEGER NOT NULL,
                      "trigger" TEXT NOT NULL,
                      verdict TEXT NOT NULL,
                      details TEXT NOT NULL
                    );
                    """)
        }
        return migrator
    }

    /// No lane gets a number that is `number` or lower, or that anything in the ledger still speaks of.
    static func raiseLaneNumber(to number: Int64, _ db: Database) throws {
        let known =
            try Int64.fetchOne(
                db,
                sql: """
                    SELECT max(coalesce((SELECT max(id) FROM lane), 0), coalesce((SELECT max(lane) FROM dead), 0),
                      coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'lane'), 0),
                      coalesce((SELECT max(CAST(substr(name, ?1) AS INTEGER)) FROM subscriber
                                WHERE substr(name, 1, ?1 - 1) = ?2), 0))
                    """, arguments: [LedgerLane.namePrefix.utf8.count + 1, LedgerLane.namePrefix]) ?? 0
        try db.execute(sql: "DELETE FROM sqlite_sequence WHERE name = 'lane'")
        try db.execute(
            sql: "INSERT INTO sqlite_sequence (name, seq) VALUES ('lane', ?)", arguments: [max(number, known)])
    }
}
