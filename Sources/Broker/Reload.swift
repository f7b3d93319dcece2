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
    var dead: [String: OpenDeadLetters] = [:]
    /// The highest number that a run of history was given.
    var lastLane: Int64 = 0
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
        lastLane = max(lastLane, preparation.lastLane)

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
            updateFeeds(of: subscriber, topics, preparation, now)
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
            for lane in subscriber.lanes { lane.state.generation = next.number }
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
            subscriber.state.open(
                Feed(end: end(of: topic), position: position.position, settled: position.settled))
        }
        let dead = preparation.dead[subscriber.name]
        subscriber.counts.dead = dead?.count ?? 0
        subscriber.state.restore(
            rows: ledger.deferred.map(\.stateRow), deadKeys: dead?.keys ?? [], now: now)
        restoreLanes(of: subscriber, ledger.lanes, deadKeys: dead?.laneKeys ?? [:], now)
    }

    /// Opens a feed for each topic that is new to the subscriber, closes those it no longer takes from, and writes down
    /// where the new ones start: an event accepted from now on is for them, whatever happens.
    ///
    /// What lies before the end goes into a run of history beside it, for a subscriber that takes events one by one as
    /// they come. Where order counts, or the subscriber sets the pace, history comes first in the one lane there is.
    private func updateFeeds(
        of subscriber: Subscriber, _ topics: [Topic], _ preparation: Preparation, _ now: Timestamp
    ) {
        let wanted = Set(topics.filter { subscriber.route.takes(from: $0) })
        for topic in Array(subscriber.state.feeds.keys) where !wanted.contains(topic) {
            subscriber.state.close(topic)
            for lane in subscriber.history { lane.state.close(topic) }
        }
        var isNew = false
        var past: [LedgerLane.Span] = []
        for topic in wanted where subscriber.state.feeds[topic] == nil {
            let end = end(of: topic)
            let start = min(preparation.starts[subscriber.name]?[topic.name] ?? end.offset, end.offset)
            if start < end.offset, subscriber.route.takesHistoryBeside {
                past.append(.init(topic: topic.name, from: start, until: end.offset))
                subscriber.state.open(Feed(end: end, position: end.offset))
            } else {
                subscriber.state.open(Feed(end: end, position: start))
            }
            isNew = true
        }
        guard isNew else { return }
        var rows: [LedgerLane] = []
        if !past.isEmpty {
            past.sort { $0.topic < $1.topic }
            rows.append(openLane(subscriber, id: nextLane(), .init(kind: .start, spans: past), now).row)
        }
        // The seam is one write: both sides of it are known after a crash, or neither.
        commit(subscriber, LedgerRound(), needsSync: true, newRows: rows)
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
        preparation.lastLane = try engine.lastLane()
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
