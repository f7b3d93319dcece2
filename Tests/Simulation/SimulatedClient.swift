// SPDX-License-Identifier: Apache-2.0

import Events
import Synchronization

/// Leases that a pulling client believes it has, over the broker's crashes.
final class SimulatedClient: Sendable {
    struct Held {
        var lease: String
        var id: DeliveryID
        var expires: Timestamp
        var isReplay: Bool
        /// What the ledger lost of it, it may not know.
        var isVoid = false
    }

    let held = Mutex<[Held]>([])
    let granted = Mutex(0)
}
