// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Filtering
import Ledger

/// What must be true of a broker, by what went in, what its destinations were given and answered, and what was written.
/// Asked after every step; the first thing that is wrong ends the history.
final class PromiseModel {
    /// What counts of a record.
    struct Fact {
        var id: String
        var key: String?
        var time: Timestamp
        var expires: Timestamp?
        var deliverAt: Timestamp?
        /// The record of the same key before it, in its topic.
        var previous: Offset?
    }

    struct Facts {
        var first: Offset
        var list: [Fact] = []
        var lastOfKey: [String: Offset] = [:]
        var end: Offset { first + Offset(list.count) }

        subscript(_ offset: Offset) -> Fact? {
            offset >= first && offset < end ? list[Int(offset - first)] : nil
        }
    }

    /// One lane of a subscriber: what is live, or a run of history.
    struct Lane: Hashable {
        var subscriber: String
        var run: Int64?
    }

    /// A number may be given twice, where a crash took the first run along before it was on disk.
    private struct Run: Equatable {
        var begun: Timestamp
        var spans: [LedgerLane.Span]
        var kind: LedgerLane.Kind

        init(_ row: LedgerLane) {
            (begun, spans, kind) = (row.begun, row.details.spans, row.details.kind)
        }
    }

    private(set) var facts: [String: Facts] = [:]
    private(set) var breaches: [String] = []
    /// How many events publishers were told of, and how many deliveries came too late to be made.
    private(set) var accepted = 0
    private(set) var expired = 0
    private var acked: [Lane: Set<DeliveryID>] = [:]
    private var runs: [Int64: Run] = [:]
    /// Below it, what a subscriber's ledger says is settled was looked at.
    private var audited: [Lane: [String: Offset]] = [:]
    private var settings: [String: Settings] = [:]
    var probation = ProbationModel()
    /// Called with each attempt that failed and must not be charged.
    var onRefund: () -> Void = {}

    /// What routes.conf says of a subscriber, as far as it decides what must reach it.
    private struct Settings {
        var isOrdered: Bool
        var ttl: Duration?
        var takes: @Sendable (Fact) -> Bool
    }
    private var journaled: Set<String> = []

    func breach(_ text: String) {
        if breaches.count < 5 { breaches.append(text) }
    }

    func configure(
        _ name: String, isOrdered: Bool, ttl: Duration?, takes: @escaping @Sendable (Fact) -> Bool
    ) {
        settings[name] = Settings(isOrdered: isOrdered, ttl: ttl, takes: takes)
    }

    // MARK: What goes in

    func appended(_ batch: RecordBatch, echoed: Set<String>) {
        let name = batch.topic.name
        var facts = facts.removeValue(forKey: name) ?? Facts(first: batch.first)
        for index in 0..<batch.count {
            let record = batch[index]
            let fact = Fact(
                id: record.id, key: record.key, time: record.time, expires: record.expires, deliverAt: record.deliverAt,
                previous: record.key.flatMap { facts.lastOfKey[$0] })
            if let key = fact.key { facts.lastOfKey[key] = record.offset }
            facts.list.append(fact)
            if name == "echo" {
                if !journaled.insert(fact.id).inserted { breach("P3: \(fact.id) is in its topic twice") }
                if !echoed.contains(fact.id) { breach("P3: \(fact.id) is in its topic, and its ack is not on disk") }
            }
        }
        self.facts[name] = facts
    }

    /// The records of a topic that is made anew.
    func forget(_ topic: String) { facts[topic] = nil }

    func accepted(_ range: ClosedRange<Offset>, _ ids: [String], in topic: String) {
        accepted += range.count
        for (offset, id) in zip(range, ids) where facts[topic]?[offset]?.id != id {
            breach(
                "P1: \(id) was accepted at \(offset) of \(topic), where there is \(facts[topic]?[offset]?.id ?? "nothing")"
            )
        }
    }

    // MARK: What comes out

