// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Gateway
import Ledger
import Logging
import Routes
import Scripting
import ServiceLifecycle

/// What follows a reload that breaks a subscriber: the broker finds out, and here it is taken back to what it was, while
/// the rest of the generation stays.
extension Server {
    /// What subscribers run in place of their files, as those have failed.
    var standing: [String: StandingVersion] {
        var standing: [String: StandingVersion] = [:]
        for (name, bad) in running?.generation.badReloads ?? [:] where bad.end == .undone {
            standing[name] = running?.versions[name].map { StandingVersion(bad: bad, version: $0) }
        }
        return standing
    }

    /// The same, of the last generation before this process.
    func standing(after last: LedgerGeneration?) async throws -> [String: StandingVersion] {
        var standing: [String: StandingVersion] = [:]
        for (name, bad) in last?.details.badReloads ?? [:] where bad.end == .undone {
            guard let previous = bad.previous, let version = try await builder.version(of: name, in: previous) else {
                log.error(
                    "What a subscriber went back to can't be read any more; it starts as its files are now",
                    metadata: ["subscriber": "\(name)", "generation": "\(bad.previous ?? 0)"])
                continue
            }
            standing[name] = StandingVersion(bad: bad, version: version)
        }
        return standing
    }

    /// Puts what `candidate` changes on probation.
    func beginProbations(in candidate: inout GenerationBuilder.Candidate, after before: GenerationBuilder.Candidate)
        async
    {
        let active = await broker.probations()
        for route in candidate.generation.table.subscribers {
            let name = route.name
            guard let version = candidate.versions[name] else { continue }
            let known = active[name] == nil ? nil : before.probations[name]
            let old = before.versions[name]
            if let old, old.fingerprint == version.fingerprint {
                candidate.probations[name] = known
                if let bad = before.generation.badReloads[name] { candidate.generation.badReloads[name] = bad }
                continue
            }
            if case .pull = route.delivery { continue }
            // What hasn't proved itself is nothing to go back to.
            let previous = known == nil ? old : known?.previous
            if let previous, previous.fingerprint == version.fingerprint { continue }
            var action = route.onBadReload
            if previous == nil, action == .rollback { action = .keep }
            candidate.generation.probations[name] = action
            var changed = ChangedSubscriber(generation: candidate.generation.number, previous: previous)
            changed.formerState = candidate.formerStates[name]
            if let earlier = known?.formerState {
                let writes = (changed.formerState?.writes ?? []) + earlier.writes
                changed.formerState = StateMigration(version: earlier.version, writes: writes)
            }
            candidate.probations[name] = changed
        }
    }

    /// Goes on with the probations that the last process didn't end, from their beginning.
    func resumeProbations(in candidate: inout GenerationBuilder.Candidate, after last: LedgerGeneration?) async throws {
        for (name, bad) in last?.details.badReloads ?? [:]
        where bad.end != .undone && bad.fingerprint == candidate.versions[name]?.fingerprint {
            candidate.generation.badReloads[name] = bad
        }
        for (name, known) in last?.details.probations ?? [:] {
            guard let version = candidate.versions[name], version.fingerprint == known.fingerprint else { continue }
            var changed = ChangedSubscriber(generation: candidate.generation.number)
            if let previous = known.previous { changed.previous = try await builder.version(of: name, in: previous) }
            candidate.probations[name] = changed
            candidate.generation.probations[name] =
                known.previous == nil && version.route.onBadReload == .rollback ? .keep : version.route.onBadReload
        }
    }

    /// What a reload that leaves it as it is has to say of a subscriber that a reload broke before.
    func remarks(on candidate: GenerationBuilder.Candidate) -> [String] {
        candidate.generation.badReloads.sorted { $0.key < $1.key }.compactMap { name, bad in
            switch bad.end {
            case .undone:
                "\(name) stays as it was in generation \(bad.previous ?? 0): its files are those that failed in "
                    + "generation \(bad.generation); mend them, or `fairlead reload --force` tries them again"
            case .paused: "\(name) stays paused, as it failed when generation \(bad.generation) changed it"
            case .kept: nil
            }
        }
    }

    /// Acts on what became of a changed subscriber. Not while a reload runs.
    func conclude(_ report: ProbationReport) async {
        let name = report.subscriber
        guard let changed = running?.probations[name], changed.generation == report.generation else { return }
        guard let bad = report.badReload else {
            running?.probations[name] = nil
            return await write(nil)
        }
        if bad.end == .undone { return await undo(name, changed, bad) }
        running?.probations[name] = nil
        running?.generation.badReloads[name] = bad
        await write(bad, name)
    }

