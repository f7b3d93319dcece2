// SPDX-License-Identifier: Apache-2.0

import Events

/// At least what a subscriber keeps: what the reader said last, and all that was written since. So the reader is asked only
/// where a limit may be near. Belongs to the lane.
struct StateUsageEstimate {
    private var known: StateUsage?

    /// The usage as it is where `bytes` more might be too many; nil where they are not.
    mutating func usage(adding bytes: Int, _ ask: () throws -> StateUsage) rethrows -> StateUsage? {
        if var estimate = known {
            estimate.entries += 1
            estimate.bytes += bytes
            known = estimate
            if estimate.entries <= Limits.stateEntriesMax, estimate.bytes <= Limits.stateBytesMax { return nil }
        }
        let actual = try ask()
        known = actual
        return actual
    }
}

extension PluginRunner {
    /// Why a value of `bytes` can't be kept under `key`; nil where it can. Against what is committed: calls that run beside
    /// each other may together go beyond by what they write.
    func refusal(ofKeeping bytes: Int, under key: String, _ call: PluginCall) throws -> String? {
        let size = bytes + key.utf8.count
        let asked = try usage.usage(adding: size) { try services.state.usage(subscriber: binding.subscriber) }
        guard let usage = asked else { return nil }
        let remedy = "delete what isn't needed any more, or let it expire with ttl"
        if usage.entries >= Limits.stateEntriesMax, try call.overlay!.isMissing(key) {
            return
                "the state of \(binding.subscriber) has \(usage.entries) entries; the limit is \(Limits.stateEntriesMax): \(remedy)"
        }
        if usage.bytes + size > Limits.stateBytesMax, try size > call.overlay!.size(of: key) {
            return
                "the state of \(binding.subscriber) has \(usage.bytes) bytes, and \(size) more are beyond the limit of \(Limits.stateBytesMax): \(remedy)"
        }
        return nil
    }
}