    /// `latest` is the latest that the clock ever was.
    func began(
        _ delivery: Delivery, of name: String, in row: LedgerLane?, now: Timestamp, latest: Timestamp, unwritten: Int,
        bounds: MemoryBounds
    ) {
        let id = delivery.id
        guard let fact = facts[id.topic.name]?[id.offset] else {
            return breach("\(name) was given \(id.offset) of \(id.topic), which nobody published")
        }
        if fact.id != delivery.record.id { breach("\(name) was given \(delivery.record.id) as \(fact.id)") }
        if settings[name]?.takes(fact) == false { breach("\(name) was given \(id.offset), which its filter refuses") }
        if let due = fact.deliverAt, due > latest { breach("\(name) was given \(id.offset) before its time") }
        if !delivery.replay, isOver(fact, of: name, by: now) { breach("\(name) was given \(id.offset) after its time") }
        if unwritten >= bounds.ledgerQueueMax {
            breach("P7: \(name) was given \(id.offset) while the ledger was behind")
        }
        let isReplay = row.map { $0.details.kind != .start } ?? false
        if delivery.replay != isReplay { breach("\(name) was given \(id.offset) marked as replay: \(delivery.replay)") }
        note(row)
        checkAttempts(delivery, of: name, in: row)
        guard settings[name]?.isOrdered == true else { return }
        checkOrder(id, fact, of: name, row, latest)
    }

    /// P4: everything of its key before it is acknowledged, or its time was over.
    private func checkOrder(_ id: DeliveryID, _ fact: Fact, of name: String, _ row: LedgerLane?, _ latest: Timestamp) {
        let lane = Lane(subscriber: name, run: row?.id)
        let from = row?.details.spans.first { $0.topic == id.topic.name }?.from ?? 0
        var previous = fact.previous
        while let offset = previous, offset >= from, let before = facts[id.topic.name]?[offset] {
            let isDone = acked[lane]?.contains(DeliveryID(topic: id.topic, offset: offset)) ?? false
            if isDone { return }
            guard row?.details.kind ?? .start == .start, isOver(before, of: name, by: latest) else {
                return breach("P4: \(name) was given \(id.offset) of key \(fact.key ?? "") before \(offset) was done")
            }
            previous = before.previous
        }
    }

    private func isOver(_ fact: Fact, of name: String, by moment: Timestamp) -> Bool {
        if let ttl = settings[name]?.ttl, fact.time + ttl <= moment { return true }
        return fact.expires.map { $0 <= moment } ?? false
    }

    func acked(_ id: DeliveryID, by name: String, in row: LedgerLane?) {
        note(row)
        acked[Lane(subscriber: name, run: row?.id), default: []].insert(id)
    }

    private func note(_ row: LedgerLane?) {
        guard let row, runs[row.id] != Run(row) else { return }
        runs[row.id] = Run(row)
        let lane = Lane(subscriber: row.subscriber, run: row.id)
        acked[lane] = nil
        audited[lane] = nil
        probation.charged[lane] = nil
    }

    // MARK: What is written

    /// P2 and P3: what the ledger says is settled is acknowledged, a dead letter, past its time, or waits in a row.
    func committed(_ change: LedgerChange, _ disk: SimulatedLedger, latest: Timestamp) {
        let name = change.subscriber
        for lane in change.lanes { note(lane.row) }
        checkDeadLetters(change)
        for position in change.positions { audit(position, Lane(subscriber: name, run: nil), disk, latest) }
        for row in change.deferred {
            if case .remove(let topic, let offset) = row {
                check(offset, topic, Lane(subscriber: name, run: nil), disk, latest)
            }
        }
        for run in change.lanes {
            let lane = Lane(subscriber: name, run: run.id)
            guard disk.lanes[run.id]?.state != .cancelled else { continue }
            for position in run.positions { audit(position, lane, disk, latest) }
            for row in run.deferred {
                if case .remove(let topic, let offset) = row { check(offset, topic, lane, disk, latest) }
            }
        }
        if name == "counter" { checkCount(change, disk) }
    }

