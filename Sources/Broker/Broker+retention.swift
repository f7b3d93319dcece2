// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Events
import Filtering
import Ledger
import Logging
import Metrics
import Routes
import Synchronization

extension Broker {
    /// Removes the segments that retention doesn't keep. Whoever has unsettled events in them is told first, durably, and
    /// the segments go after that; under `unless unsettled` they stay.
    package func applyRetention() async {
        let all = await withCheckedContinuation { continuation in
            disk.async { [engine] in continuation.resume(returning: engine.expired()) }
        }
        for expired in all {
            do {
                try await apply(expired)
            } catch {
                log.error(
                    "Retention could not be applied, trying again",
                    metadata: ["topic": "\(expired.topic)", "error": "\(error)"])
            }
        }
    }

    private func apply(_ expired: ExpiredRecords) async throws(Failure) {
        let topic = expired.topic
        var segments = expired.segments[...]
        let keepsUnsettled = await on { core in
            core.generation?.table.topics.first { $0.name == topic.name }?.keepsUnsettled ?? false
        }
        if keepsUnsettled, let holder = try await unsettledFloor(of: topic) {
            segments = segments.prefix { $0.upperBound <= holder.offset }
            tellHeld(topic, by: segments.count < expired.segments.count ? holder.subscriber : nil)
        }
        while let last = segments.prefix(Limits.retentionSegments).last, let first = segments.first {
            segments = segments.dropFirst(Limits.retentionSegments)
            let end = last.upperBound
            let stragglers = await on { core in core.stragglers(in: topic, before: end) }
            let matching = try await blocking { () throws(Failure) in
                try self.matching(stragglers, in: topic, before: end)
            }
            await on { core in core.giveUp(topic, before: end, matching: matching) }
            try await blocking { () throws(Failure) in
                do {
                    try self.engine.flush()
                } catch {
                    // Perhaps the disk is full, and only this makes room. The report is kept and written then.
                    self.log.warning(
                        "Retention goes on before its report is on disk", metadata: ["error": "\(error)"])
                }
                self.engine.drop(topic, before: end)
            }
            BrokerMetrics.expired(topic: topic.name).increment(by: Int(end - first.lowerBound))
        }
    }

    /// Who needs the oldest record of `topic`, also of those that are in no configuration any more.
    private func unsettledFloor(of topic: Topic) async throws(Failure) -> (subscriber: String, offset: Offset)? {
        let (running, floor) = await on { core in
            (Set(core.subscribers.keys), core.unsettledFloor(of: topic))
        }
        let orphans = try await blocking { () throws(Failure) in
            var floors: [(subscriber: String, offset: Offset)] = []
            for name in try self.engine.subscribers() where !running.contains(name) {
                let known = try self.engine.load(name, scheduledMax: 1)
                let lanes = known.lanes.flatMap { $0.floors }
                if let lowest = (known.positions + lanes).filter({ $0.topic == topic.name }).map(\.position).min() {
                    floors.append((name, lowest))
                }
            }
            // Of what waits for a later time only the nearest are in memory; the ledger has all of it.
            if let waiting = try self.engine.lowestDeferred(in: topic) { floors.append(waiting) }
            return floors
        }
        return (orphans + [floor].compactMap { $0 }).min { ($0.offset, $0.subscriber) < ($1.offset, $1.subscriber) }
    }

    private func tellHeld(_ topic: Topic, by holder: String?) {
        let isNews = held.withLock { held in
            defer { held[topic] = holder }
            return held[topic] != holder
        }
        guard isNews, let holder else { return }
        log.notice(
            "Events past `retain` are kept, as a subscriber has not settled them",
            metadata: ["topic": "\(topic)", "subscriber": "\(holder)"])
    }

    /// The offsets of each straggler's events, rising.
    private func matching(
        _ stragglers: [Straggler], in topic: Topic, before end: Offset
    ) throws(Failure) -> [Straggler.ID: [ClosedRange<Offset>]] {
        guard var at = stragglers.map(\.next).min() else { return [:] }
        let matcher = Matcher(stragglers.map(\.filter))
        let scratch = matcher.makeScratch()
        let history = Matcher(stragglers.map(\.historyFilter))
        let historyScratch = history.makeScratch()
        let isFiltered = stragglers.contains { $0.historyFilter != nil }
        var taken: Set<Int> = []
        var found = stragglers.map { _ in [ClosedRange<Offset>]() }
        while at < end,
            let batch = try engine.read(
                topic, from: at, maxRecords: Limits.catchUpEvents, maxBytes: Limits.catchUpBytes)
        {
            for index in 0..<batch.count {
                let offset = batch[index].offset
                guard offset < end else { break }
                if isFiltered {
                    taken = []
                    history.match(batch[index], historyScratch) { taken.insert($0) }
                }
                matcher.match(batch[index], scratch) { place in
                    let straggler = stragglers[place]
                    guard offset >= straggler.next, offset < straggler.end, !isFiltered || taken.contains(place),
                        !straggler.settled.contains(where: { $0.contains(offset) })
                    else { return }
                    if let last = found[place].last, last.upperBound + 1 == offset {
                        found[place][found[place].count - 1] = last.lowerBound...offset
                    } else {
                        found[place].append(offset...offset)
                    }
                }
            }
            at = batch.last + 1
        }
        return Dictionary(uniqueKeysWithValues: zip(stragglers.map(\.id), found))
    }
}
