// SPDX-License-Identifier: Apache-2.0

package import Events

/// A subscriber's plugin, loaded and ready.
package final class LuaDestination: Destination {
    let runner: PluginRunner

    init(_ runner: PluginRunner) {
        self.runner = runner
    }

    var lane: Lane { runner.lane }

    /// Of the state that the plugin keeps.
    package var stateVersion: Int { runner.plugin.stateVersion }

    /// What the plugin calls itself; nil where its table says nothing.
    package var version: String? { runner.plugin.manifest.pluginVersion }

    package func start(settle: @escaping @Sendable (Settlements) -> Void) {
        runner.lane.submit { [runner] in runner.start(settle) }
    }

    package func deliver(_ deliveries: [Delivery]) {
        runner.lane.submit { [runner] in runner.take(deliveries) }
    }

    /// Takes over from `old`: what is delivered waits until that has stopped.
    package func follow(_ old: LuaDestination) {
        runner.lane.submit { [runner] in runner.follow(old.runner) }
    }

    /// Begins nothing new and waits for what is under way, at most for the subscriber's timeout, or until its task is
    /// cancelled.
    package func quiesce() async {
        let runner = runner
        let cancellation = LaneCancellation()
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                runner.lane.submit {
                    runner.quiesce { continuation.resume() }
                    cancellation.began(on: runner.lane) { runner.tellIdle() }
                }
            }
        } onCancel: {
            cancellation.cancel()
        }
    }

    /// Ends what ``quiesce()`` began.
    package func resume() {
        runner.lane.submit { [runner] in runner.resume() }
    }

    package func stop(_ reason: StopReason, deadline: Duration) async {
        await withCheckedContinuation { continuation in
            runner.lane.submit { [runner] in
                runner.stop(reason, deadline: deadline) { continuation.resume() }
            }
        }
    }
}
