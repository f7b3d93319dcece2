// SPDX-License-Identifier: Apache-2.0

import DequeModule
import Events
import HeapModule
import Ledger

/// The leases of one pull subscriber, in the batches in which they were granted: one for each answer to a pull. Pure.
struct LeaseTable {
    private struct Batch {
        var deliveries: [DeliveryID]
        /// What became of each; nil while it holds.
        var ends: [LeaseResult?]
        var live: Int
        var expires: Timestamp
        /// The latest expiry of any.
        var latest: Timestamp
        /// Of leases that were extended.
        var extended: [Int: Timestamp] = [:]
        var runs: [LeaseRow.Run]

        func expiry(of index: Int) -> Timestamp { extended[index] ?? expires }
    }

    private struct Expiry: Comparable {
        var time: Timestamp
        var batch: UInt64

        static func < (a: Expiry, b: Expiry) -> Bool { a.time < b.time }
    }

    private var batches: [UInt64: Batch] = [:]
    private var expiries = Heap<Expiry>()
    /// Batches that are over, the oldest first, so that whoever settles twice or too late is told which.
    private var over: Deque<UInt64> = []
    private var ends: [UInt64: [LeaseResult?]] = [:]
    private var remembered = 0
    /// Leases that hold.
    private(set) var count = 0
    /// What the ledger is to be told with the next change.
    private var changes: [UInt64: LeaseChange] = [:]

    /// Leases what one pull is given; its row is to be written before it is told.
    mutating func grant(_ deliveries: [Delivery], batch: UInt64, until expires: Timestamp) -> LeaseRow {
        let runs = Self.runs(deliveries)
        put(
            batch,
            Batch(
                deliveries: deliveries.map(\.id), ends: Array(repeating: nil, count: deliveries.count),
                live: deliveries.count, expires: expires, latest: expires, runs: runs))
        return LeaseRow(id: batch, expires: expires, runs: runs)
    }

    /// Puts back what was leased before a restart; `deliveries` has nil for leases that are over.
    mutating func restore(_ row: LeaseRow, _ deliveries: [DeliveryID?]) {
        let live = deliveries.count { $0 != nil }
        guard live > 0, let any = deliveries.lazy.compactMap({ $0 }).first else {
            changes[row.id] = .remove(row.id)
            return
        }
        put(
            row.id,
            Batch(
                deliveries: deliveries.map { $0 ?? any }, ends: deliveries.map { $0 == nil ? .settled : nil },
                live: live,
                expires: row.expires, latest: row.expires, runs: row.runs))
    }

    private mutating func put(_ id: UInt64, _ batch: Batch) {
        batches[id] = batch
        count += batch.live
        expiries.insert(Expiry(time: batch.expires, batch: id))
    }

    private static func runs(_ deliveries: [Delivery]) -> [LeaseRow.Run] {
        var runs: [LeaseRow.Run] = []
        for delivery in deliveries {
            let (topic, offset) = (delivery.record.topic.name, delivery.record.offset)
            if let last = runs.last, last.first + Offset(last.count) == offset, last.attempt == delivery.attempt,
                last.replay == delivery.replay, last.topic == topic
            {
                runs[runs.count - 1].count += 1
            } else {
                runs.append(
                    .init(topic: topic, first: offset, count: 1, attempt: delivery.attempt, replay: delivery.replay))
            }
        }
        return runs
    }

    enum End {
        /// It held until now.
        case delivery(DeliveryID)
        case not(LeaseResult)
    }

    /// Ends the lease, as its client has settled it.
    mutating func end(_ id: LeaseID) -> End {
        guard let place = batches.index(forKey: id.batch) else { return .not(past(id)) }
        guard id.index < batches.values[place].ends.count else { return .not(.unknown) }
        if let end = batches.values[place].ends[id.index] { return .not(end) }
        batches.values[place].ends[id.index] = .settled
        batches.values[place].live -= 1
        count -= 1
        let delivery = batches.values[place].deliveries[id.index]
        if batches.values[place].live == 0 { finish(id.batch) }
        return .delivery(delivery)
    }

    /// What became of a lease that is over.
    private func past(_ id: LeaseID) -> LeaseResult {
        guard let ends = ends[id.batch], id.index < ends.count else { return .unknown }
        return ends[id.index] ?? .unknown
    }

    mutating func extend(_ id: LeaseID, until expires: Timestamp) -> LeaseResult {
        guard let place = batches.index(forKey: id.batch) else { return past(id) }
        guard id.index < batches.values[place].ends.count else { return .unknown }
        if let end = batches.values[place].ends[id.index] { return end }
        batches.values[place].extended[id.index] = expires
        if batches.values[place].latest < expires {
            batches.values[place].latest = expires
            expiries.insert(Expiry(time: expires, batch: id.batch))
            changes[id.batch] = .put(LeaseRow(id: id.batch, expires: expires, runs: batches.values[place].runs))
        }
        return .done
    }

    /// Ends the leases that have run out.
    mutating func expire(now: Timestamp) -> [DeliveryID] {
        var expired: [DeliveryID] = []
        while let next = expiries.min, next.time <= now {
            expiries.removeMin()
            guard var batch = batches[next.batch] else { continue }
            for index in batch.ends.indices where batch.ends[index] == nil && batch.expiry(of: index) <= now {
                batch.ends[index] = .expired
                batch.live -= 1
                count -= 1
                expired.append(batch.deliveries[index])
            }
            batches[next.batch] = batch
            if batch.live == 0 { finish(next.batch) }
        }
        return expired
    }

    var nextExpiry: Timestamp? { count == 0 ? nil : expiries.min?.time }

    /// Gives all leases back, for a subscriber that no longer pulls.
    mutating func endAll() -> [DeliveryID] {
        var returned: [DeliveryID] = []
        for (id, batch) in batches {
            for (delivery, end) in zip(batch.deliveries, batch.ends) where end == nil { returned.append(delivery) }
            batches[id]!.ends = batch.ends.map { $0 ?? .expired }
            finish(id)
        }
        count = 0
        return returned
    }

    private mutating func finish(_ id: UInt64) {
        guard let batch = batches.removeValue(forKey: id) else { return }
        changes[id] = .remove(id)
        over.append(id)
        ends[id] = batch.ends
        remembered += batch.ends.count
        while remembered > Limits.endedLeasesKept, let oldest = over.popFirst() {
            remembered -= ends.removeValue(forKey: oldest)?.count ?? 0
        }
    }

    mutating func takeChanges() -> [LeaseChange] {
        defer { changes.removeAll(keepingCapacity: true) }
        return Array(changes.values)
    }
}
