// SPDX-License-Identifier: Apache-2.0

package import Events

extension ScriptHost {
    /// What has to be done to a subscriber's state before this plugin may work on it; nil where nothing has.
    ///
    /// `migrate` runs on the state as it is now, which nobody may write until the migration is applied or given up: a plugin
    /// that is replaced is held before (``LuaDestination/quiesce()``). Where its task is cancelled, `migrate` is stopped.
    ///
    /// - Parameters:
    ///   - stored: the version in the ledger.
    ///   - name: the subscriber whose state it is: one that is being renamed still has its old name.
    package func migration(
        for destination: LuaDestination, from stored: Int?, stateOf name: String
    ) async throws(PluginError) -> StateMigration? {
        let runner = destination.runner
        let cancellation = LaneCancellation()
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation {
                (continuation: CheckedContinuation<Result<StateMigration?, PluginError>, _>) in
                runner.lane.submit {
                    guard !cancellation.isCancelled else {
                        return continuation.resume(returning: .failure(PluginError(.outOfTime)))
                    }
                    let from = stored ?? 1
                    let to = runner.plugin.stateVersion
                    if from == to { return continuation.resume(returning: .success(nil)) }
                    do {
                        let some = try runner.services.state.values(subscriber: name, prefix: "", after: nil, limit: 1)
                        if some.isEmpty {
                            return continuation.resume(returning: .success(StateMigration(version: to, writes: [])))
                        }
                    } catch {
                        return continuation.resume(
                            returning: .failure(
                                PluginError(PluginProblem(message: "the state can't be read: \(error)"))))
                    }
                    if let problem = Self.problem(from, to, runner) {
                        return continuation.resume(returning: .failure(PluginError(problem)))
                    }
                    runner.migrate(from: from, stateOf: name) { result in
                        continuation.resume(returning: result.map { StateMigration(version: to, writes: $0) })
                    }
                    cancellation.began(on: runner.lane) { runner.abandon() }
                }
            }
        } onCancel: {
            cancellation.cancel()
        }
        return try result.get()
    }

    private static func problem(_ from: Int, _ to: Int, _ runner: PluginRunner) -> PluginProblem? {
        let file = PluginSource.chunkName(runner.binding.source.entry)
        let subscriber = runner.binding.subscriber
        if to < from {
            return PluginProblem(
                file: file,
                message:
                    "the state of subscriber \"\(subscriber)\" has version \(from), and this plugin's state_version is \(to)",
                remedy:
                    "bring the newer plugin back, or remove the state with `fairlead state delete \(subscriber) KEY`")
        }
        if !runner.plugin.hasMigrate {
            return PluginProblem(
                file: file, message: "state_version rose from \(from) to \(to), and the plugin has no migrate",
                remedy: "add migrate = function(state, from) … end to its table")
        }
        return nil
    }
}