    private func undo(_ name: String, _ changed: ChangedSubscriber, _ bad: BadReload) async {
        do {
            let candidate = try await former(name, changed, bad)
            let back = "\(name) went back to what it was in generation \(changed.previous?.generation ?? 0)"
            do {
                guard let running else { throw Obstacle(description: "the server is still starting") }
                let stand = (origin: config.origin, differs: config.differsFromDisk)
                _ = try await takeOver(
                    candidate, after: running, trigger: "bad reload", changes: ["\(back): \(bad.error)"])
                // The files that the rest of it came from are the same.
                (config.origin, config.differsFromDisk) = stand
            } catch {
                candidate.letGo()
                throw Obstacle(description: (error as? Failure)?.message ?? "\(error)")
            }
            log.error(
                "Undone: \(back)",
                metadata: ["generation": "\(candidate.generation.number)", "error": "\(bad.error)"])
            await write(bad, name)
        } catch let obstacle as Obstacle {
            // Its report comes back here, and is written then.
            await broker.pauseChanged(
                name, generation: changed.generation, previous: changed.previous?.generation,
                obstacle: obstacle.description)
        } catch {
            log.error("A subscriber could not be taken back", metadata: ["error": "\(error)"])
        }
    }

    private struct Obstacle: Error, CustomStringConvertible {
        var description: String
    }

    /// The running generation, but for one subscriber, which is what it was before.
    private func former(
        _ name: String, _ changed: ChangedSubscriber, _ bad: BadReload
    ) async throws(Obstacle) -> GenerationBuilder.Candidate {
        guard var candidate = running else { throw Obstacle(description: "the server is still starting") }
        guard let previous = changed.previous else {
            throw Obstacle(description: "what it was before is not known any more")
        }
        if let missing = previous.misses(in: candidate.generation.table) { throw Obstacle(description: missing) }
        let current = candidate.generation.destinations[name]
        let destination: (any Destination)?
        do {
            destination = try await builder.destination(of: previous, after: current)
        } catch {
            throw Obstacle(description: "what it was before can't be loaded any more: \(error)")
        }
        candidate.generation.migrations = [:]
        do {
            if let plugin = destination as? LuaDestination,
                case let stored = try await builder.storedState(of: previous.route).version ?? 1,
                stored != plugin.stateVersion
            {
                // Nobody may write to the state between here and the swap.
                if let current = current as? LuaDestination {
                    candidate.held.append(current)
                    await current.quiesce()
                }
                candidate.generation.migrations[name] = try await formerState(
                    name, changed, from: stored, to: plugin.stateVersion)
            }
        } catch {
            candidate.letGo()
            await destination?.stop(.removed, deadline: .zero)
            throw error as? Obstacle ?? Obstacle(description: "its state can't be read: \(error)")
        }
        candidate.generation.number += 1
        candidate.generation.table.subscribers = candidate.generation.table.subscribers.map {
            $0.name == name ? previous.route : $0
        }
        candidate.generation.destinations[name] = destination
        candidate.generation.fingerprints[name] = previous.fingerprint
        candidate.generation.probations = [:]
        candidate.generation.badReloads[name] = bad
        candidate.generation.badReloads[name]?.previous = previous.generation
        candidate.versions[name] = previous
        candidate.probations[name] = nil
        return candidate
    }

    private func formerState(
        _ name: String, _ changed: ChangedSubscriber, from stored: Int, to version: Int
    ) async throws(Obstacle) -> StateMigration {
        let words = "its state was migrated from version \(version) to \(stored)"
        guard let former = changed.formerState, former.version == version else {
            throw Obstacle(description: "\(words), and what it was before is not known any more")
        }
        guard await broker.probations()[name]?.hasWritten == false else {
            throw Obstacle(description: "\(words) and written to since, which going back would lose")
        }
        return former
    }

    /// Writes down how things stand, and what became of the generation that changed a subscriber.
    private func write(_ bad: BadReload?, _ name: String = "") async {
        guard let running else { return }
        let (ledger, number, details) = (ledger, running.generation.number, running.probationDetails)
        do {
            try await broker.blocking { () throws(Failure) in
                if var current = try ledger.generation(number) {
                    current.details.probations = details.probations
                    current.details.badReloads = details.badReloads
                    try ledger.recordGeneration(current)
                }
                if let bad, var broken = try ledger.generation(bad.generation) {
                    broken.verdict += "; \(name) \(bad.end.rawValue): \(bad.error)"
                    try ledger.recordGeneration(broken)
                }
            }
        } catch {
            log.error(
                "What became of a changed subscriber is not written down",
                metadata: ["subscriber": "\(name)", "error": "\(error)"])
        }
    }
}

extension GenerationBuilder.Candidate {
    /// Those that the broker has: it knows which failed before they were changed, and can't be judged.
    mutating func keepProbations(of broker: Broker) async {
        let active = await broker.probations()
        probations = probations.filter { active[$0.key] != nil }
    }

    /// What a restart needs to know; nil where there is nothing.
    var probationDetails: (probations: [String: LedgerProbation]?, badReloads: [String: BadReload]?) {
        var known: [String: LedgerProbation] = [:]
        for (name, changed) in probations {
            if let version = versions[name] { known[name] = changed.record(version.fingerprint) }
        }
        return (known.isEmpty ? nil : known, generation.badReloads.isEmpty ? nil : generation.badReloads)
    }
}

/// Hands the broker's reports to the server, each in turn with reloads.
struct ProbationService: Service, CustomStringConvertible {
    let broker: Broker
    let server: Server
    let reloader: Reloader
    var description: String { "probation" }

    func run() async throws {
        for await report in broker.probationReports.cancelOnGracefulShutdown() {
            await reloader.exclusively { await server.conclude(report) }
        }
    }
}
