// SPDX-License-Identifier: Apache-2.0

import Events

#if canImport(Glibc)
    import Glibc
#endif
import Synchronization

/// Runs plugins: lanes of our own, each subscriber pinned to one.
package final class ScriptHost: Sendable {
    private let services: ScriptServices
    private let lanes: [Lane]
    private let next = Mutex(0)

    /// - Parameter lanes: threads for Lua; by default half of the processors, so that a busy script leaves room.
    package init(services: ScriptServices, lanes: Int? = nil) {
        self.services = services
        let processors = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        self.lanes = (0..<max(1, lanes ?? processors / 2)).map { Lane(name: "lua-\($0)") }
    }

    deinit {
        for lane in lanes { lane.close() }
    }

    /// Loads a plugin for a subscriber, checks its settings and grants, and runs its `init`.
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
        let lane = pick()
        let services = services
        let result: Result<PluginRunner, PluginError> = await withCheckedContinuation { continuation in
            lane.submit {
                var problems: [PluginProblem] = []
                let state = PluginState(binding, clock: services.clock, isTest: true, problems: &problems)
                guard let state, problems.isEmpty else {
                    return continuation.resume(returning: .failure(PluginError(problems)))
                }
                let runner = PluginRunner(
                    lane: lane, plugin: state, binding: binding, services: services, bench: bench)
                continuation.resume(returning: .success(runner))
            }
        }
        return try result.get()
    }

    private func load(
        _ binding: PluginBinding, _ services: ScriptServices
    ) async throws(PluginError) -> LuaDestination {
        let lane = pick()
        let result: Result<LuaDestination, PluginError> = await withCheckedContinuation { continuation in
            lane.submit {
                var problems: [PluginProblem] = []
                guard let state = PluginState(binding, clock: services.clock, problems: &problems), problems.isEmpty
                else {
                    return continuation.resume(returning: .failure(PluginError(problems)))
                }
                let runner = PluginRunner(lane: lane, plugin: state, binding: binding, services: services)
                runner.initialize { problem in
                    if let problem {
                        continuation.resume(returning: .failure(PluginError(problem)))
                    } else {
                        continuation.resume(returning: .success(LuaDestination(runner)))
                    }
                }
            }
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
        pick().submit {
            let result = body(services)
            found.result.withLock { $0 = result }
            done.open()
        }
        done.wait()
        return found.result.withLock { $0! }
    }

    private final class Found<Result: Sendable>: Sendable {
        let result = Mutex<Result?>(nil)
    }

    private func pick() -> Lane {
        lanes[
            next.withLock { next in
                next = (next + 1) % lanes.count
                return next
            }]
    }
}
