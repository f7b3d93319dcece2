// SPDX-License-Identifier: Apache-2.0

import Events
import Ledger
import Routes

extension BrokerCore {
    func status(started: Timestamp) -> BrokerStatus {
        let now = clock.now()
        let table = generation?.table
        return BrokerStatus(
            generation: generation?.number ?? 0, started: started,
            topics: (table?.topics ?? []).map { route in
                let bounds = engine.bounds(of: Topic.named(route.name))
                return TopicStatus(name: route.name, first: bounds.first, end: bounds.end, bytes: bounds.bytes)
            },
            subscribers: (table?.subscribers ?? []).compactMap { route in
                subscribers[route.name].map { status(of: $0, now) }
            })
    }

    private func status(of subscriber: Subscriber, _ now: Timestamp) -> SubscriberStatus {
        let state = subscriber.state
        let unread = state.unread
        let lanes = subscriber.lanes.map(\.state)
        let stands =
            if subscriber.isQuarantined {
                "quarantined"
            } else if state.settings.paused {
                "paused"
            } else if !state.hasRoom && state.deferred.count >= Limits.deferredMax {
                "stalled"
            } else if unread > 0 {
                "behind"
            } else {
                "live"
            }
        return SubscriberStatus(
            name: subscriber.name, method: subscriber.route.methodName, state: stands,
            backlog: lanes.reduce(0) { $0 + $1.unsettled + $1.unread },
            inFlight: lanes.reduce(0) { $0 + $1.inFlight.count },
            retrying: lanes.reduce(0) { $0 + $1.deferred.count }, dead: subscriber.counts.dead,
            oldestUnsettled: state.oldestUnsettled,
            acked: subscriber.counts.acked, retried: subscriber.counts.retried,
            dropped: subscriber.counts.dropped, lastError: subscriber.lastError,
            history: subscriber.history.map { $0.progress(now) })
    }

    func setPaused(_ name: String, _ isPaused: Bool) -> Result<Void, Failure> {
        guard let subscriber = subscribers[name] else { return .failure(unknownSubscriber(name)) }
        if !isPaused && subscriber.route.paused {
            return .failure(
                Failure(.conflict, "subscriber \"\(name)\" has a `pause` line in routes.conf; remove it and reload"))
        }
        subscriber.isPausedByHand = isPaused
        if !isPaused { subscriber.liftQuarantine() }
        subscriber.applySettings()
        dispatch(subscriber)
        return .success(())
    }

    /// Starts nothing more; whoever waits is answered. Returns what is to be stopped.
    func drain() -> [any Destination] {
        isDraining = true
        let now = clock.now()
        for subscriber in subscribers.values {
            if subscriber.destination == nil { servePulls(subscriber, now) }
            for lane in subscriber.lanes { lane.state.settings.paused = true }
        }
        expireTails(now)
        return subscribers.values.compactMap(\.destination)
    }
}

extension BrokerCore {
    /// Deliveries that can still end by themselves: not those parked behind a dead letter.
    package var movable: Int {
        subscribers.values.reduce(0) { sum, subscriber in
            subscriber.lanes.reduce(sum) { $0 + $1.state.movable }
        }
    }
}
