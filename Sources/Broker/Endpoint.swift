// SPDX-License-Identifier: Apache-2.0

import CoreMetrics
import Events
import Ledger
import Logging
import Routes

extension BrokerCore {
    /// Acts on what settlements say of a subscriber's endpoint, beside what became of the deliveries: takes over the rate it
    /// allows, pauses the subscriber of one that is gone, and reports one that goes down or comes back.
    func watchEndpoint(_ subscriber: Subscriber, _ settlements: Settlements) {
        if let allowance = settlements.allowance {
            subscriber.state.allow(allowance.requestsPerMinute.map { Rate(count: $0, per: .seconds(60)) })
        }
        let now = clock.now()
        if subscriber.standstills[.gone] == nil, settlements.others.contains(where: { $0.endpoint == .gone }) {
            subscriber.begin(.gone, since: now, reason: subscriber.lastError ?? "")
            alert(
                subscriber, "gone",
                remedy: "push to where it is now and reload, or remove the subscriber; `fairlead resume` tries again")
        }
        switch (subscriber.standstills[.down], subscriber.state.breaker.isOpen) {
        case (nil, true):
            subscriber.begin(.down, since: now, reason: subscriber.lastError ?? "")
            subscriber.metrics.outages.increment()
            alert(subscriber, "down", remedy: "events are kept, and one at a time is tried; nothing need be done here")
        case (let outage?, false):
            subscriber.endStandstill(.down)
            alert(subscriber, "back", after: now - outage.since)
        default: break
        }
    }

    private func alert(_ subscriber: Subscriber, _ what: String, after: Duration? = nil, remedy: String? = nil) {
        let reason = what == "back" ? nil : subscriber.lastError
        log.warning(
            "Endpoint is \(what)",
            metadata: ["subscriber": "\(subscriber.name)", "reason": "\(reason ?? "it answers as it should")"])
        let alert = EndpointAlert(
            subscriber: subscriber.name, reason: reason, downSeconds: after.map { $0.milliseconds / 1_000 },
            remedy: remedy)
        self.alert("fairlead.endpoint.\(what)", as: "endpoint-\(what)", subscriber: subscriber.name, alert)
    }

    private struct EndpointAlert: Encodable {
        var subscriber: String
        var reason: String?
        /// How long it was down.
        var downSeconds: Int64?
        var remedy: String?
    }
}
