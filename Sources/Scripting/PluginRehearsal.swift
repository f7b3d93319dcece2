// SPDX-License-Identifier: Apache-2.0

package import Events
import Logging

/// One side of a rehearsal: a subscriber's plugin in its real sandbox, with a copy of its state, and an outside that only
/// takes notes. The time is that of the events, so that two sides see the same.
package final class PluginRehearsal: Sendable {
    private let world: TrialWorld
    private let state: RehearsedState
    private let destination: LuaDestination
    private let slot = SettlementSlot()

    /// Loads the plugin, runs its `init`, and `migrate` where the state is older.
    ///
    /// - Throws: what a reload would be refused for.
    package init(
        _ binding: PluginBinding, from start: RehearsedState.Start, stateOf name: String,
        environment: @escaping @Sendable (String) -> String?
    ) async throws(PluginError) {
        var binding = binding
        // One after the other, so that two sides do the same in the same order.
        binding.concurrency = 1
        let world = TrialWorld(
            PluginTrialSettings(), secrets: binding.settings.flatMap { $0.value.secrets })
        let state = RehearsedState(start)
        self.world = world
        self.state = state
        var services = ScriptServices(
            state: state, http: world, mail: world, files: world, clock: world,
            logger: Logger(label: "rehearsal") { _ in SwiftLogNoOpLogHandler() },
            environment: environment, metric: { _, _, _ in })
        services.advance = { world.sleep($0) }
        let host = ScriptHost(services: services, lanes: 1)
        destination = try await host.load(binding)
        if let migration = try await host.migration(for: destination, from: start.version, stateOf: name) {
            state.apply(migration.writes)
        }
        let slot = slot
        destination.start { settlements in
            // The next call sees what this one wrote.
            for settlement in settlements.others { state.apply(settlement.effects?.state ?? []) }
            slot.put(settlements)
        }
    }

    /// Hands over one event, or one batch, and waits for how it ends. Of a batch whose events end differently, the worst
    /// outcome counts.
    package func handle(
        _ deliveries: [Delivery],
        answering answer: @escaping @Sendable (OutboundRequest) -> Result<OutboundResponse, OutboundFailure>
    ) async -> PluginTrial {
        let time = deliveries.last?.record.time ?? .distantPast
        world.begin(at: time, answering: answer)
        state.move(to: time)
        let before = await destination.spent
        destination.deliver(deliveries)
        var settled: [Settlement] = []
        for _ in deliveries { settled.append(await slot.next()) }
        let cpu = await destination.spent - before
        var trial = world.trial
        trial.cpu = cpu
        let worst = settled.max { $0.outcome.gravity < $1.outcome.gravity }
        trial.outcome = worst?.outcome ?? .returned
        trial.trace = worst?.trace
        trial.wasKilled = settled.contains(where: \.wasKilled)
        for settlement in settled {
            trial.effects.state += settlement.effects?.state ?? []
            trial.effects.publications += settlement.effects?.publications ?? []
        }
        return trial
    }

    package func stop() async {
        await destination.stop(.removed, deadline: .zero)
    }
}

extension Outcome {
    fileprivate var gravity: Int {
        switch self {
        case .returned, .ack: 0
        case .drop: 1
        case .retry: 2
        case .dead: 3
        }
    }
}
