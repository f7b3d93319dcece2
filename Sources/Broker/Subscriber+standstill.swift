// SPDX-License-Identifier: Apache-2.0

import CoreMetrics
import Events
import Ledger

/// What keeps a subscriber from delivering though nobody paused it: a quarantine, an endpoint that is gone or down. It goes to
/// the ledger with the next change, which is the one that reports it on `$alert`.
extension Subscriber {
    func begin(_ cause: Standstill.Cause, since: Timestamp, reason: String) {
        let standstill = Standstill(cause: cause, since: since, reason: reason, fingerprint: fingerprint)
        standstills[cause] = standstill
        standstillChanges.append(.begin(standstill))
        if cause == .down { metrics.endpointDown.record(1) }
        applySettings()
    }

    /// Does nothing where it doesn't stand still for this.
    func endStandstill(_ cause: Standstill.Cause) {
        guard standstills.removeValue(forKey: cause) != nil else { return }
        standstillChanges.append(.end(cause))
        if cause == .down { metrics.endpointDown.record(0) }
    }

    func takeStandstillChanges() -> [StandstillChange] {
        defer { standstillChanges = [] }
        return standstillChanges
    }

    /// After a restart. What was about another block, plugin or endpoint is over.
    func restore(_ known: [Standstill], now: Timestamp) {
        for standstill in known {
            let isSame = standstill.fingerprint == fingerprint
            guard isSame, standstill.cause != .down || state.reopenBreaker(now: now) else {
                standstillChanges.append(.end(standstill.cause))
                continue
            }
            standstills[standstill.cause] = standstill
            if standstill.cause == .down { metrics.endpointDown.record(1) }
        }
    }
}
