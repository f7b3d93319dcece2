// SPDX-License-Identifier: Apache-2.0

import Events
import HeapModule
import Routes

/// Somebody who watches a topic and waits for its next records.
struct WaitingTail {
    var id: UInt64
    var from: Offset
    var max: Int
    var until: Timestamp
    var reply: @Sendable (Result<[Record], Failure>) -> Void
}

extension BrokerCore {
    func tail(
        _ name: String, from: Offset?, max: Int, wait: Duration,
        reply: @escaping @Sendable (Result<[Record], Failure>) -> Void
    ) -> UInt64? {
        guard let table = generation?.table, table.topics.contains(where: { $0.name == name }) else {
            reply(.failure(Failure(.unknownTopic, "no topic \"\(name)\" in routes.conf")))
            return nil
        }
        let topic = Topic.named(name)
        let end = end(of: topic).offset
        let from = from ?? end
        if from < end {
            read(topic, from: from, max: max, reply: reply)
            return nil
        }
        guard pollers < bounds.pollersMax, !isDraining else {
            reply(.failure(Failure(.overloaded, "\(bounds.pollersMax) requests are waiting already; try again later")))
            return nil
        }
        let until = clock.now() + min(wait, Limits.pollWaitMax)
        pollers += 1
        nextLease += 1
        let tail = WaitingTail(id: nextLease, from: from, max: max, until: until, reply: reply)
        waitingTails[topic, default: []].append(tail)
        wakes.insert(Wake(time: until, subscriber: nil))
        return tail.id
    }

    /// Whoever watched has gone away.
    func cancelTail(_ name: String, _ id: UInt64) {
        let topic = Topic.named(name)
        guard let index = waitingTails[topic]?.firstIndex(where: { $0.id == id }) else { return }
        pollers -= 1
        waitingTails[topic]?.remove(at: index).reply(.success([]))
    }

    private func read(
        _ topic: Topic, from: Offset, max: Int, reply: @escaping @Sendable (Result<[Record], Failure>) -> Void
    ) {
        perform { [engine] in
            reply(
                Result { () throws(Failure) in
                    let batch = try engine.read(
                        topic, from: from, maxRecords: max, maxBytes: Limits.catchUpBytes)
                    return batch.map { batch in (0..<batch.count).map { batch[$0] } } ?? []
                })
        }
    }

    /// Shows a batch just routed to those who wait for it.
    func serveTails(_ batch: RecordBatch) {
        guard let waiting = waitingTails.removeValue(forKey: batch.topic) else { return }
        pollers -= waiting.count
        for tail in waiting {
            let skipped = tail.from > batch.first ? Int(tail.from - batch.first) : 0
            tail.reply(.success((min(skipped, batch.count)..<batch.count).prefix(tail.max).map { batch[$0] }))
        }
    }

    func wakeTails(_ topic: Topic) {
        guard let waiting = waitingTails.removeValue(forKey: topic) else { return }
        pollers -= waiting.count
        for tail in waiting { read(topic, from: tail.from, max: tail.max, reply: tail.reply) }
    }

    func expireTails(_ now: Timestamp) {
        for (topic, waiting) in waitingTails {
            let over = waiting.filter { $0.until <= now || isDraining }
            guard !over.isEmpty else { continue }
            pollers -= over.count
            let rest = waiting.filter { $0.until > now && !isDraining }
            waitingTails[topic] = rest.isEmpty ? nil : rest
            for tail in over { tail.reply(.success([])) }
        }
    }
}
