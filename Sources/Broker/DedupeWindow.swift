// SPDX-License-Identifier: Apache-2.0

import DequeModule
package import Events

/// The (source, id) pairs of a topic's recent records (`dedupe 10m`): an event that comes again is accepted once.
///
/// Pure. A pair is *pending* from ``admit(_:now:)`` until its append has succeeded or failed.
package struct DedupeWindow {
    package let length: Duration
    private let eventsMax: Int
    private var forgotten = 0
    private var seen: [Pair: Timestamp?] = [:]
    private var order: Deque<(Pair, Timestamp)> = []

    package struct Pair: Hashable, Sendable {
        var source: String
        var id: String

        package init(_ record: Record) {
            source = record.source
            id = record.id
        }
    }

    package init(length: Duration, eventsMax: Int = Limits.dedupeEventsMax) {
        self.length = length
        self.eventsMax = eventsMax
    }

    /// How many pairs it forgot before their time, as it holds no more, since it was asked last.
    package mutating func takeForgotten() -> Int {
        defer { forgotten = 0 }
        return forgotten
    }

    package enum Admission {
        /// Append the records at these places; the others are duplicates of durable ones.
        case append(places: [Int], pairs: [Pair])
        /// A record of the batch is being appended by somebody else: only when that has ended is it known to be a duplicate.
        case wait
    }

    /// With `peeking`, nothing becomes pending.
    package mutating func admit(_ batch: RecordBatch, now: Timestamp, peeking: Bool = false) -> Admission {
        evict(now)
        var places: [Int] = []
        var pairs: [Pair] = []
        var fresh: Set<Pair> = []
        for index in 0..<batch.count {
            let pair = Pair(batch[index])
            switch seen[pair] {
            case .some(.none): return .wait
            case .some(.some): continue
            case .none:
                guard fresh.insert(pair).inserted else { continue }
                places.append(index)
                pairs.append(pair)
            }
        }
        if !peeking { for pair in pairs { seen.updateValue(nil, forKey: pair) } }
        return .append(places: places, pairs: pairs)
    }

    package mutating func succeeded(_ pairs: [Pair], now: Timestamp) {
        for pair in pairs { remember(pair, now) }
    }

    package mutating func failed(_ pairs: [Pair]) {
        for pair in pairs { seen[pair] = nil }
    }

    /// A record that was durable before the start.
    package mutating func remember(_ record: Record) {
        remember(Pair(record), record.time)
    }

    private mutating func remember(_ pair: Pair, _ time: Timestamp) {
        seen.updateValue(time, forKey: pair)
        order.append((pair, time))
        if order.count > eventsMax { evict(time) }
    }

    private mutating func evict(_ now: Timestamp) {
        while let (pair, time) = order.first,
            time + length < now || order.count > eventsMax
        {
            order.removeFirst()
            if time + length >= now { forgotten += 1 }
            if seen[pair] == .some(.some(time)) { seen[pair] = nil }
        }
    }
}
