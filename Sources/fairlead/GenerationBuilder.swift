// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Foundation
import Gateway
import Ledger
import Routes
import Scripting

/// Makes a generation out of what is on disk: reads routes.conf, its includes and all plugins once, checks them, and
/// loads what changed beside what runs. Nothing takes effect here.
struct GenerationBuilder: Sendable {
    let config: String
    let host: ScriptHost
    let sender: any HTTPSender
    let clock: any Events.Clock
    let ledger: Ledger

    struct Candidate: Sendable {
        var generation: Generation
        var mail: MailSettings
        var plugins: [PluginStatus]
        var snapshot: ConfigSnapshot
        /// Worth a look, in the words that `check` prints.
        var warnings: [String]
        /// Plugins that run and stand still, so that nothing changes the state that was migrated from.
        var held: [LuaDestination] = []
        /// By subscriber: what it runs.
        var versions: [String: SubscriberVersion] = [:]
        /// By subscriber: those that are changed and haven't proved themselves yet.
        var probations: [String: ChangedSubscriber] = [:]
        /// By subscriber: what would bring its state back to what it was before its migration.
        var formerStates: [String: StateMigration] = [:]

        /// It has taken over: what stood still for it has ended, and needn't be kept.
        var inForce: Candidate {
            var candidate = self
            candidate.generation = generation.withoutMigrations
            candidate.held = []
            candidate.formerStates = [:]
            return candidate
        }

        /// It won't take over: what stands still for it goes on.
        func letGo() {
            for destination in held { destination.resume() }
        }
    }

    /// Why there is no candidate: everything that is wrong, in the words that `check` prints.
    struct Refusal: Error {
        var diagnostics: [String]
    }

    /// A configuration that is right, as far as that can be told without running anything of it.
    struct Inspection: Sendable {
        var table: RouteTable
        var fingerprints: [String: String]
    }

    /// Checks what is on disk as ``build(number:beside:)`` does, in scratch states and without `init`.
    func inspect(standing: [String: StandingVersion] = [:]) async throws(Refusal) -> Inspection {
        let (written, folder, diagnostics, _) = try snapshot()
        let (table, stand) = Self.letStand(standing, in: written, folder)
        var fingerprints: [String: String] = [:]
        var problems: [String] = []
        let checker = ScriptHost(services: .offline(), lanes: 1)
        for route in table.subscribers {
            if let version = stand[route.name]?.version {
                fingerprints[route.name] = version.fingerprint
                continue
            }
            fingerprints[route.name] = Self.fingerprint(of: route, in: folder)
            problems += Check.problems(of: route, in: folder, host: checker).map(\.description)
        }
        guard problems.isEmpty else { throw Refusal(diagnostics: diagnostics + problems) }
        return Inspection(table: table, fingerprints: fingerprints)
    }

    /// Reads everything once.
    private func snapshot() throws(Refusal) -> (
        table: RouteTable, folder: PluginFolder, diagnostics: [String], files: ConfigSnapshot
    ) {
        let sources = RecordingSources()
        let compiled = RouteCompiler.compile(config, from: sources, strictEnvironment: true)
        let diagnostics = compiled.diagnostics.map(\.description)
        guard let table = compiled.table else { throw Refusal(diagnostics: diagnostics) }
        do {
            let folder = try PluginFolder(path(table.server.plugins))
            var files = sources.contents
            for (name, bytes) in folder.files { files["\(folder.path)/\(name)"] = bytes }
            return (table, folder, diagnostics, ConfigSnapshot(config: config, files: files))
        } catch {
            throw Refusal(diagnostics: [Diagnostic.plugin(error.description).description])
        }
    }

    /// Equal where neither the block nor any file of its plugin changed.
    static func fingerprint(of route: SubscriberRoute, in folder: PluginFolder) -> String {
        guard case .run(let name, _, _) = route.delivery, let source = folder.source(of: name) else {
            return route.fingerprint
        }
        return route.fingerprint + "/" + source.fingerprint
    }

    /// - Parameters:
    ///   - running: what its destinations can be taken over from, where neither block nor plugin changed.
    ///   - standing: what subscribers run as long as their files are those that have failed.
    func build(
        number: Int, beside running: Candidate?, standing: [String: StandingVersion] = [:]
    ) async throws(Refusal) -> Candidate {
        let (written, folder, diagnostics, files) = try snapshot()
        let (table, stand) = Self.letStand(standing, in: written, folder)
        var destinations: [String: any Destination] = [:]
        var fingerprints: [String: String] = [:]
        var problems: [String] = []
        var built: [any Destination] = []
        for route in table.subscribers {
            let fingerprint = stand[route.name]?.version.fingerprint ?? Self.fingerprint(of: route, in: folder)
            switch route.delivery {
            case .pull: break
            case .push(let push):
                if let kept = take(route, fingerprint, from: running) {
                    destinations[route.name] = kept
                    break
                }
                do {
                    let destination = try endpoint(push, of: route)
                    destinations[route.name] = destination
                    built.append(destination)
                } catch {
                    problems.append(PluginDiagnostic.finding(error.message, of: route).description)
                }
            case .run(let name, _, _):
                guard let source = stand[route.name]?.version.source ?? folder.source(of: name) else {
                    problems.append(PluginDiagnostic.missing(name, of: route, in: folder).description)
                    continue
                }
                if let kept = take(route, fingerprint, from: running) {
                    destinations[route.name] = kept
                    break
                }
                do {
                    let destination = try await host.load(PluginBinding(route, source))
                    if let old = running?.generation.destinations[route.name] as? LuaDestination {
                        destination.follow(old)
                    }
                    destinations[route.name] = destination
                    built.append(destination)
                } catch {
                    problems += error.problems.map { PluginDiagnostic.finding($0, of: route).description }
                }
            }
            fingerprints[route.name] = fingerprint
        }
        var candidate = Candidate(
            generation: Generation(
                number: number, table: table, destinations: destinations, fingerprints: fingerprints),
            mail: table.mail, plugins: status(of: table, folder), snapshot: files,
            warnings: diagnostics)
        candidate.remember(stand, in: folder)
        if problems.isEmpty { problems = await migrate(&candidate, beside: running) }
        guard problems.isEmpty else {
            candidate.letGo()
            for destination in built { await destination.stop(.removed, deadline: .zero) }
            throw Refusal(diagnostics: diagnostics + problems)
        }
        return candidate
    }

