// SPDX-License-Identifier: Apache-2.0

import DequeModule
import HeapModule
package import Events
import Ledger
import Routes

/// A pull request that waits for something to come.
struct WaitingPull {
    var id: UInt64
    var max: Int
    var until: Timestamp
    var reply: @Sendable (Result<[Lease], Failure>) -> Void
}

extension BrokerCore {
    package func pull(
        _ name: String, max: Int, wait: Duration, reply: @escaping @Sendable (Result<[Lease], Failure>) -> Void
    ) -> UInt64? {
        guard let subscriber = subscribers[name] else {
            reply(.failure(unknownSubscriber(name)))
            return nil
        }
        guard case .pull = subscriber.route.delivery else {
            reply(
                .failure(
                    Failure(
                        .conflict,
                        "subscriber \"\(name)\" is delivered to by `\(subscriber.route.methodName)`; "
                            + "to pull from it, give it a `pull` line in routes.conf")))
            return nil
        }
        guard !isDraining else {
            reply(.failure(Failure(.overloaded, "fairlead is shutting down; pull again when it is back")))
            return nil
        }
        guard pollers < bounds.pollersMax else {
            reply(.failure(Failure(.overloaded, "\(bounds.pollersMax) requests are waiting already; try again later")))
            return nil
        }
        nextLease += 1
        let waiting = WaitingPull(
            id: nextLease, max: max, until: clock.now() + min(wait, Limits.pollWaitMax), reply: reply)
        pollers += 1
        subscriber.waitingPulls.append(waiting)
        dispatch(subscriber)
        return waiting.id
    }

    /// Whoever asked has gone away: nothing is leased to it.
    func cancelPull(_ name: String, _ id: UInt64) {
        guard let subscriber = subscribers[name],
            let index = subscriber.waitingPulls.firstIndex(where: { $0.id == id })
        else { return }
        pollers -= 1
        subscriber.waitingPulls.remove(at: index).reply(.success([]))
    }

    /// Gives waiting pulls what may start, the oldest first; ends those that have waited long enough.
    func servePulls(_ subscriber: Subscriber, _ now: Timestamp) {
        guard case .pull(let lease) = subscriber.route.delivery else { return }
        while let waiting = subscriber.waitingPulls.first {
            // What is live goes first; history fills up what is left.
            var started = subscriber.startLive(max: waiting.max, maxBytes: Limits.pullBytesMax, now: now)
            if started.count < waiting.max, !subscriber.history.isEmpty {
                let bytes = started.reduce(0) { $0 + $1.record.byteCount }
                started += subscriber.startHistory(
                    max: waiting.max - started.count, maxBytes: Limits.pullBytesMax - bytes, now: now)
            }
            guard !started.isEmpty || waiting.until <= now || isDraining else { break }
            subscriber.waitingPulls.removeFirst()
            pollers -= 1
            subscriber.metrics.started(started.count)
            if started.isEmpty {
                waiting.reply(.success([]))
            } else {
                grant(started, to: waiting, of: subscriber, until: now + lease)
            }
        }
        // One that came later may have waited less long.
        var index = 0
        while index < subscriber.waitingPulls.count {
            if subscriber.waitingPulls[index].until <= now {
                pollers -= 1
                subscriber.waitingPulls.remove(at: index).reply(.success([]))
            } else {
                index += 1
            }
        }
        if let next = subscriber.waitingPulls.map(\.until).min() { wake(subscriber, at: next) }
    }

    /// The client has its leases when they are in the ledger: were the process killed in between, nobody had them.
    /// Written, not synced: a power cut costs a redelivery, and so does a kill while the ledger's disk is full.
    private func grant(
        _ deliveries: [Delivery], to waiting: WaitingPull, of subscriber: Subscriber, until expires: Timestamp
    ) {
        nextLease += 1
        let batch = nextLease
        var change = LedgerChange(subscriber: subscriber.name)
        change.leases = [.put(subscriber.leases.grant(deliveries, batch: batch, until: expires))]
        commit(change) { result in
            waiting.reply(
                result.map { _ in
                    let prefix = String(batch, radix: 36) + "-"
                    return deliveries.enumerated().map { index, delivery in
                        Lease(id: prefix + String(index), delivery: delivery, expires: expires)
                    }
                })
        }
    }

    /// Settlements are answered at once: one that is lost costs a redelivery. An extension is written first, since its
    /// client goes by it.
    package func settleLeases(
        _ name: String, _ requests: [LeaseSettlement],
        reply: @escaping @Sendable (Result<[LeaseResult], Failure>) -> Void
    ) {
        guard let subscriber = subscribers[name] else { return reply(.failure(unknownSubscriber(name))) }
        guard case .pull(let leaseTime) = subscriber.route.delivery else {
            return reply(
                .failure(Failure(.conflict, "subscriber \"\(name)\" is not a pull subscriber: it has no leases")))
        }
        guard !subscriber.isHandedOver else {
            return reply(
                .failure(Failure(.overloaded, "subscriber \"\(name)\" is getting another name; settle again")))
        }
        let now = clock.now()
        expireLeases(subscriber, now)
        var settlements = Settlements()
        var isExtended = false
        var results: [LeaseResult] = []
        results.reserveCapacity(requests.count)
        for request in requests {
            guard let lease = request.id else {
                results.append(.unknown)
                continue
            }
            if case .extend = request.action {
                results.append(subscriber.leases.extend(lease, until: now + leaseTime))
                isExtended = true
                continue
            }
            let delivery: DeliveryID
            switch subscriber.leases.end(lease) {
            case .delivery(let ended): delivery = ended
            case .not(let result):
                results.append(result)
                continue
            }
            switch request.action {
            case .ack: settlements.acks.append(delivery)
            case .retry(let after, let reason):
                settlements.others.append(Settlement(delivery, .retry(after: after, reason: reason)))
            case .dead(let reason): settlements.others.append(Settlement(delivery, .dead(reason: reason)))
            case .extend: break
            }
            results.append(.done)
        }
        if isExtended {
            var change = LedgerChange(subscriber: name)
            change.leases = subscriber.leases.takeChanges()
            let answer = results
            commit(change) { reply($0.map { _ in answer }) }
        }
        settle(subscriber, settlements)
        if !isExtended { reply(.success(results)) }
    }

    /// A lease that ran out is a failed attempt: whoever held it has had its chance, and the next may try at once.
    func expireLeases(_ subscriber: Subscriber, _ now: Timestamp) {
        let expired = subscriber.leases.expire(now: now)
        guard !expired.isEmpty else { return }
        settle(
            subscriber,
            Settlements(others: expired.map { Settlement($0, .retry(after: .zero, reason: "the lease ran out")) }))
    }

    func unknownSubscriber(_ name: String) -> Failure {
        Failure(.unknownSubscriber, "no subscriber \"\(name)\" in routes.conf")
    }
}
