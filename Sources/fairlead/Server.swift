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
    let clock: any Events.Clock
    let log: Logger
    let metrics = ReloadMetrics()
    var running: GenerationBuilder.Candidate?
    /// How the running generation came to be, and what was tried since.
    var config = ConfigStatus()
    private var isStopping = false
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
        let (last, attempt) = try await broker.blocking { () throws(Failure) in
            (try ledger.generations(limit: 1).first, try ledger.reloadAttempts(limit: 1).first)
        }
        var candidate = try await builder.build(
            number: (last?.number ?? 0) + 1, beside: nil, standing: try await standing(after: last))
        try await resumeProbations(in: &candidate, after: last)
        for remark in remarks(on: candidate) { log.warning("\(remark)") }
        for warning in candidate.warnings { log.warning("\(warning)") }
        useSettings(of: candidate)
        try await broker.start(candidate.generation)
        await candidate.keepProbations(of: broker)
        running = candidate.inForce
        var generation = record(of: candidate, trigger: "start", changes: [])
        generation.details.ends = await broker.swapEnds()
        let (finished, contents) = (generation, candidate.snapshot.contents)
        try await broker.blocking { () throws(Failure) in
            try ledger.recordGeneration(finished, contents: contents)
        }
        config.lastAttempt = attempt.map(ReloadAttemptSummary.init)
        use(generation)
        metrics.started(at: generation.time)
        if let last, last.hash != generation.hash { announce(generation) }
        log.notice(
            "Started",
            metadata: [
                "generation": "\(candidate.generation.number)",
                "topics": "\(candidate.generation.table.topics.count)",
                "subscribers": "\(candidate.generation.table.subscribers.count)",
            ])
    }

    /// From now on every change is refused.
    func beginStop() { isStopping = true }

    /// All or nothing: a change that is refused leaves everything as it was. Not called while one runs: see ``Reloader``.
    func change(_ request: ReloadRequest) async -> ReloadVerdict {
        guard let before = running else { return .refused(diagnostics: ["the server is still starting"]) }
        guard !isStopping else { return .refused(diagnostics: ["the server is stopping"]) }
        let verdict: ReloadVerdict
        do {
            verdict = try await carryOut(request, before)
        } catch let refusal as GenerationBuilder.Refusal {
            verdict = .refused(diagnostics: refusal.diagnostics)
        } catch {
            verdict = .refused(diagnostics: ["\(error)"])
        }
        metrics.ended(verdict, at: clock.now())
        if !verdict.isApplied { await remember(verdict, of: request, generation: before.generation.number) }
        return verdict
    }

    private func carryOut(
        _ request: ReloadRequest, _ before: GenerationBuilder.Candidate
    ) async throws -> ReloadVerdict {
        guard !ledger.isFailing else { throw Self.cantWrite("the ledger's disk is full or fails") }
        let deadline = ContinuousClock.now + request.wait
        let number = before.generation.number + 1
        var stored: StoredConfig?
        if case .rollback(let wanted) = request.kind { stored = try await storedConfig(of: wanted) }
        var candidate: GenerationBuilder.Candidate
        let standing = request.force ? [:] : standing
        switch await build(number, beside: before, from: stored, standing, until: deadline) {
        case .success(let built): candidate = built
        case .failure(let refusal):
            guard ContinuousClock.now < deadline else {
                return .timedOut(after: request.wait, diagnostics: refusal.diagnostics)
            }
            throw refusal
        }
        var isApplied = false
        defer { if !isApplied { candidate.letGo() } }
        let diff = RouteDiff(from: before.generation.table, to: candidate.generation.table)
        guard diff.restartOnly.isEmpty, ContinuousClock.now < deadline else {
            await builder.discard(candidate, keeping: before)
            return diff.restartOnly.isEmpty
                ? .timedOut(after: request.wait, diagnostics: [])
                : .restartNeeded(diagnostics: diff.restartOnly)
        }
        for warning in candidate.warnings { log.warning("\(warning)") }
        let pair: TLSCredentials.Pair?
        do {
            let tls = tls
            pair = try await broker.blocking { () throws(Failure) in try tls?.read() }
        } catch {
            await builder.discard(candidate, keeping: before)
            throw error
        }
        await beginProbations(in: &candidate, after: before)
        let changes = describe(candidate.generation, after: before.generation) + remarks(on: candidate)
        let generation = try await takeOver(
            candidate, after: before, trigger: request.trigger, changes: changes, origin: stored?.generation)
        isApplied = true
        if let tls, let pair, tls.use(pair) { log.notice("New connections get the new certificate") }
        if let stored {
            let onDisk = await builder.hashOnDisk()
            config.differsFromDisk = onDisk != generation.hash
            log.notice("Gone back", metadata: ["generation": "\(number)", "to": "\(stored.generation)"])
        }
        log.notice(
            "Reloaded",
            metadata: [
                "generation": "\(number)", "trigger": "\(request.trigger)",
                "changes": "\(changes.joined(separator: ", "))",
            ])
        return .applied(generation: number, changes: changes)
    }

    /// Puts `candidate` in force and writes it down. Where that fails, `candidate` is discarded, and what stood still for it
    /// is the caller's to let go.
    func takeOver(
        _ candidate: GenerationBuilder.Candidate, after before: GenerationBuilder.Candidate, trigger: String,
        changes: [String], origin: Int? = nil
    ) async throws -> LedgerGeneration {
        var candidate = candidate
        var generation = record(of: candidate, trigger: trigger, changes: changes)
        generation.details.origin = origin
        generation.verdict = LedgerGeneration.applying
        do {
            let (recorded, contents, ledger) = (generation, candidate.snapshot.contents, ledger)
            try await broker.apply(candidate.generation) { () throws(Failure) in
                try Self.record(recorded, contents, in: ledger)
            }
        } catch {
            ledger.forgetGeneration(candidate.generation.number)
            await builder.discard(candidate, keeping: before)
            throw error
        }
        useSettings(of: candidate)
        await candidate.keepProbations(of: broker)
        running = candidate.inForce
        generation.verdict = "applied"
        (generation.details.probations, generation.details.badReloads) = candidate.probationDetails
        generation.details.ends = await broker.swapEnds()
        await confirm(generation)
        use(generation)
        announce(generation)
        return generation
    }

    /// Builds until `deadline`; what isn't ready then is called off, and what that says comes back as the refusal.
    private func build(
        _ number: Int, beside before: GenerationBuilder.Candidate, from stored: StoredConfig?,
        _ standing: [String: StandingVersion], until deadline: ContinuousClock.Instant
    ) async -> Result<GenerationBuilder.Candidate, GenerationBuilder.Refusal> {
        let building = Task { [builder] () -> Result<GenerationBuilder.Candidate, GenerationBuilder.Refusal> in
            do throws(GenerationBuilder.Refusal) {
                return .success(
                    try await builder.build(number: number, beside: before, from: stored, standing: standing))
            } catch {
                return .failure(error)
            }
        }
        let timer = Task {
            // Cancelled as soon as it isn't needed.
            do { try await Task.sleep(until: deadline, clock: .continuous) } catch { return }
            building.cancel()
        }
        defer { timer.cancel() }
        return await building.value
    }

    /// What isn't the broker's.
    private func useSettings(of candidate: GenerationBuilder.Candidate) {
        access.use(candidate.generation.table.server.tokens)
        mail.use(candidate.mail, directory: { builder.path($0) }, clock: clock)
    }

    private func describe(_ next: Generation, after before: Generation) -> [String] {
        let old = Set(before.table.subscribers.map(\.name))
        let new = Set(next.table.subscribers.map(\.name))
        // By the new name: whoever reads that a subscriber was removed thinks of what it had.
        var renamed: [String: String] = [:]
        for route in next.table.subscribers where !old.contains(route.name) {
            if let was = route.was, old.contains(was), !new.contains(was) { renamed[route.name] = was }
        }
        var changes = renamed.sorted { $0.key < $1.key }.map { "\($0.value) is \($0.key) now" }
        changes += new.subtracting(old).subtracting(renamed.keys).sorted().map { "\($0) added" }
        changes += old.subtracting(new).subtracting(renamed.values).sorted().map { "\($0) removed" }
        changes += old.intersection(new).sorted()
            .filter { before.fingerprints[$0] != next.fingerprints[$0] }.map { "\($0) changed" }
        return changes.isEmpty ? ["nothing changed"] : changes
    }
}
