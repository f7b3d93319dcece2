// SPDX-License-Identifier: Apache-2.0

import Broker
import Dispatch
import Events
import Gateway
import Ledger
import Routes
import Scripting

/// What a subscriber is: its block, as it was expanded, and the files of its plugin. Enough to build it again.
struct SubscriberVersion: Sendable {
    var route: SubscriberRoute
    /// nil for those that run no plugin, and where there is none of the name.
    var source: PluginSource?
    /// Equal where neither the block nor any file of its plugin changed.
    var fingerprint: String
    /// A generation whose files it is made of.
    var generation: Int

    init(_ route: SubscriberRoute, in folder: PluginFolder, generation: Int) {
        self.route = route
        self.generation = generation
        if case .run(let name, _, _) = route.delivery { source = folder.source(of: name) }
        fingerprint = GenerationBuilder.fingerprint(of: route, in: folder)
    }

    /// What it needs and `table` has no more; nil where it fits.
    func misses(in table: RouteTable) -> String? {
        let topics = Set(table.topics.map(\.name))
        var needed = route.from.filter { !$0.isWildcard }.map(\.text)
        for case .publish(let topic) in route.grants { needed.append(topic) }
        if case .publish(let topic) = route.onDead { needed.append(topic) }
        return needed.first { !topics.contains($0) }.map { "topic \"\($0)\", which it needs, was removed" }
    }
}

/// What a subscriber runs in place of files that have failed.
struct StandingVersion: Sendable {
    var bad: BadReload
    var version: SubscriberVersion
}

/// A changed subscriber that hasn't proved itself yet.
struct ChangedSubscriber: Sendable {
    /// The generation that changed it.
    var generation: Int
    /// What it goes back to; nil where it is new.
    var previous: SubscriberVersion?
    /// What brings its state back, where that was migrated and nobody has written to it since.
    var formerState: StateMigration?

    /// The text of the ledger.
    func record(_ fingerprint: String) -> LedgerProbation {
        LedgerProbation(generation: generation, fingerprint: fingerprint, previous: previous?.generation)
    }
}

extension GenerationBuilder.Candidate {
    /// What each of its subscribers runs, so that it can go back to it.
    mutating func remember(_ stand: [String: StandingVersion], in folder: PluginFolder) {
        for route in generation.table.subscribers {
            versions[route.name] =
                stand[route.name]?.version ?? SubscriberVersion(route, in: folder, generation: generation.number)
        }
        generation.badReloads = stand.mapValues(\.bad)
    }
}

extension GenerationBuilder {
    /// Puts what stands in the place of what is in the files, for subscribers whose block and plugin are those that failed.
    /// `stand` are those.
    static func letStand(
        _ standing: [String: StandingVersion], in written: RouteTable, _ folder: PluginFolder
    ) -> (table: RouteTable, stand: [String: StandingVersion]) {
        var table = written
        var stand: [String: StandingVersion] = [:]
        for index in table.subscribers.indices {
            let route = table.subscribers[index]
            guard let known = standing[route.name], known.bad.fingerprint == fingerprint(of: route, in: folder),
                known.version.misses(in: table) == nil
            else { continue }
            stand[route.name] = known
            table.subscribers[index] = known.version.route
        }
        return (table, stand)
    }

    /// Builds what carries a subscriber's deliveries out, to follow on what does so now; nil where it pulls.
    func destination(
        of version: SubscriberVersion, after old: (any Destination)?
    ) async throws -> (any Destination)? {
        switch version.route.delivery {
        case .pull: return nil
        case .push(let push): return try endpoint(push, of: version.route)
        case .run:
            guard let source = version.source else { return nil }
            let destination = try await host.load(PluginBinding(version.route, source))
            if let old = old as? LuaDestination { destination.follow(old) }
            return destination
        }
    }

    func endpoint(_ push: PushRoute, of route: SubscriberRoute) throws(Failure) -> WebhookDestination {
        try WebhookDestination(
            subscriber: route.name, route: push, timeout: route.retry.timeout, concurrency: route.concurrency,
            rate: route.rate, sender: sender, clock: clock)
    }

    /// A subscriber as it was in an earlier generation; nil where that can't be told any more.
    func version(of subscriber: String, in number: Int) async throws(Failure) -> SubscriberVersion? {
        try await blocking { [ledger] () throws(Failure) -> SubscriberVersion? in
            guard let generation = try ledger.generation(number) else { return nil }
            let files = try ledger.configFiles(of: generation)
            let compiled = RouteCompiler.compile(
                generation.details.config, from: StoredSources(files: files), strictEnvironment: true)
            guard let table = compiled.table, let route = table.subscribers.first(where: { $0.name == subscriber })
            else { return nil }
            return SubscriberVersion(
                route,
                in: PluginFolder(Self.path(table.server.plugins, besides: generation.details.config), among: files),
                generation: number)
        }
    }

    /// What brings the state back that `migration` changes. Nobody writes to it meanwhile.
    func former(of migration: StateMigration, _ name: String, version: Int) async throws -> StateMigration {
        let keys = migration.writes.map(\.key)
        let writes = try await blocking { [ledger] () throws(Failure) in try ledger.restoring(keys, of: name) }
        return StateMigration(version: version, writes: writes)
    }

    /// Runs work that waits for the ledger on a thread that may.
    func blocking<Value: Sendable, Problem: Error>(
        _ body: @escaping @Sendable () throws(Problem) -> Value
    ) async throws(Problem) -> Value {
        try await withCheckedContinuation { (continuation: CheckedContinuation<Result<Value, Problem>, Never>) in
            DispatchQueue.global().async {
                continuation.resume(returning: Result { () throws(Problem) in try body() })
            }
        }.get()
    }
}
