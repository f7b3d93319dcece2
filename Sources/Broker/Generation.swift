// SPDX-License-Identifier: Apache-2.0

package import Events
package import Routes

/// One loaded configuration with what carries it out. Built completely before anything of it takes effect.
package struct Generation: Sendable {
    package var number: Int
    package var table: RouteTable
    /// By subscriber; none for those that pull.
    package var destinations: [String: any Destination]
    /// By subscriber: equal where neither its block nor its plugin changed, which is when it stays untouched.
    package var fingerprints: [String: String]
    /// By subscriber: what is done to its state in the moment when the generation takes over.
    package var migrations: [String: StateMigration]
    /// By subscriber: what follows where it is changed and its first deliveries fail. One that is not named here is not
    /// looked at.
    package var probations: [String: BadReloadAction] = [:]
    /// By subscriber: changes that failed, until it is changed again.
    package var badReloads: [String: BadReload] = [:]

    package init(
        number: Int, table: RouteTable, destinations: [String: any Destination], fingerprints: [String: String],
        migrations: [String: StateMigration] = [:]
    ) {
        self.number = number
        self.table = table
        self.destinations = destinations
        self.fingerprints = fingerprints
        self.migrations = migrations
    }

    /// Once it has taken over: they are made, and may be large.
    package var withoutMigrations: Generation {
        var generation = self
        generation.migrations = [:]
        return generation
    }
}

extension SubscriberRoute {
    /// What the state machine needs to know of the block.
    func stateSettings(_ bounds: MemoryBounds) -> SubscriberState.Settings {
        var settings = SubscriberState.Settings()
        settings.bounds = bounds
        settings.scheduledMax = bounds.scheduledMax
        settings.ordered = ordered
        settings.retry = retry
        settings.rate = rate
        settings.paused = paused
        settings.deliverAfter = deliverAfter
        settings.ttl = ttl
        switch delivery {
        case .run(_, _, let batch):
            settings.batch = batch
            settings.inFlightMax = batch?.count ?? Limits.pipelineEvents
        case .push(let push):
            settings.batch = push.batch
            settings.breaker = push.breaker
            settings.inFlightMax = push.batch?.count ?? max(concurrency, 1)
        case .pull: settings.inFlightMax = Limits.leasesMax
        }
        return settings
    }

    /// Whether the past that `start` asks for is delivered beside what is live.
    var takesHistoryBeside: Bool {
        switch delivery {
        case .run(_, _, let batch): !ordered && batch == nil
        case .push(let push): !ordered && push.batch == nil
        case .pull: false
        }
    }

    var methodName: String {
        switch delivery {
        case .run: "run"
        case .push: "push"
        case .pull: "pull"
        }
    }
}
