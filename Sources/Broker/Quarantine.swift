// SPDX-License-Identifier: Apache-2.0

import Events
import Ledger
import Logging

extension BrokerCore {
    /// Counts how often in a row the host had to stop a subscriber's script. One that does nothing but run into its limits
    /// costs the whole machine processor time for nothing, so it is paused and reported; a reload that changes it, or
    /// somebody who resumes it, lets it go on. Running out of `timeout` doesn't count: a slow endpoint is no fault of
    /// the script.
    func countKills(_ subscriber: Subscriber, _ settlements: Settlements) {
        var reason: String?
        for settlement in settlements.others {
            if settlement.wasKilled {
                subscriber.kills += 1
                if case .retry(_, let text) = settlement.outcome { reason = text }
            } else if settlement.outcome != .returned {
                subscriber.kills = 0
            }
        }
        // Acks come apart from the rest, so that their order is not known: any of them is a sign of life.
        if !settlements.acks.isEmpty { subscriber.kills = 0 }
        guard subscriber.kills >= Limits.quarantineKills, subscriber.standstills[.quarantine] == nil, let reason else {
            return
        }
        subscriber.begin(.quarantine, since: clock.now(), reason: reason)
        log.error(
            "Subscriber is quarantined: its plugin was stopped again and again",
            metadata: ["subscriber": "\(subscriber.name)", "kills": "\(subscriber.kills)", "reason": "\(reason)"])
        let alert = Alert(
            subscriber: subscriber.name, kills: subscriber.kills, reason: reason,
            remedy: "mend the plugin or raise its `limits`, and reload; or `fairlead resume \(subscriber.name)`")
        self.alert("fairlead.subscriber.quarantined", as: "quarantine", subscriber: subscriber.name, alert)
    }

    private struct Alert: Encodable {
        var subscriber: String
        /// In a row.
        var kills: Int
        var reason: String
        var remedy: String
    }
}
