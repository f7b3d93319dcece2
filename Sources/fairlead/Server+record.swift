// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Gateway
import Ledger
import Logging

/// What is remembered of changes, and where they are told.
extension Server {
    func record(
        of candidate: GenerationBuilder.Candidate, trigger: String, changes: [String]
    ) -> LedgerGeneration {
        let snapshot = candidate.snapshot
        var generation = LedgerGeneration(
            number: candidate.generation.number, hash: snapshot.hash, time: clock.now(), trigger: trigger,
            verdict: "applied")
        generation.details.changes = changes
        generation.details.config = snapshot.config
        generation.details.files = snapshot.hashes
        (generation.details.probations, generation.details.badReloads) = candidate.probationDetails
        for plugin in candidate.plugins {
            for subscriber in plugin.subscribers { generation.details.versions[subscriber] = plugin.version }
        }
        return generation
    }

    /// Before it takes over, so that whatever it does can be told. Blocks.
    static func record(
        _ generation: LedgerGeneration, _ contents: [String: [UInt8]], in ledger: Ledger
    ) throws(Failure) {
        do {
            try ledger.recordGeneration(generation, contents: contents)
        } catch {
            throw cantWrite(error.message)
        }
    }

    static func cantWrite(_ reason: String) -> Failure {
        Failure(
            .storage,
            "\(reason): a generation that can't be written down doesn't take over; see to the disk, then reload again")
    }

    /// It has taken over; where the topics ended at that moment is known only now.
    func confirm(_ generation: LedgerGeneration) async {
        let ledger = ledger
        do {
            try await broker.blocking { () throws(Failure) in try ledger.recordGeneration(generation) }
        } catch {
            log.error("A generation runs and isn't completely written down yet", metadata: ["error": "\(error)"])
        }
    }

    /// In a line, for systemd.
    var summary: String {
        let generation = "generation \(running?.generation.number ?? 0), \(config.hash.prefix(12))"
        guard let attempt = config.lastAttempt, let applied = config.applied, attempt.time > applied else {
            return generation
        }
        return generation + "; the last reload was \(attempt.verdict): \(attempt.diagnostics.first ?? "")"
    }

    func use(_ generation: LedgerGeneration) {
        config.hash = generation.hash
        config.applied = generation.time
        config.trigger = generation.trigger
        config.origin = generation.details.origin
        config.differsFromDisk = false
    }

    func remember(_ verdict: ReloadVerdict, of request: ReloadRequest, generation: Int) async {
        let diagnostics = verdict.diagnostics
        log.error(
            "Reload \(verdict.words); generation \(generation) goes on",
            metadata: ["trigger": "\(request.trigger)", "errors": "\(diagnostics.count)"])
        for diagnostic in diagnostics { log.error("\(diagnostic)") }
        let attempt = ReloadAttempt(
            time: clock.now(), trigger: request.trigger, verdict: verdict.words,
            details: .init(
                generation: generation,
                diagnostics: diagnostics.prefix(Limits.diagnosticsKept).map {
                    String($0.prefix(Limits.diagnosticKept))
                },
                count: diagnostics.count))
        let summary = ReloadAttemptSummary(attempt)
        config.lastAttempt = summary
        announce(summary)
        let ledger = ledger
        do {
            try await broker.blocking { () throws(Failure) in try ledger.recordAttempt(attempt) }
        } catch {
            log.error("The refused reload isn't written down yet", metadata: ["error": "\(error)"])
        }
    }

    /// What stands on `$config`.
    private struct ConfigChange: Encodable, Sendable {
        var verdict: String
        var trigger: String
        /// The one that runs.
        var generation: Int
        var hash: String?
        var origin: Int?
        var changes: [String]?
        var diagnostics: [String]?
        var errors: Int?
    }

    func announce(_ generation: LedgerGeneration) {
        let origin = generation.details.origin
        broker.announce(
            origin == nil ? "fairlead.config.applied" : "fairlead.config.rolled_back",
            id: "config-\(generation.number)-\(generation.time.milliseconds)",
            subject: "generation \(generation.number)",
            ConfigChange(
                verdict: "applied", trigger: generation.trigger, generation: generation.number, hash: generation.hash,
                origin: origin, changes: generation.details.changes))
    }

    private func announce(_ attempt: ReloadAttemptSummary) {
        broker.announce(
            "fairlead.config.refused", id: "config-refused-\(attempt.generation)-\(attempt.time.milliseconds)",
            subject: "generation \(attempt.generation)",
            ConfigChange(
                verdict: attempt.verdict, trigger: attempt.trigger, generation: attempt.generation,
                diagnostics: attempt.diagnostics, errors: attempt.count))
    }

    func attempts(limit: Int) async throws(Failure) -> [ReloadAttemptSummary] {
        let ledger = ledger
        return try await broker.blocking { () throws(Failure) in try ledger.reloadAttempts(limit: limit) }
            .map(ReloadAttemptSummary.init)
    }

    /// The files of generation `wanted`; where none is named, of the one that ran before what runs, other files being what
    /// makes another.
    func storedConfig(of wanted: Int?) async throws -> StoredConfig {
        let ledger = ledger
        let (hash, from) = (config.hash, config.origin ?? running?.generation.number ?? 0)
        return try await broker.blocking { () throws(Failure) in
            let generation: LedgerGeneration
            if let wanted {
                guard let found = try ledger.generation(wanted), found.verdict != LedgerGeneration.applying else {
                    throw Failure(.notFound, "there is no generation \(wanted); `fairlead generations` lists them")
                }
                generation = found
            } else {
                guard let found = try ledger.generation(before: from, otherThan: hash) else {
                    throw Failure(.notFound, "there is no generation before \(from) with other files to go back to")
                }
                generation = found
            }
            let files = try ledger.configFiles(of: generation)
            if let gone = generation.details.files.keys.sorted().first(where: { files[$0] == nil }) {
                throw Failure(
                    .notFound, "\(gone), as it was in generation \(generation.number), isn't kept any more")
            }
            return StoredConfig(generation: generation.number, config: generation.details.config, files: files)
        }
    }
}

extension ReloadAttemptSummary {
    init(_ attempt: ReloadAttempt) {
        self.init(
            time: attempt.time, trigger: attempt.trigger, verdict: attempt.verdict,
            generation: attempt.details.generation, diagnostics: attempt.details.diagnostics,
            count: attempt.details.count)
    }
}

extension Limits {
    /// Diagnostics of a refused reload that are kept, and characters of each: enough to know what was wrong. Whoever asked
    /// for it was told all.
    static let diagnosticsKept = 10
    static let diagnosticKept = 2_000
}