    private func audit(_ position: LedgerPosition, _ lane: Lane, _ disk: SimulatedLedger, _ latest: Timestamp) {
        let topic = position.topic
        let from = audited[lane]?[topic] ?? lane.run.flatMap { runs[$0]?.spans.first { $0.topic == topic }?.from } ?? 0
        if from < position.position {
            for offset in from..<position.position { check(offset, topic, lane, disk, latest) }
            audited[lane, default: [:]][topic] = position.position
        }
        for range in position.settled {
            for offset in range { check(offset, topic, lane, disk, latest) }
        }
    }

    /// Whether the filter of a run, which is about the key alone, is true.
    private static func takes(_ fact: Fact, _ filter: String) -> Bool {
        var builder = RecordBatchBuilder(topic: .named("in"), key: nil, capacity: 256)
        let attributes = fact.key.map { [Event.Attribute("subject", .string($0))] } ?? []
        builder.append(Event(id: fact.id, source: "/test", type: "t", attributes: attributes))
        // It was read before.
        return try! Filter.parse(filter).matches(builder.finish()[0], nil)
    }

    private func check(
        _ offset: Offset, _ topic: String, _ lane: Lane, _ disk: SimulatedLedger, _ latest: Timestamp
    ) {
        let id = DeliveryID(topic: .named(topic), offset: offset)
        if acked[lane]?.contains(id) == true { return }
        let rows = lane.run.map(SimulatedLedger.lane) ?? lane.subscriber
        if disk.deferred[rows]?[id] != nil { return }
        guard let fact = facts[topic]?[offset] else {
            return breach("P2: \(lane.subscriber) has settled \(offset) of \(topic), which nobody published")
        }
        if settings[lane.subscriber]?.takes(fact) == false { return }
        if let run = lane.run {
            if let text = disk.lanes[run]?.details.filter, !Self.takes(fact, text) { return }
            if disk.dead.contains(where: { $0.draft.lane == run && $0.draft.offset == offset }) { return }
            if runs[run]?.kind == .start, isOver(fact, of: lane.subscriber, by: latest) { return }
        } else {
            if disk.deadOffsets[lane.subscriber]?.contains(id) == true { return }
            if isOver(fact, of: lane.subscriber, by: latest) {
                expired += 1
                return
            }
            // What lay there when the subscriber came is brought by a run beside.
            if isInStartRun(id, lane.subscriber, disk) { return }
        }
        breach("P2: \(lane.subscriber) lost \(offset) of \(topic)\(lane.run.map { " in run \($0)" } ?? "")")
    }

    private func isInStartRun(_ id: DeliveryID, _ name: String, _ disk: SimulatedLedger) -> Bool {
        disk.lanes.values.contains { lane in
            lane.subscriber == name && lane.details.kind == .start
                && lane.details.spans.contains {
                    $0.topic == id.topic.name && $0.from <= id.offset && id.offset < $0.until
                }
        }
    }

    /// P3: what is counted was published in the same change, once for each delivery, and is done for good.
    private func checkCount(_ change: LedgerChange, _ disk: SimulatedLedger) {
        let count = disk.state["counter"]?["count"] ?? .integer(0)
        if count != .integer(Int64(disk.echoed.count)) {
            breach("P3: counted \(count), and \(disk.echoed.count) are published")
        }
        for publication in change.publications where publication.topic == "echo" {
            let parts = publication.event.id.split(separator: "/")
            guard parts.count == 3, let offset = UInt64(parts[1]) else { continue }
            let (topic, run) = (String(parts[0]), Int64(parts[2]))
            let rows = run.map(SimulatedLedger.lane) ?? "counter"
            // A run that was cancelled keeps no position, and its rows mean nothing.
            if let run, disk.lanes[run]?.state == .cancelled { continue }
            if disk.deferred[rows]?[DeliveryID(topic: .named(topic), offset: offset)] != nil {
                breach("P3: \(publication.event.id) is counted, and waits to be delivered again")
            }
            let position = disk.positions[rows]?[topic]
            let isSettled =
                position.map { offset < $0.position || $0.settled.contains { $0.contains(offset) } } ?? false
            if !isSettled { breach("P3: \(publication.event.id) is counted, and not settled in the same change") }
        }
    }

