// SPDX-License-Identifier: Apache-2.0

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
        services.logger.debug("Handler runs again: its state was changed meanwhile", metadata: ["subscriber": "\(binding.subscriber)"])
        return true
    }
}
