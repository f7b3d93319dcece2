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
        var until: Timestamp?
        if case .nothing(let time) = state.breaker.stand(now: now) { until = time }
        let lanes = subscriber.lanes.map(\.state)
        let stands =
            if subscriber.standstills[.quarantine] != nil {
                "quarantined"
            } else if subscriber.standstills[.gone] != nil {
                "gone"
            } else if subscriber.isUndoing {
                "undoing"
            } else if state.settings.paused {
                "paused"
            } else if state.breaker.isOpen {
                "down"
            } else if until != nil {
                "busy"
            } else if !state.hasRoom && state.deferred.count >= Limits.deferredMax {
                "stalled"
            } else if state.feeds.values.contains(where: { $0.notBefore ?? now > now }) {
                "delayed"
            } else if state.unread > 0 {
                "behind"
            } else {
                "live"
            }
        return SubscriberStatus(
            name: subscriber.name, method: subscriber.route.methodName, state: stands,
            pause: pause(of: subscriber), backlog: lanes.reduce(0) { $0 + $1.unsettled + $1.unread },
            inFlight: lanes.reduce(0) { $0 + $1.inFlight.count },
            retrying: lanes.reduce(0) { $0 + $1.deferred.count }, dead: subscriber.counts.dead,
            oldestUnsettled: state.oldestUnsettled,
            acked: subscriber.counts.acked, retried: subscriber.counts.retried,
            dropped: subscriber.counts.dropped, lastError: subscriber.lastError,
            lastTrace: subscriber.lastTrace,
            until: state.settings.paused ? nil : until,
            history: subscriber.history.map { $0.progress(now) }, badReload: subscriber.badReload)
    }

    private func pause(of subscriber: Subscriber) -> PauseStatus? {
        if let pause = subscriber.pause {
            return PauseStatus(cause: pause.cause.rawValue, since: pause.since, reason: pause.reason)
        }
        if subscriber.route.paused { return PauseStatus(cause: "routes.conf", since: nil, reason: "") }
        return (subscriber.standstills[.quarantine] ?? subscriber.standstills[.gone]).map { standstill in
            PauseStatus(cause: standstill.cause.rawValue, since: standstill.since, reason: standstill.reason)
        }
    }

    /// `reply` is called when it is on disk, so that a restart finds it as it was asked for.
    func setPaused(
        _ name: String, _ isPaused: Bool, reason: String, reply: @escaping @Sendable (Result<Void, Failure>) -> Void
    ) {
        switch setPaused(name, isPaused, reason: reason) {
        case .failure(let failure): reply(.failure(failure))
        case .success(let change): engine.commit(change) { reply($0.map { _ in () }) }
        }
    }

    private func setPaused(_ name: String, _ isPaused: Bool, reason: String) -> Result<LedgerChange, Failure> {
        guard let subscriber = subscribers[name] else { return .failure(unknownSubscriber(name)) }
        if !isPaused && subscriber.route.paused {
            return .failure(
                Failure(.conflict, "subscriber \"\(name)\" has a `pause` line in routes.conf; remove it and reload"))
        }
        var change = LedgerChange(subscriber: name)
        if isPaused {
            // Asked a second time, it stands still since the first.
            let pause = PauseRecord(since: subscriber.pause?.since ?? clock.now(), cause: .hand, reason: reason)
            subscriber.pause = pause
            change.pause = .pause(pause)
        } else {
            subscriber.pause = nil
            // Whoever resumes what a reload broke wants it as it is.
            if subscriber.probation?.verdict == .failed, !subscriber.isUndoing { subscriber.probation = nil }
            subscriber.startAfresh()
            change.pause = .resume
            change.standstills = subscriber.takeStandstillChanges()
        }
        subscriber.applySettings()
        dispatch(subscriber)
        return .success(change)
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
        subscribers.values.reduce(0) { $0 + $1.movable }
    }
}

extension Subscriber {
    package var movable: Int { lanes.reduce(0) { $0 + $1.state.movable } }
}
