// SPDX-License-Identifier: Apache-2.0

import CoreMetrics
import Events
import Filtering
import Ledger
import Logging
import Metrics
import Routes

/// Events that a subscriber was to get and won't, as their records are gone.
struct Loss {
    enum Cause: String {
        /// Retention takes them now.
        case retention = "retention took events that the subscriber had not settled"
        /// They waited for their next attempt.
        case goneBeforeRetry = "records are gone that waited for their next attempt"
        /// Found when the subscriber came to read them.
        case unreadable = "records are gone that the subscriber had not read: retention took them earlier, or damage"
    }

    var topic: Topic
    var first: Offset
    /// One past the last.
    var end: Offset
    /// How many of the records between were for the subscriber; nil where that can't be told any more.
    var events: Int?
    var cause: Cause

    init(topic: Topic, first: Offset, end: Offset, events: Int?, cause: Cause) {
        self.topic = topic
        self.first = first
        self.end = end
        self.events = events
        self.cause = cause
    }

    /// `offsets` isn't empty.
    init(topic: Topic, offsets: [Offset], cause: Cause) {
        self.init(
            topic: topic, first: offsets.min() ?? 0, end: (offsets.max() ?? 0) + 1, events: offsets.count, cause: cause)
    }
}

/// A subscriber that has not read all of what retention is about to take.
struct Straggler: Sendable {
    struct ID: Hashable {
        var subscriber: String
        /// nil is the live lane.
        var lane: Int64?
    }

    var id: ID
    var filter: Filter?
    /// A run of history's own, beside the subscriber's.
    var historyFilter: Filter?
    /// Where a run of history ends.
    var end: Offset
    /// The first offset it has not taken in.
    var next: Offset
    /// What it settled before a restart and hasn't come to again.
    var settled: [ClosedRange<Offset>]
}

extension BrokerCore {
    /// Who needs the oldest record of `topic` among the running subscribers, and from which offset on.
    func unsettledFloor(of topic: Topic) -> (subscriber: String, offset: Offset)? {
        subscribers.values.flatMap { subscriber in
            ([subscriber.state.unsettledFloor(of: topic)] + subscriber.history.map { $0.state.historyFloor(of: topic) })
                .compactMap { floor in floor.map { (subscriber.name, $0) } }
        }.min { ($0.1, $0.0) < ($1.1, $1.0) }
    }

    func stragglers(in topic: Topic, before end: Offset) -> [Straggler] {
        subscribers.values.flatMap { subscriber in
            subscriber.lanes.compactMap { lane in
                guard let feed = lane.state.feeds[topic], feed.next < min(end, feed.end.offset) else { return nil }
                return Straggler(
                    id: .init(subscriber: subscriber.name, lane: lane.laneID), filter: subscriber.route.filter,
                    historyFilter: (lane as? HistoryLane)?.ownFilter, end: feed.end.offset, next: feed.next,
                    settled: feed.resumed)
            }
        }
    }

    /// Moves everyone past records of `topic` that are about to go, and says who loses what. `matching` has the offsets of
    /// each straggler's events, rising. All positions are handed to the ledger synced, so that no restart comes back to
    /// what is gone.
    func giveUp(_ topic: Topic, before end: Offset, matching: [Straggler.ID: [ClosedRange<Offset>]]) {
        for subscriber in subscribers.values {
            // Runs of history first: the live lane's commit is synced in any case.
            for lane in subscriber.history { giveUp(topic, before: end, subscriber, lane, matching) }
            guard subscriber.state.feeds[topic] != nil else { continue }
            giveUp(topic, before: end, subscriber, subscriber, matching)
            dispatch(subscriber)
        }
    }

