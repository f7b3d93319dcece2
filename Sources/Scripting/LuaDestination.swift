// SPDX-License-Identifier: Apache-2.0

package import Events

/// A subscriber's plugin, loaded and ready.
package final class LuaDestination: Destination {
    let runner: PluginRunner

    init(_ runner: PluginRunner) {
        self.runner = runner
    }

    var lane: Lane { runner.lane }

    package func start(settle: @escaping @Sendable (Settlements) -> Void) {
        runner.lane.submit { [runner] in runner.start(settle) }
    }

    package func deliver(_ deliveries: [Delivery]) {
        runner.lane.submit { [runner] in runner.take(deliveries) }
    }

    package func stop(_ reason: StopReason, deadline: Duration) async {
        await withCheckedContinuation { continuation in
            runner.lane.submit { [runner] in
                runner.stop(reason, deadline: deadline) { continuation.resume() }
            }
        }
    }
}