    func isOrdered(_ name: String) -> Bool { settings[name]?.isOrdered ?? false }

    func takes(_ offset: Offset, _ topic: String, _ name: String) -> Bool {
        facts[topic]?[offset].map { settings[name]?.takes($0) ?? true } ?? false
    }

    /// Whether a record neither came through nor has a reason not to, when nothing is left to be done.
    func isMissing(
        _ offset: Offset, _ topic: String, _ name: String, _ row: LedgerLane?, _ disk: SimulatedLedger,
        _ latest: Timestamp
    ) -> Bool {
        guard let fact = facts[topic]?[offset] else { return true }
        guard takes(offset, topic, name) else { return false }
        let id = DeliveryID(topic: .named(topic), offset: offset)
        if acked[Lane(subscriber: name, run: row?.id)]?.contains(id) == true { return false }
        if row?.details.kind ?? .start == .start, isOver(fact, of: name, by: latest) { return false }
        return !disk.dead.contains { letter in
            guard letter.subscriber == name, letter.draft.lane == row?.id, letter.draft.topic == topic else {
                return false
            }
            if letter.draft.offset == offset { return true }
            // What follows a dead letter of its key waits until somebody deals with that.
            let isBefore = letter.draft.offset < offset && facts[topic]?[letter.draft.offset]?.key == fact.key
            return isOrdered(name) && fact.key != nil && isBefore
        }
    }

    /// After a crash the ledger may be an older one: what it holds is looked at from the start.
    func crashed(_ disk: SimulatedLedger, latest: Timestamp) {
        audited = [:]
        for (name, positions) in disk.positions {
            let run = name.first == "$" ? Int64(name.dropFirst()) : nil
            if let run {
                guard let row = disk.lanes[run], row.state != .cancelled else { continue }
                note(row)
            }
            let lane = Lane(subscriber: run.flatMap { disk.lanes[$0]?.subscriber } ?? name, run: run)
            for position in positions.values { audit(position, lane, disk, latest) }
        }
        let count = disk.state["counter"]?["count"] ?? .integer(0)
        if count != .integer(Int64(disk.echoed.count)) {
            breach("P3: counted \(count) after a crash, and \(disk.echoed.count) are published")
        }
    }

    // MARK: What is in memory

    /// P7: whatever waits, each lane holds no more than its bounds.
    func checkMemory(_ core: BrokerCore) {
        let bounds = core.bounds
        if core.pollers > bounds.pollersMax { breach("P7: \(core.pollers) requests wait") }
        for subscriber in core.subscribers.values {
            // After a restart the live lane has the leases of all that there were.
            let leased = subscriber.name == "pulled" ? Limits.lanesMax * bounds.historyWindowEvents : 0
            check(subscriber.state, bounds, subscriber.name, isHistory: false, leased: leased)
            for lane in subscriber.history {
                check(lane.state, bounds, "run \(lane.row.id) of \(subscriber.name)", isHistory: true)
            }
        }
    }

    private func check(
        _ state: SubscriberState, _ bounds: MemoryBounds, _ name: String, isHistory: Bool, leased: Int = 0
    ) {
        let events = (isHistory ? bounds.historyWindowEvents : bounds.windowEvents) + leased
        let bytes = isHistory ? bounds.historyWindowBytes : bounds.windowBytes
        if state.held + state.reading > events {
            breach("P7: \(name) holds \(state.held) records and reads \(state.reading); the limit is \(events)")
        }
        if state.heldBytes > 2 * bytes + bounds.recordBytes {
            breach("P7: \(name) holds \(state.heldBytes) bytes; the limit is \(2 * bytes + bounds.recordBytes)")
        }
        let deferred = bounds.deferredMax + events + (isHistory ? 0 : bounds.scheduledMax)
        if state.deferred.count > deferred {
            breach("P7: \(name) has \(state.deferred.count) deliveries that wait; the limit is \(deferred)")
        }
        if state.inFlight.count > events { breach("P7: \(name) has \(state.inFlight.count) deliveries in flight") }
    }
}
