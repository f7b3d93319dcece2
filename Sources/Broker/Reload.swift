// SPDX-License-Identifier: Apache-2.0

import CoreMetrics
import DequeModule
package import Events
import Ledger
import Logging
package import Routes

/// What a generation needs from disk before it can take over; read beside the running one.
package struct Preparation: Sendable {
    /// Of each subscriber that isn't running yet.
    var ledgers: [String: SubscriberLedger] = [:]
    /// Where `start` points, by subscriber and topic, for those that have no position there.
    var starts: [String: [String: Offset]] = [:]
    /// Dead letters that nobody has dealt with, by subscriber.
    var dead: [String: (count: Int, keys: [String])] = [:]
}

extension BrokerCore {
    /// Puts a generation in the place of the running one, in one step on the broker's thread: records routed after it go
    /// by the new table. Returns the destinations that have been replaced; the caller stops them, and what they give
    /// back is delivered by the new ones.
    package func apply(_ next: Generation, _ preparation: Preparation) -> [(any Destination, StopReason)] {
        var stopping: [(any Destination, StopReason)] = []
        let now = clock.now()
        let topics = next.table.topics.map { Topic.named($0.name) }
        var running: [String: Subscriber] = [:]

        for route in next.table.subscribers {
            let fingerprint = next.fingerprints[route.name] ?? route.fingerprint
            let destination = next.destinations[route.name]
            let subscriber: Subscriber
            if let existing = subscribers.removeValue(forKey: route.name) {
                subscriber = existing
                if existing.fingerprint != fingerprint {
                    if let old = existing.destination, old !== destination { stopping.append((old, .reload)) }
                    existing.update(route, fingerprint: fingerprint, destination: destination)
                    if let destination { connect(destination, to: existing) }
                }
            } else {
                subscriber = Subscriber(
                    route, fingerprint: fingerprint, destination: destination,
                    state: SubscriberState(settings: route.stateSettings))
                restore(subscriber, preparation, now)
                if let destination { connect(destination, to: subscriber) }
            }
            updateFeeds(of: subscriber, topics, preparation)
            running[route.name] = subscriber
        }
        for removed in subscribers.values {
            if let old = removed.destination { stopping.append((old, .removed)) }
            for waiting in removed.waitingPulls {
                pollers -= 1
                waiting.reply(.failure(unknownSubscriber(removed.name)))
            }
            removed.waitingPulls = []
            commit(removed, LedgerRound())
        }

        subscribers = running
        routing = [:]
        for topic in topics {
            let takers = next.table.subscribers.filter { $0.takes(from: topic) }.compactMap { running[$0.name] }
            if !takers.isEmpty { routing[topic] = TopicRouting(subscribers: takers) }
        }
        generation = next
        metrics.generation.record(Double(next.number))
        if positionsAt == nil { positionsAt = now + Limits.positionsInterval }
        for subscriber in running.values {
            subscriber.state.generation = next.number
            dispatch(subscriber)
        }
        return stopping
    }

    private func connect(_ destination: any Destination, to subscriber: Subscriber) {
        let name = subscriber.name
        // An old destination's last answers still find the subscriber, by its name.
        destination.start { [post] settlements in
            post { core in
                if let subscriber = core.subscribers[name] { core.settle(subscriber, settlements) }
                settlements.whenTaken?()
            }
        }
        // Whoever pulled before has no leases any more.
        let returned = subscriber.leases.endAll()
        if !returned.isEmpty {
            settle(subscriber, Settlements(others: returned.map { Settlement($0, .returned) }))
        }
    }

    private func restore(_ subscriber: Subscriber, _ preparation: Preparation, _ now: Timestamp) {
        guard let ledger = preparation.ledgers[subscriber.name] else { return }
        for position in ledger.positions {
            let topic = Topic.named(position.topic)
            let end = end(of: topic)
            guard position.position <= end.offset else {
                log.error(
                    "A topic ends before a subscriber's position: its files were removed, or are an older copy; what is published from now on is delivered",
                    metadata: [
                        "subscriber": "\(subscriber.name)", "topic": "\(topic)", "position": "\(position.position)",
                        "end": "\(end.offset)",
                    ])
                subscriber.state.open(Feed(end: end, position: end.offset))
                continue
            }
            subscriber.state.open(Feed(end: end, position: position.position, settled: position.settled))
        }
        let dead = preparation.dead[subscriber.name]
        subscriber.counts.dead = dead?.count ?? 0
        subscriber.state.restore(
            rows: ledger.deferred.map { row in
                (
                    id: DeliveryID(topic: Topic.named(row.topic), offset: row.offset),
                    deferral: SubscriberState.Deferred(
                        attempts: row.attempts, due: row.due, key: row.key, replay: row.replay,
                        deadLetter: row.deadLetter, reason: row.reason)
                )
            }, deadKeys: dead?.keys ?? [], now: now)
    }

    /// Opens a feed for each topic that is new to the subscriber, closes those it no longer takes from, and writes down
    /// where the new ones start: an event accepted from now on is for them, whatever happens.
    private func updateFeeds(of subscriber: Subscriber, _ topics: [Topic], _ preparation: Preparation) {
        let wanted = Set(topics.filter { subscriber.route.takes(from: $0) })
        for topic in Array(subscriber.state.feeds.keys) where !wanted.contains(topic) {
            subscriber.state.close(topic)
        }
        var isNew = false
        for topic in wanted where subscriber.state.feeds[topic] == nil {
            let end = end(of: topic)
            let start = preparation.starts[subscriber.name]?[topic.name] ?? end.offset
            subscriber.state.open(Feed(end: end, position: min(start, end.offset)))
            isNew = true
        }
        if isNew { commit(subscriber, LedgerRound(), needsSync: true) }
        for topic in wanted { skipGone(subscriber, topic, to: engine.bounds(of: topic).first) }
    }

    /// Which subscribers of `next` are not running, and so must be read from the ledger.
    package func newcomers(in next: RouteTable) -> [SubscriberRoute] {
        next.subscribers.filter { subscribers[$0.name] == nil }
    }

    /// Topics that a running subscriber has no feed for yet.
    package func missingFeeds(in next: RouteTable) -> [(SubscriberRoute, [String])] {
        next.subscribers.map { route in
            let known = subscribers[route.name]?.state.feeds ?? [:]
            return (
                route,
                next.topics.map { Topic.named($0.name) }.filter { route.takes(from: $0) && known[$0] == nil }
                    .map(\.name)
            )
        }
    }
}

extension Preparation {
    /// Reads what a generation needs from the ledger and the journal. Blocks.
    package static func read(
        from engine: some Engine, newcomers: [SubscriberRoute], missing: [(SubscriberRoute, [String])]
    ) throws(Failure) -> Preparation {
        var preparation = Preparation()
        for route in newcomers {
            if let old = route.was { try engine.rename(old, to: route.name) }
            preparation.ledgers[route.name] = try engine.load(route.name)
            preparation.dead[route.name] = try engine.openDeadLetters(of: route.name)
        }
        for (route, topics) in missing {
            let known = Set((preparation.ledgers[route.name]?.positions ?? []).map(\.topic))
            for name in topics where !known.contains(name) {
                let topic = Topic.named(name)
                let bounds = engine.bounds(of: topic)
                let start: Offset
                switch route.start {
                // Decided at the swap: the end as it is then.
                case .latest: continue
                case .earliest: start = bounds.first
                case .offset(let offset): start = min(max(offset, bounds.first), bounds.end)
                case .time(let time): start = try engine.offset(at: time, in: topic)
                }
                preparation.starts[route.name, default: [:]][name] = start
            }
        }
        return preparation
    }
}
