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

    package init(
        number: Int, table: RouteTable, destinations: [String: any Destination], fingerprints: [String: String]
    ) {
        self.number = number
        self.table = table
        self.destinations = destinations
        self.fingerprints = fingerprints
    }
}

extension SubscriberRoute {
    /// What the state machine needs to know of the block.
    var stateSettings: SubscriberState.Settings {
        var settings = SubscriberState.Settings()
        settings.ordered = ordered
        settings.retry = retry
        settings.rate = rate
        settings.paused = paused
        switch delivery {
        case .run(_, _, let batch):
            settings.batch = batch
            settings.inFlightMax = batch?.count ?? Limits.pipelineEvents
        case .push: settings.inFlightMax = max(concurrency, 1)
        case .pull: settings.inFlightMax = Limits.leasesMax
        }
        return settings
    }

    /// Whether the past that `start` asks for is delivered beside what is live.
    var takesHistoryBeside: Bool {
        switch delivery {
        case .run(_, _, let batch): !ordered && batch == nil
        case .push: !ordered
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
