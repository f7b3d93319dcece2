// SPDX-License-Identifier: Apache-2.0

import DequeModule
package import Events
import HeapModule
import Routes

/// What may start, and when something may start by itself.
extension SubscriberState {
    /// Deliveries that may start now, at most `max` and, but for the first, `maxBytes` of records; they are in flight
    /// from here on. Those whose time is over are in flight too, and ``takeOverdue()`` names them. Those that `isElsewhere`
    /// names must wait: another lane of the subscriber has them in flight, or something of their key.
    package mutating func start(
        max: Int, maxBytes: Int = .max, now: Timestamp, unless isElsewhere: ((Delivery) -> Bool)? = nil
    ) -> [Delivery] {
        guard !settings.paused, !(ready.isEmpty && retries.isEmpty) else { return [] }
        while let next = retries.first ?? ready.first, isOver(next, now), !(isElsewhere?(next) ?? false) {
            _ = begin(now)
        }
        var count = Swift.min(max, settings.inFlightMax - inFlight.count)
        switch breaker.stand(now: now) {
        case .everything: break
        case .probe: count = Swift.min(count, 1)
        case .nothing, .probing: return []
        }
        if let batch = settings.batch {
            guard inFlight.isEmpty, isBatchDue(batch, now) else { return [] }
            count = Swift.min(count, batch.count)
        }
        count = Swift.min(count, ready.count + retries.count)
        guard count > 0 else { return [] }
        if bucket != nil { count = bucket!.take(upTo: count, now: now) }
        guard count > 0 else { return [] }
        var started: [Delivery] = []
        started.reserveCapacity(count)
        var bytes = 0
        var passedOver: (retries: [Delivery], ready: [Delivery]) = ([], [])
        while started.count < count, let next = retries.first ?? ready.first {
            if let isElsewhere, isElsewhere(next) {
                guard passedOver.retries.count + passedOver.ready.count < Limits.passedOverMax else { break }
                if retries.isEmpty {
                    passedOver.ready.append(ready.removeFirst())
                } else {
                    passedOver.retries.append(retries.removeFirst())
                }
                continue
            }
            bytes += next.record.byteCount
            if bytes > maxBytes, !started.isEmpty { break }
            if let delivery = begin(now) { started.append(delivery) }
        }
        if !passedOver.retries.isEmpty { retries.prepend(contentsOf: passedOver.retries) }
        if !passedOver.ready.isEmpty { ready.prepend(contentsOf: passedOver.ready) }
        if let first = started.first { breaker.started(first.id) }
        if started.count < count { bucket?.putBack(count - started.count) }
        return started
    }

    /// Puts the next delivery in flight; nil where its time is over.
    private mutating func begin(_ now: Timestamp) -> Delivery? {
        guard var delivery = retries.popFirst() ?? ready.popFirst() else { return nil }
        delivery.began = now
        delivery.generation = generation
        inFlight[delivery.id] = delivery
        if settings.ordered, let key = delivery.record.key { inFlightKeys.insert(key) }
        guard isOver(delivery, now) else { return delivery }
        overdue.append(delivery.id)
        return nil
    }

    /// A batch starts when it is full, when its oldest record has waited for the interval, or when no more can be held.
    private func isBatchDue(_ batch: BatchPolicy, _ now: Timestamp) -> Bool {
        if ready.count + retries.count >= batch.count || !retries.isEmpty || !hasRoom { return true }
        if settings.isHistory { return behind(now: now) == nil }
        return batchDue(batch).map { $0 <= now } ?? false
    }

    private func batchDue(_ batch: BatchPolicy) -> Timestamp? {
        ready.first.map { $0.record.time + batch.every }
    }

    /// The next moment at which something changes by itself; nil: only when something comes in, or while it is paused.
    /// `canStart` is false while another lane keeps this one from starting anything.
    package func wake(now: Timestamp, canStart: Bool = true) -> Timestamp? {
        guard !settings.paused else { return nil }
        let isAnythingReady = !(ready.isEmpty && retries.isEmpty)
        // What is due waits for room, which comes with the next settlement.
        var mayRead = readable > 0
        var wake = [mayRead ? dueTimes.min?.time : nil, suspended.lazy.map(\.due).min()].compactMap { $0 }.min()
        switch breaker.stand(now: now) {
        case .everything: break
        // Retries stay where they are: see `takeDue`.
        case .nothing(let until): return isAnythingReady || wake != nil ? until : nil
        case .probing: return nil
        case .probe:
            if isAnythingReady || isReadingProbe {
                wake = nil
                mayRead = false
            }
        }
        func consider(_ time: Timestamp?) {
            if let time { wake = wake.map { min($0, time) } ?? time }
        }
        if mayRead { consider(schedule.min?.time) }
        if settings.deliverAfter != nil {
            for feed in feeds.values { if let time = feed.notBefore, time > now { consider(time) } }
        }
        guard isAnythingReady, canStart else { return wake }
        if let batch = settings.batch, inFlight.isEmpty, !settings.isHistory { consider(batchDue(batch)) }
        if inFlight.count < settings.inFlightMax { consider(rateWake(after: now)) }
        return wake
    }
}
