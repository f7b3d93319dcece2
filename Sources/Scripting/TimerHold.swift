// SPDX-License-Identifier: Apache-2.0

/// A timer's hold on the runner that it will wake, which is let go when nobody waits for the timer any more: it may be an hour
/// until then, and the runner keeps its lane's thread. Belongs to the runner's lane.
final class TimerHold: @unchecked Sendable {
    private(set) var runner: PluginRunner?

    init(_ runner: PluginRunner) {
        self.runner = runner
    }

    func letGo() { runner = nil }
}
