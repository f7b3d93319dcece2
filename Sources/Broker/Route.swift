// SPDX-License-Identifier: Apache-2.0

import CoreMetrics
package import Events
import Filtering

extension BrokerCore {
    /// The third verb: names the subscribers that each durable record is for and hands it to those that keep up.
    ///
    /// Called for each batch in the order in which the journal appended them. A subscriber that is behind is left
    /// alone: it comes to these records by reading the journal.
    package func route(_ batch: RecordBatch) {
        guard batch.count > 0 else { return }
        if !batch.topic.isSystem { liveAt = clock.now() }
        end(of: batch.topic).offset = batch.last + 1
        serveTails(batch)
        guard let routing = routing[batch.topic] else { return }

        let now = clock.now()
        var matches = 0
        for index in 0..<batch.count {
            routing.matcher.match(batch[index], routing.scratch) { place in
                routing.subscribers[place].matched.append(Int32(index))
                matches += 1
            }
        }
        metrics.matched.increment(by: matches)
        routing.metrics.record(routing.scratch.takeTally(), events: batch.count)
        for subscriber in routing.subscribers where !subscriber.matched.isEmpty {
            var round = LedgerRound()
            subscriber.state.arrive(batch, matching: subscriber.matched, now: now, into: &round)
            subscriber.matched.removeAll(keepingCapacity: true)
            if !round.isEmpty { commit(subscriber, round) }
            dispatch(subscriber)
        }
    }

    /// Records of `topic` up to `end` are durable but were not kept in memory: there were too many at once.
    /// Whoever is live falls behind and reads them.
    package func routeMissed(_ topic: Topic, end: Offset) {
        let topicEnd = self.end(of: topic)
        guard end > topicEnd.offset else { return }
        let missedFrom = topicEnd.offset
        topicEnd.offset = end
        wakeTails(topic)
        for subscriber in routing[topic]?.subscribers ?? [] {
            subscriber.state.fallBehind(topic, at: missedFrom)
            dispatch(subscriber)
        }
    }

    package func end(of topic: Topic) -> TopicEnd {
        if let end = ends[topic] { return end }
        let end = TopicEnd(topic: topic, offset: engine.bounds(of: topic).end)
        ends[topic] = end
        return end
    }
}
