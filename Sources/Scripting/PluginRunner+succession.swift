// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events

/// How one instance of a subscriber's plugin follows another. Two of them never work at the same time: what the old one
/// writes to the state when it ends would be unknown to the new one.
extension PluginRunner {
    /// Begins nothing before `predecessor` has stopped and everything it wrote is settled.
    func follow(_ predecessor: PluginRunner) {
        self.predecessor = predecessor
        awaitPredecessor()
    }

    private func awaitPredecessor() {
        guard let predecessor, !isAwaitingPredecessor else { return }
        isAwaitingPredecessor = true
        predecessor.lane.submit { [lane] in
            predecessor.notify(ObjectIdentifier(self)) {
                lane.submit {
                    self.predecessor = nil
                    self.isAwaitingPredecessor = false
                    self.tellIfQuiet()
                    self.goOn()
                }
            }
        }
    }

    /// It has stopped: where nobody follows it in turn, the predecessor, which may run on for months where a reload was
    /// refused, need not keep it.
    func leavePredecessor() {
        guard let predecessor, isAwaitingPredecessor, whenQuiet.isEmpty else { return }
        isAwaitingPredecessor = false
        let name = ObjectIdentifier(self)
        predecessor.lane.submit { predecessor.whenQuiet[name] = nil }
    }

    /// Calls `body` once when nothing of it runs or will, nor of those it follows.
    private func notify(_ follower: ObjectIdentifier, _ body: @escaping @Sendable () -> Void) {
        whenQuiet[follower] = body
        // A follower may come when it has already left its own predecessor.
        awaitPredecessor()
        tellIfQuiet()
    }

    func tellIfQuiet() {
        guard stopped, !isFollowing else { return }
        let waiting = whenQuiet
        whenQuiet = [:]
        for body in waiting.values { body() }
    }

    private func goOn() {
        if !stopped { turn() }
    }

    /// Ends what ``quiesce(_:)`` began.
    func resume() {
        isHeld = false
        goOn()
    }

    /// Holds it, and calls `done` when the calls under way have ended and what they wrote is settled: none outlives its
    /// timeout.
    func quiesce(_ done: @escaping @Sendable () -> Void) {
        isHeld = true
        if calls.isEmpty { return done() }
        whenIdle.append(done)
    }

    /// Ends `init` or `migrate`: whoever wanted to know how it ends has no more time.
    func abandon() {
        for (slot, call) in calls { expire(call, slot, "the time for loading the new configuration is over") }
    }

    func tellIdle() {
        let waiting = whenIdle
        whenIdle = []
        for body in waiting { body() }
    }

    /// Runs `migrate` on the state of `subscriber` as it is; `done` gets what it would write. Nothing is written.
    func migrate(
        from version: Int, stateOf subscriber: String,
        _ done: @escaping @Sendable (Result<[StateWrite], PluginError>) -> Void
    ) {
        callCount += 1
        let packed = PackedValue.array([.integer(Int64(version))]).packed()
        let call = PluginCall(id: callCount, kind: .migration(done), deliveries: [], started: Lane.now())
        call.timeout = Limits.pluginMigrateTimeout
        call.overlay = StateOverlay(subscriber: subscriber, reader: unsettled)
        fl_lua_set_time(lua, services.clock.now().milliseconds)
        process(fl_lua_call(lua, Int32(FL_CALL_MIGRATE), packed, packed.count, callCount)!, [], call)
        turn()
    }
}
