// SPDX-License-Identifier: Apache-2.0

import DequeModule
import HeapModule
import Events

/// The leases of one pull subscriber. Pure.
struct LeaseTable {
    private var leases: [UInt64: (delivery: DeliveryID, expires: Timestamp)] = [:]
    private var expiries = Heap<Expiry>()

    private struct Expiry: Comparable {
        var time: Timestamp
        var lease: UInt64

        static func < (a: Expiry, b: Expiry) -> Bool { a.time < b.time }
    }

    var count: Int { leases.count }

    mutating func grant(_ delivery: DeliveryID, lease: UInt64, until expires: Timestamp) {
        leases[lease] = (delivery, expires)
        expiries.insert(Expiry(time: expires, lease: lease))
    }

    /// Ends the lease; nil where it has ended before.
    mutating func end(_ lease: UInt64) -> DeliveryID? {
        leases.removeValue(forKey: lease)?.delivery
    }

    mutating func extend(_ lease: UInt64, until expires: Timestamp) -> Bool {
        guard leases[lease] != nil else { return false }
        leases[lease]!.expires = expires
        expiries.insert(Expiry(time: expires, lease: lease))
        return true
    }

    /// Ends the leases that have run out.
    mutating func expire(now: Timestamp) -> [DeliveryID] {
        var expired: [DeliveryID] = []
        while let next = expiries.min, next.time <= now {
            expiries.removeMin()
            // An extended lease has a later entry as well.
            guard let lease = leases[next.lease], lease.expires <= now else { continue }
            leases[next.lease] = nil
            expired.append(lease.delivery)
        }
        return expired
    }

    var nextExpiry: Timestamp? { leases.isEmpty ? nil : expiries.min?.time }

    /// Gives all leases back, for a subscriber that no longer pulls.
    mutating func endAll() -> [DeliveryID] {
        defer { self = LeaseTable() }
        return leases.values.map(\.delivery)
    }
}
