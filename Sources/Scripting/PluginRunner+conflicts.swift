// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events
import Logging

extension PluginRunner {
    /// Whether a call that has ended must run again: it has effects, and what it read was changed by a call that was
    /// settled since. A call without effects changes nothing, whatever it has seen.
    func isOutdated(_ call: PluginCall) -> Bool {
        if call.isOutdated { return true }
        guard binding.concurrency > 1, let overlay = call.overlay, call.effects != nil, history.hasOvertaken(overlay)
        else { return false }
        call.isOutdated = true
        services.logger.debug(
            "Handler runs again: its state was changed meanwhile", metadata: ["subscriber": "\(binding.subscriber)"])
        return true
    }

    /// Runs what was overtaken by another call, with nothing beside it: this time nobody can overtake it.
    func beginOutdated() -> Bool {
        guard calls.isEmpty, stopping == nil else { return false }
        runsAlone = false
        guard !outdated.isEmpty else { return true }
        runsAlone = true
        let slice = outdated.removeFirst()
        let events = nativeEvents(slice)
        if plugin.takesBatches {
            callCount += 1
            let call = PluginCall(id: callCount, kind: .batch, deliveries: slice, started: Lane.now())
            process(fl_lua_run_batch(lua, events, events.count, callCount)!, slice, call)
        } else {
            withExtendedLifetime(slice) {
                process(fl_lua_run(lua, events, events.count, Limits.laneTurnNanoseconds)!, slice)
            }
        }
        return true
    }
}
