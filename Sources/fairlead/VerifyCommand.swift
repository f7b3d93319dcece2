// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Events
import Foundation
import Journal
import Ledger
import Logging
import Routes

struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check the journal and the ledger, every byte of them, and mend them.",
        discussion: """
            Reads each segment (header, lengths, checksums, offsets, times, index) and the ledger (SQLite's own check, \
            positions, retries, dead letters, outbox), and says what is damaged and what that means for whom. It changes \
            nothing, so that it may run beside a server.

            --repair needs the folder to itself: stop the server first. It deletes nothing; what it replaces stays beside \
            it as ….damaged.

            Exit code 0: all is sound, or was mended. 1: something is damaged. 2: there is no such data folder, or --repair \
            while a server has it.
            """)

    @Argument(help: "The data folder. Default: what routes.conf says.", completion: .directory) var data: String?
    @Option(help: "The routes.conf that says where the data are.", completion: .routes) var config = "routes.conf"
    @Flag(help: "Mend what can be mended.") var repair = false
    @Flag(help: "Print the findings as JSON.") var json = false

    func run() async throws {
        let path = data ?? GenerationBuilder.path(ListenLine.settings(in: config).data, besides: config)
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue else {
            Console.complain("there is no data folder \(path); name it, or the routes.conf that does with --config")
            throw ExitCode.refused
        }
        var lock: DataFolder?
        do {
            lock = try DataFolder(path)
        } catch {
            if repair {
                Console.complain("can't repair: \(error.description)")
                throw ExitCode.refused
            }
            // Somebody else may only read; then nobody writes to it through this command either.
        }
        defer { withExtendedLifetime(lock) {} }

        var report = try Self.inspect(path, isServed: lock == nil)
        if repair, !report.isSound {
            let before = report
            report = try mend(before, path)
        }
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            Console.say(String(decoding: try encoder.encode(report), as: UTF8.self))
        } else {
            Console.say(report.text(offersRepair: !repair))
        }
        if !report.isSound { throw ExitCode.failure }
    }

    private static func inspect(_ path: String, isServed: Bool) throws -> VerifyReport {
        let total = VerifyReport.bytes(of: path + "/journal")
        let journal: JournalInspection
        do {
            journal = try JournalInspection(reading: path + "/journal", isServed: isServed) { bytes in
                Console.progress(bytes, of: total, "journal, \(total >> 20) MiB")
            }
        } catch {
            Console.progress(nil)
            Console.complain("the journal in \(path) can't be read: \(error)")
            throw ExitCode.failure
        }
        var ledger: LedgerInspection?
        if FileManager.default.fileExists(atPath: path + "/ledger.db") {
            Console.progress(total, of: total, "ledger")
            ledger = LedgerInspection(
                reading: path + "/ledger.db",
                records: .init(bounds: { journal.bounds(of: $0) }, has: { journal.has($0, of: $1) }))
        }
        Console.progress(nil)
        return VerifyReport(path, journal, ledger, isServed: isServed)
    }

    private func mend(_ before: VerifyReport, _ path: String) throws -> VerifyReport {
        do throws(Failure) {
            // What the journal logs while it is opened says nothing that the report doesn't.
            let log = Logger(label: "verify") { _ in SwiftLogNoOpLogHandler() }
            if !before.journalFindings.isEmpty {
                _ = try JournalRepair(of: path + "/journal").mend(
                    before.journalFindings, clock: SystemClock(), log: log)
            }
            _ = try LedgerRepair(of: path + "/ledger.db").mend(before.ledgerFindings)
        } catch {
            Console.complain(error.message)
            throw ExitCode.failure
        }
        var after = try Self.inspect(path, isServed: false)
        after.markRepaired(before)
        return after
    }
}
