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
    /// What the configuration on disk was read from last.
    let watched = WatchedFiles()

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
        let (written, folder, diagnostics, _) = try await read()
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

    private typealias Reading = (
        table: RouteTable, folder: PluginFolder, diagnostics: [String], files: ConfigSnapshot
    )

    /// Reads everything once, on a thread that may wait for the disk.
    private func read() async throws(Refusal) -> Reading {
        try await blocking { () throws(Refusal) in try self.readNow() }
    }

    private func readNow() throws(Refusal) -> Reading {
        let sources = RecordingSources()
        let compiled = RouteCompiler.compile(config, from: sources, strictEnvironment: true)
        let diagnostics = compiled.diagnostics.map(\.description)
        let plugins = compiled.table.map { path($0.server.plugins) }
        watched.use(sources, plugins: plugins)
        guard let table = compiled.table, let plugins else { throw Refusal(diagnostics: diagnostics) }
        do {
            let folder = try PluginFolder(plugins)
            var files = sources.contents
            for (name, bytes) in folder.files { files["\(folder.path)/\(name)"] = bytes }
            return (table, folder, diagnostics, ConfigSnapshot(config: config, files: files))
        } catch {
            throw Refusal(diagnostics: [Diagnostic.plugin(error.description).description])
        }
    }

    /// The same from the files of an old generation; secrets and variables are those of now.
    private func read(_ stored: StoredConfig) throws(Refusal) -> Reading {
        let compiled = RouteCompiler.compile(
            stored.config, from: StoredSources(files: stored.files), strictEnvironment: true)
        let diagnostics = compiled.diagnostics.map(\.description)
        guard let table = compiled.table else { throw Refusal(diagnostics: diagnostics) }
        let folder = PluginFolder(
            Self.path(table.server.plugins, besides: stored.config), among: stored.files)
        return (table, folder, diagnostics, ConfigSnapshot(config: stored.config, files: stored.files))
    }

    /// Of what is on disk; nil where it can't be used.
    func hashOnDisk() async -> String? { try? await read().files.hash }

    /// Equal where neither the block nor any file of its plugin changed.
    static func fingerprint(of route: SubscriberRoute, in folder: PluginFolder) -> String {
        guard case .run(let name, _, _) = route.delivery, let source = folder.source(of: name) else {
            return route.fingerprint
        }
        return route.fingerprint + "/" + source.fingerprint
    }

    /// Where its task is cancelled, it stops what it waits for and refuses.
    ///
    /// - Parameters:
    ///   - running: what its destinations can be taken over from, where neither block nor plugin changed.
    ///   - stored: files of an old generation, in the place of those on disk.
    ///   - standing: what subscribers run as long as their files are those that have failed.
    func build(
        number: Int, beside running: Candidate?, from stored: StoredConfig? = nil,
        standing: [String: StandingVersion] = [:]
    ) async throws(Refusal) -> Candidate {
        let reading: Reading
        if let stored { reading = try read(stored) } else { reading = try await read() }
        let (written, folder, diagnostics, files) = reading
        let (table, stand) = Self.letStand(standing, in: written, folder)
        var destinations: [String: any Destination] = [:]
        var fingerprints: [String: String] = [:]
        var problems = Problems()
        var built: [any Destination] = []
        var bindings: [(place: Int, binding: PluginBinding)] = []
        for (place, route) in table.subscribers.enumerated() {
            let stood = stand[route.name]?.version
            let fingerprint = stood?.fingerprint ?? Self.fingerprint(of: route, in: folder)
            fingerprints[route.name] = fingerprint
            if case .pull = route.delivery { continue }
            if let kept = take(route, fingerprint, from: running) {
                destinations[route.name] = kept
                continue
            }
            switch route.delivery {
            case .pull: break
            case .push(let push):
                do {
                    let destination = try endpoint(push, of: route)
                    destinations[route.name] = destination
                    built.append(destination)
                } catch {
                    problems.add(PluginDiagnostic.finding(error.message, of: route), at: place)
                }
            case .run(let name, _, _):
                if let source = stood?.source ?? folder.source(of: name) {
                    bindings.append((place, PluginBinding(route, source)))
                } else {
                    problems.add(PluginDiagnostic.missing(name, of: route, in: folder), at: place)
                }
            }
        }
        for loaded in await load(bindings) {
            let route = table.subscribers[loaded.place]
            if let destination = loaded.destination {
                if let old = running?.generation.destinations[route.name] as? LuaDestination {
                    destination.follow(old)
                }
                destinations[route.name] = destination
                built.append(destination)
            }
            for problem in loaded.problems {
                problems.add(PluginDiagnostic.finding(problem, of: route), at: loaded.place)
            }
        }
        var candidate = Candidate(
            generation: Generation(
                number: number, table: table, destinations: destinations, fingerprints: fingerprints),
            mail: table.mail, plugins: status(of: table, folder, destinations), snapshot: files,
            warnings: diagnostics)
        candidate.remember(stand, in: folder)
        var refusal = problems.inOrder
        if refusal.isEmpty { refusal = await migrate(&candidate, beside: running) }
        guard refusal.isEmpty, !Task.isCancelled else {
            candidate.letGo()
            await Self.end(built)
            throw Refusal(diagnostics: diagnostics + refusal)
        }
        return candidate
    }

    /// What is wrong, in the order of the subscribers that it is about.
    private struct Problems {
        private var found: [(place: Int, text: String)] = []

        mutating func add(_ finding: Finding, at place: Int) { found.append((place, finding.description)) }
        var inOrder: [String] { found.sorted { $0.place < $1.place }.map(\.text) }
    }

    /// A subscriber's plugin, loaded or not, and the place of the subscriber in its table.
    private struct Loaded: Sendable {
        var place: Int
        var destination: LuaDestination?
        var problems: [PluginProblem] = []
    }

    /// All at once: one `init` that waits holds up no other.
    private func load(_ bindings: [(place: Int, binding: PluginBinding)]) async -> [Loaded] {
        await withTaskGroup(of: Loaded.self) { group in
            for (place, binding) in bindings {
                group.addTask { await load(binding, at: place) }
            }
            var loaded: [Loaded] = []
            for await one in group { loaded.append(one) }
            return loaded
        }
    }

    /// A function of its own, whose result is no tuple: as a closure with typed `throws` that returned a tuple, the optimised
    /// build returned places that there are not.
    private func load(_ binding: PluginBinding, at place: Int) async -> Loaded {
        do {
            return Loaded(place: place, destination: try await host.load(binding))
        } catch {
            return Loaded(place: place, problems: error.problems)
        }
    }

    /// They have delivered nothing.
    private static func end(_ destinations: [any Destination]) async {
        await withTaskGroup { group in
            for destination in destinations {
                group.addTask { await destination.stop(.removed, deadline: .zero) }
            }
        }
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
        try await blocking { [ledger] () throws(Failure) in
            // It waits for the ledger's writer.
            let known = try ledger.subscribers()
            let name = known.contains(route.name) ? route.name : route.was ?? route.name
            return (name, try ledger.stateVersion(of: name))
        }
    }

    /// Undoes a candidate that is not wanted after all.
    func discard(_ candidate: Candidate, keeping running: Candidate?) async {
        await Self.end(
            candidate.generation.destinations.filter { running?.generation.destinations[$0.key] !== $0.value }
                .map(\.value))
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

    private func status(
        of table: RouteTable, _ folder: PluginFolder, _ destinations: [String: any Destination]
    ) -> [PluginStatus] {
        var users: [String: [String]] = [:]
        for route in table.subscribers {
            if case .run(let plugin, _, _) = route.delivery { users[plugin, default: []].append(route.name) }
        }
        return users.keys.sorted().map { name in
            let subscribers = users[name] ?? []
            // All of them run the same source.
            let version = subscribers.lazy.compactMap { (destinations[$0] as? LuaDestination)?.version }.first
            return PluginStatus(
                name: name, path: folder.source(of: name)?.entry ?? name, version: version, subscribers: subscribers)
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
        case .read(_, let value): self.init(value)
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