    private func giveUp(
        _ topic: Topic, before end: Offset, _ subscriber: Subscriber, _ lane: any DeliveryLane,
        _ matching: [Straggler.ID: [ClosedRange<Offset>]]
    ) {
        guard let feed = lane.state.feeds[topic] else { return }
        let end = min(end, feed.end.offset)
        let now = clock.now()
        var round = LedgerRound()
        var losses: [Loss] = []
        if feed.next < end {
            // It may have read on since its events were counted.
            let ranges = matching[.init(subscriber: subscriber.name, lane: lane.laneID)] ?? []
            let lost = ranges.reduce(0) { sum, range in
                range.upperBound < feed.next
                    ? sum : sum + Int(range.upperBound - max(range.lowerBound, feed.next)) + 1
            }
            if lost > 0 {
                losses.append(Loss(topic: topic, first: feed.next, end: end, events: lost, cause: .retention))
            }
            lane.state.skip(topic, to: end)
        }
        let waiting = lane.state.deferred(in: topic, before: end)
        for id in waiting { lane.state.lost(id, now: now, into: &round) }
        if !waiting.isEmpty {
            losses.append(Loss(topic: topic, offsets: waiting.map(\.offset), cause: .goneBeforeRetry))
        }
        guard lane.laneID == nil || !losses.isEmpty else { return }
        report(losses, of: subscriber, round, lane: lane.laneID, needsSync: true)
    }

    /// Moves a subscriber on to the first record there is, and reports what it doesn't get by that.
    func skipGone(_ subscriber: Subscriber, _ lane: any DeliveryLane, _ topic: Topic, to offset: Offset) {
        guard let feed = lane.state.feeds[topic] else { return }
        let offset = min(offset, feed.end.offset)
        guard feed.next < offset else { return }
        let loss = Loss(topic: topic, first: feed.next, end: offset, events: nil, cause: .unreadable)
        lane.state.skip(topic, to: offset)
        guard generation?.table.topics.first(where: { $0.name == topic.name })?.syncInterval == nil else {
            // After a crash such a topic leaves out offsets that may or may not have held something.
            return log.warning(
                "Offsets are left out: the topic's `sync interval` does without a sync before each answer",
                metadata: [
                    "subscriber": "\(subscriber.name)", "topic": "\(topic)", "first": "\(feed.next)",
                    "last": "\(offset - 1)",
                ])
        }
        report([loss], of: subscriber, LedgerRound(), lane: lane.laneID)
    }

    /// Commits a round together with what is to be said of the losses in it: told once, whatever happens.
    func report(
        _ losses: [Loss], of subscriber: Subscriber, _ round: LedgerRound, lane: Int64? = nil, needsSync: Bool = false
    ) {
        var effects = Effects()
        for loss in losses {
            BrokerMetrics.lost(subscriber: subscriber.name, topic: loss.topic.name).increment(by: loss.events ?? 1)
            log.error(
                "Events are lost to a subscriber: \(loss.cause.rawValue)",
                metadata: [
                    "subscriber": "\(subscriber.name)", "topic": "\(loss.topic)", "first": "\(loss.first)",
                    "last": "\(loss.end - 1)", "events": "\(loss.events.map(String.init) ?? "unknown")",
                ])
            // What is lost of the alerts themselves is not announced there: that would never end.
            guard loss.topic != .alert else { continue }
            effects.publications.append(
                .system(
                    .alert, type: "fairlead.events.lost",
                    id: "lost-\(subscriber.name)-\(loss.topic)-\(loss.first)-\(loss.end)",
                    subscriber: subscriber.name, data: LossAlert(subscriber: subscriber.name, loss)))
        }
        commit(subscriber, round, effects, lane: lane, needsSync: needsSync)
    }

    private struct LossAlert: Encodable {
        var subscriber: String
        var topic: String
        var first: Offset
        var last: Offset
        var events: Int?
        var reason: String
        var remedy: String

        init(subscriber: String, _ loss: Loss) {
            self.subscriber = subscriber
            topic = loss.topic.name
            first = loss.first
            last = loss.end - 1
            events = loss.events
            reason = loss.cause.rawValue
            remedy =
                loss.cause == .unreadable
                ? "`fairlead verify` says what is wrong with the files; a backup may have the records"
                : "give topic \(loss.topic) a longer `retain`, or `unless unsettled`; see why \(subscriber) is behind"
        }
    }
}
