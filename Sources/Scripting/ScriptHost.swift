// SPDX-License-Identifier: Apache-2.0

import Events
import Synchronization

/// Runs plugins: lanes of our own, each subscriber pinned to one.
package final class ScriptHost: Sendable {
    private let services: ScriptServices
    let lanes: Lanes

    /// - Parameter lanes: threads for Lua at most.
    package init(services: ScriptServices, lanes: Int = Limits.lanesMax) {
        self.services = services
        self.lanes = Lanes(most: lanes)
    }

    /// Loads a plugin for a subscriber, checks its settings and grants, and runs its `init`.
    ///
    /// Where its task is cancelled, `init` is stopped if it waits.
    ///
    /// - Throws: ``PluginError`` with all that is wrong; nothing of the plugin runs any more then.
    package func load(_ binding: PluginBinding) async throws(PluginError) -> LuaDestination {
        try await load(binding, services)
    }

    /// Loads a plugin into a test's own world.
    func load(_ binding: PluginBinding, world: TestWorld) async throws(PluginError) -> LuaDestination {
        var services = ScriptServices(
            state: world, http: world, mail: world, files: world, clock: world, logger: services.logger,
            environment: { _ in nil }, metric: { _, _, _ in })
        services.advance = { world.advance($0) }
        return try await load(binding, services)
    }

    /// Loads a test file; its cases are run through the runner.
    func loadTests(_ binding: PluginBinding, _ bench: PluginTestBench) async throws(PluginError) -> PluginRunner {
        let share = lanes.share()
        let services = services
        let result: Result<PluginRunner, PluginError> = await withCheckedContinuation { continuation in
            share.lane.submit {
                var problems: [PluginProblem] = []
                let state = PluginState(binding, clock: services.clock, isTest: true, problems: &problems)
                guard let state, problems.isEmpty else {
                    return continuation.resume(returning: .failure(PluginError(problems)))
                }
                let runner = PluginRunner(
                    share: share, plugin: state, binding: binding, services: services, bench: bench)
                continuation.resume(returning: .success(runner))
            }
        }
        return try result.get()
    }

    private func load(
        _ binding: PluginBinding, _ services: ScriptServices
    ) async throws(PluginError) -> LuaDestination {
        let share = lanes.share()
        let cancellation = LaneCancellation()
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation {
                (continuation: CheckedContinuation<Result<LuaDestination, PluginError>, _>) in
                share.lane.submit {
                    guard !cancellation.isCancelled else {
                        return continuation.resume(returning: .failure(PluginError(.outOfTime)))
                    }
                    var problems: [PluginProblem] = []
                    guard let state = PluginState(binding, clock: services.clock, problems: &problems),
                        problems.isEmpty
                    else {
                        return continuation.resume(returning: .failure(PluginError(problems)))
                    }
                    let runner = PluginRunner(share: share, plugin: state, binding: binding, services: services)
                    runner.initialize { problem in
                        if let problem {
                            continuation.resume(returning: .failure(PluginError(problem)))
                        } else {
                            continuation.resume(returning: .success(LuaDestination(runner)))
                        }
                    }
                    cancellation.began(on: share.lane) { runner.abandon() }
                }
            }
        } onCancel: {
            cancellation.cancel()
        }
        return try result.get()
    }

    /// What is wrong with a plugin as this subscriber uses it, found without running `init` or a handler. Blocks for as
    /// long as the plugin's files take to load, at most about a second.
    package func check(_ binding: PluginBinding) -> [PluginProblem] {
        onLane { services in
            var problems: [PluginProblem] = []
            _ = PluginState(binding, clock: services.clock, problems: &problems)
            return problems
        }
    }

    /// Runs `body` on a lane and waits for it: not for the cooperative pool's hot paths.
    func onLane<Result: Sendable>(_ body: @escaping @Sendable (ScriptServices) -> Result) -> Result {
        let found = Found<Result>()
        let done = Gate()
        let services = services
        let share = lanes.share()
        share.lane.submit {
            let result = body(services)
            found.result.withLock { $0 = result }
            done.open()
        }
        done.wait()
        withExtendedLifetime(share) {}
        return found.result.withLock { $0! }
    }

    private final class Found<Result: Sendable>: Sendable {
        let result = Mutex<Result?>(nil)
    }
}
