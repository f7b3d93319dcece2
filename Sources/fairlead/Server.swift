// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Foundation
import Gateway
import Ledger
import Logging
import Routes
import Scripting

/// The running generation, and how one follows another.
actor Server {
    let builder: GenerationBuilder
    let broker: Broker
    private let mail: CurrentMail
    private let access: AccessControl
    private let tls: TLSCredentials?
    let ledger: Ledger
    private let clock: any Events.Clock
    private let log: Logger
    private(set) var running: GenerationBuilder.Candidate?
    /// Tables of generations that were asked about, by number.
    var tables: [Int: RouteTable] = [:]

    init(
        builder: GenerationBuilder, broker: Broker, mail: CurrentMail, access: AccessControl, tls: TLSCredentials?,
        ledger: Ledger, clock: any Events.Clock, log: Logger
    ) {
        self.builder = builder
        self.broker = broker
        self.mail = mail
        self.access = access
        self.tls = tls
        self.ledger = ledger
        self.clock = clock
        self.log = log
    }

    var plugins: [PluginStatus] { running?.plugins ?? [] }

    /// - Throws: ``GenerationBuilder/Refusal`` or `Failure`.
    func start() async throws {
        let ledger = ledger
        let last = try await broker.blocking { () throws(Failure) in try ledger.generations(limit: 1).first?.number ?? 0
        }
        let candidate = try await builder.build(number: last + 1, beside: nil)
        for warning in candidate.warnings { log.warning("\(warning)") }
        useSettings(of: candidate)
        try await broker.start(candidate.generation)
        running = candidate.inForce
        try await record(candidate, trigger: "start", changes: [])
        log.notice(
            "Started",
            metadata: [
                "generation": "\(candidate.generation.number)",
                "topics": "\(candidate.generation.table.topics.count)",
                "subscribers": "\(candidate.generation.table.subscribers.count)",
            ])
    }

    /// All or nothing: a refused reload leaves everything as it was.
    func reload(trigger: String) async -> ReloadVerdict {
        guard let before = running else { return .refused(diagnostics: ["the server is still starting"]) }
        let number = before.generation.number + 1
        do {
            let candidate = try await builder.build(number: number, beside: before)
            var isApplied = false
            defer { if !isApplied { candidate.letGo() } }
            let diff = RouteDiff(from: before.generation.table, to: candidate.generation.table)
            guard diff.restartOnly.isEmpty else {
                await builder.discard(candidate, keeping: before)
                log.error("Reload refused: a restart is needed", metadata: ["changed": "\(diff.restartOnly)"])
                return .restartNeeded(diagnostics: diff.restartOnly)
            }
            for warning in candidate.warnings { log.warning("\(warning)") }
            let changes = describe(candidate.generation, after: before.generation)
            let pair: TLSCredentials.Pair?
            do {
                let tls = tls
                pair = try await broker.blocking { () throws(Failure) in try tls?.read() }
                try await broker.apply(candidate.generation)
            } catch {
                await builder.discard(candidate, keeping: before)
                throw error
            }
            isApplied = true
            useSettings(of: candidate)
            if let tls, let pair, tls.use(pair) { log.notice("New connections get the new certificate") }
            running = candidate.inForce
            try await record(candidate, trigger: trigger, changes: changes)
            log.notice(
                "Reloaded",
                metadata: [
                    "generation": "\(number)", "trigger": "\(trigger)", "changes": "\(changes.joined(separator: ", "))",
                ])
            return .applied(generation: number, changes: changes)
        } catch let refusal as GenerationBuilder.Refusal {
            log.error(
                "Reload refused; generation \(before.generation.number) goes on",
                metadata: ["trigger": "\(trigger)", "errors": "\(refusal.diagnostics.count)"])
            for diagnostic in refusal.diagnostics { log.error("\(diagnostic)") }
            return .refused(diagnostics: refusal.diagnostics)
        } catch {
            log.error(
                "Reload failed; generation \(before.generation.number) goes on", metadata: ["error": "\(error)"])
            return .refused(diagnostics: ["\(error)"])
        }
    }

    /// What isn't the broker's.
    private func useSettings(of candidate: GenerationBuilder.Candidate) {
        access.use(candidate.generation.table.server.tokens)
        mail.use(candidate.mail, directory: { builder.path($0) }, clock: clock)
    }

    private func record(_ candidate: GenerationBuilder.Candidate, trigger: String, changes: [String]) async throws {
        let snapshot = candidate.snapshot
        var generation = LedgerGeneration(
            number: candidate.generation.number, hash: snapshot.hash, time: clock.now(), trigger: trigger,
            verdict: "applied")
        generation.details.changes = changes
        generation.details.ends = await broker.swapEnds()
        generation.details.config = snapshot.config
        generation.details.files = snapshot.hashes
        for plugin in candidate.plugins {
            for subscriber in plugin.subscribers { generation.details.versions[subscriber] = plugin.version }
        }
        let (ledger, finished) = (ledger, generation)
        try await broker.blocking { () throws(Failure) in
            try ledger.recordGeneration(finished, contents: snapshot.contents)
        }
    }

    private func describe(_ next: Generation, after before: Generation) -> [String] {
        let old = Set(before.table.subscribers.map(\.name))
        let new = Set(next.table.subscribers.map(\.name))
        var changes = new.subtracting(old).sorted().map { "\($0) added" }
        changes += old.subtracting(new).sorted().map { "\($0) removed" }
        changes += old.intersection(new).sorted()
            .filter { before.fingerprints[$0] != next.fingerprints[$0] }.map { "\($0) changed" }
        return changes.isEmpty ? ["nothing changed"] : changes
    }
}