    /// Last of all, as a plugin whose state is migrated stands still until the generation has taken over or is refused.
    /// Nothing is written yet.
    private func migrate(_ candidate: inout Candidate, beside running: Candidate?) async -> [String] {
        var problems: [String] = []
        for route in candidate.generation.table.subscribers {
            guard let destination = candidate.generation.destinations[route.name] as? LuaDestination else { continue }
            let old = running?.generation.destinations[route.name] as? LuaDestination
            if destination === old { continue }
            do {
                let (name, stored) = try await storedState(of: route)
                guard destination.stateVersion != stored ?? 1 else { continue }
                if let old {
                    candidate.held.append(old)
                    await old.quiesce()
                }
                let migration = try await host.migration(for: destination, from: stored, stateOf: name)
                candidate.generation.migrations[route.name] = migration
                if let migration {
                    candidate.formerStates[route.name] = try await former(of: migration, name, version: stored ?? 1)
                }
            } catch let error as PluginError {
                problems += error.problems.map { PluginDiagnostic.finding($0, of: route).description }
            } catch {
                problems.append(PluginDiagnostic.finding("\(error)", of: route).description)
            }
        }
        return problems
    }

    /// The version of a subscriber's state, and the name that the ledger has it under: the old one where it is renamed.
    func storedState(of route: SubscriberRoute) async throws -> (name: String, version: Int?) {
        try await withCheckedThrowingContinuation { continuation in
            // It waits for the ledger's writer.
            DispatchQueue.global().async { [ledger] in
                continuation.resume(
                    with: Result {
                        let known = try ledger.subscribers()
                        let name = known.contains(route.name) ? route.name : route.was ?? route.name
                        return (name, try ledger.stateVersion(of: name))
                    })
            }
        }
    }

    /// Undoes a candidate that is not wanted after all.
    func discard(_ candidate: Candidate, keeping running: Candidate?) async {
        for (name, destination) in candidate.generation.destinations
        where running?.generation.destinations[name] !== destination {
            await destination.stop(.removed, deadline: .zero)
        }
    }

    /// Paths in routes.conf are relative to the folder it is in.
    static func path(_ path: String, besides config: String) -> String {
        if path.hasPrefix("/") { return path }
        return URL(fileURLWithPath: config).deletingLastPathComponent().appendingPathComponent(path).path
    }

    func path(_ path: String) -> String { Self.path(path, besides: config) }

    private func take(
        _ route: SubscriberRoute, _ fingerprint: String, from running: Candidate?
    ) -> (any Destination)? {
        guard running?.generation.fingerprints[route.name] == fingerprint else { return nil }
        return running?.generation.destinations[route.name]
    }

    private func status(of table: RouteTable, _ folder: PluginFolder) -> [PluginStatus] {
        var users: [String: [String]] = [:]
        for route in table.subscribers {
            if case .run(let plugin, _, _) = route.delivery { users[plugin, default: []].append(route.name) }
        }
        return users.keys.sorted().map { name in
            PluginStatus(
                name: name, path: folder.source(of: name)?.entry ?? name, version: nil, subscribers: users[name] ?? [])
        }
    }
}

extension PluginBinding {
    /// A subscriber's block in the host's words.
    init(_ route: SubscriberRoute, _ source: PluginSource) {
        guard case .run(_, let settings, let batch) = route.delivery else {
            preconditionFailure("only `run` binds a plugin")
        }
        self.init(
            subscriber: route.name, source: source, settings: settings.map(PluginSetting.init),
            grants: route.grants.map(PluginGrant.init), cpu: route.limits.cpu, memory: route.limits.memory,
            timeout: route.retry.timeout, concurrency: route.concurrency,
            batch: batch.map { Batch(count: $0.count, every: $0.every) })
    }
}

extension PluginSetting {
    init(_ setting: Setting) {
        self.init(setting.name, PluginValue(setting.value))
    }
}

extension PluginValue {
    fileprivate init(_ value: SettingValue) {
        switch value {
        case .string(let text): self = .string(text)
        case .name(let name): self = .name(name)
        case .integer(let number): self = .integer(number)
        case .number(let number): self = .number(number)
        case .boolean(let flag): self = .boolean(flag)
        case .duration(let duration): self = .duration(duration)
        case .size(let bytes): self = .size(bytes)
        case .rate(let rate): self = .rate(count: rate.count, per: rate.per)
        case .percent(let percent): self = .percent(percent)
        case .secret(let secret): self = .secret(name: secret.name, value: secret.value)
        case .list(let values): self = .list(values.map(PluginValue.init))
        case .block(let settings): self = .block(settings.map(PluginSetting.init))
        }
    }
}

extension PluginGrant {
    init(_ grant: Grant) {
        switch grant {
        case .mail: self = .mail
        case .http(let host): self = .http(host)
        case .publish(let topic): self = .publish(topic)
        case .env(let name): self = .env(name)
        case .file(let path): self = .file(path)
        }
    }
}
