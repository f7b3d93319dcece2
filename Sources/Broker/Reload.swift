// SPDX-License-Identifier: Apache-2.0

import CoreMetrics
import DequeModule
package import Events
import HeapModule
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
    /// Answers to pulls whose leases may hold still, with their records as far as those are there.
    var leases: [String: [(row: LeaseRow, deliveries: [Delivery?])]] = [:]
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
            if let migration = next.migrations[route.name] { migrate(route.name, migration) }
            let subscriber: Subscriber
            if let existing = subscribers.removeValue(forKey: route.name) {
                subscriber = existing
                if existing.fingerprint != fingerprint {
                    if let old = existing.destination, old !== destination { stopping.append((old, .reload)) }
                    replaceVersion(of: existing, in: next)
                    existing.update(route, fingerprint: fingerprint, destination: destination)
                    if !existing.standstillChanges.isEmpty { commit(existing, LedgerRound()) }
                    if let destination { connect(destination, to: existing) }
                }
            } else {
                subscriber = Subscriber(
                    route, fingerprint: fingerprint, destination: destination, bounds: bounds)
                lives += 1
                subscriber.life = lives
                restore(subscriber, preparation, now)
                restoreLeases(subscriber, preparation, now)
                restoreProbation(of: subscriber, in: next)
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
            // Its leases are over: what comes back later is delivered anew.
            _ = removed.leases.endAll()
            commit(removed, LedgerRound())
            // Else it would go on when its next retry is due, beside whoever has its name then.
            removed.wake = nil
        }
        if !subscribers.isEmpty { forgetSupersededWakes() }

        subscribers = running
        routing = [:]
        for topic in topics {
            let takers = next.table.subscribers.filter { $0.takes(from: topic) }.compactMap { running[$0.name] }
            if !takers.isEmpty { routing[topic] = TopicRouting(topic, subscribers: takers) }
        }
        swapEnds = Dictionary(uniqueKeysWithValues: topics.map { ($0.name, end(of: $0).offset) })
        generation = next.withoutMigrations
        metrics.generation.record(Double(next.number))
        if positionsAt == nil { positionsAt = now + Limits.positionsInterval }
        for subscriber in running.values {
            for lane in subscriber.lanes { lane.state.generation = next.number }
            dispatch(subscriber)
        }
        return stopping
    }

    /// A wake may be days ahead, and its subscriber holds a plugin and that one's thread until then.
    private func forgetSupersededWakes() {
        wakes = Heap(wakes.unordered.filter { $0.subscriber == nil || $0.subscriber?.wake == $0.time })
    }

    /// One change: readers, the new plugin first of all, see it from here on, and after a crash it is there as a whole or
    /// is made again at the next start.
    private func migrate(_ subscriber: String, _ migration: StateMigration) {
        var change = LedgerChange(subscriber: subscriber, state: migration.writes)
        change.stateVersion = migration.version
        engine.commit(change) { [log] result in
            guard case .failure(let failure) = result else { return }
            log.error(
                "State not migrated; it will be at the next start",
                metadata: ["subscriber": "\(subscriber)", "error": "\(failure)"])
        }
    }

    private func connect(_ destination: any Destination, to subscriber: Subscriber) {
        let (name, life) = (subscriber.name, subscriber.life)
        // An old destination's last answers still find the subscriber, but not one that was removed and came back: that
        // one has started the same deliveries anew.
        destination.start { [post] settlements in
            post { core in
                if let subscriber = core.subscribers[name], subscriber.life == life {
                    core.settle(subscriber, settlements)
                }
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
            rows: (ledger.deferred + ledger.scheduled).map(\.restored), deadKeys: dead?.keys ?? [], now: now)
        if ledger.scheduledCount > ledger.scheduled.count, let last = ledger.scheduled.last, let due = last.due {
            subscriber.state.restoreShelf(
                after: (last.restored.id, due), count: ledger.scheduledCount - ledger.scheduled.count)
        }
        restoreLanes(of: subscriber, ledger.lanes, deadKeys: dead?.laneKeys ?? [:], now)
        subscriber.pause = ledger.pause
        subscriber.restore(ledger.standstills, now: now)
        subscriber.applySettings()
    }

    /// Leases outlive the process: whoever has one settles it, and until it runs out nobody else gets its delivery.
    private func restoreLeases(_ subscriber: Subscriber, _ preparation: Preparation, _ now: Timestamp) {
        for (row, deliveries) in preparation.leases[subscriber.name] ?? [] {
            var held: [DeliveryID?] = Array(repeating: nil, count: deliveries.count)
            if case .pull(let lease) = subscriber.route.delivery {
                // Later than it was where it was extended since.
                let began = min(now, row.expires - lease)
                for (index, delivery) in deliveries.enumerated() {
                    guard var delivery else { continue }
                    delivery.began = began
                    if subscriber.state.resumeLeased(delivery) { held[index] = delivery.id }
                }
            }
            subscriber.leases.restore(row, held)
        }
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
        if isNew {
            var rows: [LedgerLane] = []
            if !past.isEmpty {
                past.sort { $0.topic < $1.topic }
                rows.append(openLane(subscriber, id: nextLane(), .init(kind: .start, spans: past), now).row)
            }
            // The seam is one write: both sides of it are known after a crash, or neither.
            commit(subscriber, LedgerRound(), needsSync: true, newRows: rows)
        }
        for lane in subscriber.lanes {
            for topic in Array(lane.state.feeds.keys) {
                skipGone(subscriber, lane, topic, to: engine.bounds(of: topic).first)
            }
        }
    }

    /// Nothing of those that `next` has under another name changes from here on, until ``apply(_:_:)`` or ``keepNames()``: what
    /// they settled between the reading of their rows and the swap would be delivered, and counted, again.
    package func handOver(renamedIn next: RouteTable) {
        let names = Set(next.subscribers.map(\.name))
        for route in next.subscribers where subscribers[route.name] == nil {
            if let was = route.was, !names.contains(was) { subscribers[was]?.isHandedOver = true }
        }
    }

    /// The generation that renames does not take over after all.
    package func keepNames() {
        for subscriber in subscribers.values where subscriber.isHandedOver {
            subscriber.isHandedOver = false
            let held = subscriber.heldSettlements
            subscriber.heldSettlements = []
            for settlements in held { settle(subscriber, settlements) }
            dispatch(subscriber)
        }
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
    /// Reads what a generation needs from the ledger and the journal, and gives subscribers their new names. Blocks.
    ///
    /// - Throws: nothing has changed then, since names change last.
    package static func read(
        from engine: some Engine, newcomers: [SubscriberRoute], missing: [(SubscriberRoute, [String])],
        bounds: MemoryBounds = MemoryBounds()
    ) throws(Failure) -> Preparation {
        var preparation = Preparation()
        let names = try KnownNames(of: newcomers, in: engine)
        preparation.lastLane = try engine.lastLane()
        for route in newcomers {
            let known = names.old[route.name] ?? route.name
            let ledger = try engine.load(known, scheduledMax: route.ordered ? Int.max : bounds.scheduledMax)
            preparation.ledgers[route.name] = ledger
            preparation.leases[route.name] = try ledger.leases.map { row throws(Failure) in
                (row, try deliveries(of: row, from: engine))
            }
            preparation.dead[route.name] = try engine.openDeadLetters(of: known)
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
        try engine.adopt(names.adopted, renaming: names.renames)
        return preparation
    }

    /// What the ledger has newcomers under.
    private struct KnownNames {
        /// Of those that are renamed, by their new name.
        var old: [String: String] = [:]
        var renames: [SubscriberRename] = []
        var adopted: Set<String> = []

        init(of newcomers: [SubscriberRoute], in engine: some Engine) throws(Failure) {
            let known = Set(try engine.subscribers())
            let orphans = Set(try engine.orphans().map(\.name))
            for route in newcomers {
                // One that ran under its new name has been renamed before: its `was` is for those who haven't.
                let isRenamed = known.contains(route.name) && !orphans.contains(route.name)
                if let was = route.was, known.contains(was), !isRenamed {
                    old[route.name] = was
                    renames.append(SubscriberRename(was, to: route.name))
                    adopted.insert(was)
                } else if known.contains(route.name) {
                    adopted.insert(route.name)
                }
            }
        }
    }

    /// The records of one answer to a pull, in the order of its leases.
    private static func deliveries(of row: LeaseRow, from engine: some Engine) throws(Failure) -> [Delivery?] {
        var deliveries: [Delivery?] = []
        for run in row.runs {
            var at = run.first
            let end = run.first + Offset(run.count)
            while at < end {
                guard
                    let batch = try engine.read(
                        .named(run.topic), from: at, maxRecords: Int(end - at), maxBytes: Limits.catchUpBytes),
                    batch.count > 0, batch.first < end
                else { break }
                // Of records that retention has taken nothing can be settled.
                while at < batch.first {
                    deliveries.append(nil)
                    at += 1
                }
                for index in 0..<batch.count where batch[index].offset < end {
                    deliveries.append(Delivery(record: batch[index], attempt: run.attempt, replay: run.replay))
                    at += 1
                }
            }
            deliveries += Array(repeating: nil, count: Int(end - at))
        }
        return deliveries
    }
}

extension Deferred {
    /// As the state machine has it.
    var restored: (id: DeliveryID, deferral: SubscriberState.Deferred) {
        (
            DeliveryID(topic: Topic.named(topic), offset: offset),
            SubscriberState.Deferred(
                attempts: attempts, due: due, key: key, replay: replay, deadLetter: deadLetter, reason: reason)
        )
    }
}
