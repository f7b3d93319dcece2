// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Ledger

/// Whoever sends a file's events to one subscriber, and begins again where the server has them up to, whatever happens.
struct SimulatedImporter {
    enum State {
        case beginning
        case sending(id: Int64, topic: Topic, taken: Int)
        /// It was told that all is in once so many changes are written.
        case ending(written: Int)
    }

    var subscriber: String
    var file: String
    var count: Int
    var state = State.beginning
    /// An append is on its way.
    var isWaiting = false

    func mayGoOn(written: Int) -> Bool {
        if case .ending(let awaited) = state { written >= awaited } else { !isWaiting }
    }

    mutating func crashed() {
        state = .beginning
        isWaiting = false
    }
}

extension BrokerSimulation {
    /// Somebody asks for a part of what there is of `in` now.
    package func replay(_ name: String) {
        let end = core.end(of: .named("in")).offset
        guard end > 0 else { return }
        let from = random.next() % end
        let span = LedgerLane.Span(topic: "in", from: from, until: from + 1 + random.next() % (end - from))
        _ = core.replay(name, .init(kind: .replay, spans: [span]))
    }

    package func cancelReplay(_ name: String) {
        if case .success(let runs) = core.runningLanes(of: name),
            let run = runs.first(where: { $0.lane.details.kind == .replay })
        {
            count(\.cancelledReplays)
            _ = core.cancelLane(name, run.lane.id)
        }
    }

    /// Somebody begins to import a file, unless one is at it.
    package func beginImport(to name: String, events: Int) {
        guard importer == nil else { return }
        importer = SimulatedImporter(subscriber: name, file: "file-\(random.next() % 1_000_000)", count: events)
    }

    func advanceImport() {
        guard let importer else { return }
        switch importer.state {
        case .beginning:
            let isFinished = engine.ledger.lanes.values.contains {
                $0.details.file == importer.file && $0.state == .finished
            }
            if isFinished { self.importer = nil } else { begin(importer) }
        case .sending(let id, let topic, let taken) where taken < importer.count:
            if case .success = core.claimImport(importer.subscriber, id, at: taken) {
                self.importer?.isWaiting = true
                send(importer, id, topic, from: taken)
            } else {
                self.importer?.state = .beginning
            }
        case .sending(let id, _, let taken):
            if case .success = core.completeImport(importer.subscriber, id, events: taken) {
                self.importer?.state = .ending(written: engine.handed)
            } else {
                self.importer?.state = .beginning
            }
        case .ending: self.importer = nil
        }
    }

    private func begin(_ importer: SimulatedImporter) {
        let result = core.beginImport(
            importer.subscriber, topic: "in", file: importer.file, expected: importer.count, isFirst: false)
        // Refused: it has too many runs of history, or is gone since.
        guard case .success(let begun) = result else { return self.importer = nil }
        if !engine.imports().contains(begun.topic) { model.forget(begun.topic.name) }
        engine.makeImport(begun.topic, first: begun.first)
        let taken = begun.progress.taken ?? 0
        if taken > importer.count { model.breach("P1: an import of \(importer.count) events has \(taken)") }
        self.importer?.state = .sending(id: begun.progress.lane.id, topic: begun.topic, taken: taken)
    }

    private func send(_ importer: SimulatedImporter, _ id: Int64, _ topic: Topic, from taken: Int) {
        var builder = RecordBatchBuilder(topic: topic, key: SubjectKey(), capacity: 256)
        let count = min(importer.count - taken, Int(random.next() % 4) + 1)
        var ids: [String] = []
        for place in taken..<taken + count {
            ids.append("\(importer.file)/\(place)")
            builder.append(
                Event(
                    id: ids[ids.count - 1], source: "/import", type: "t",
                    attributes: [.init("subject", .string("k\(place % 5)"))]))
        }
        let (me, name, sent) = (Unchecked(self), importer.subscriber, ids)
        engine.append(builder.finish()) { result in
            let range = try? result.get()
            if let range { me.value.model.accepted(range, sent, in: topic.name) }
            me.value.post { core in
                let now = core.importAppended(name, id, end: range.map { $0.upperBound + 1 }).taken
                guard var importer = me.value.importer, case .sending = importer.state else { return }
                importer.isWaiting = false
                importer.state = now.map { .sending(id: id, topic: topic, taken: $0) } ?? .beginning
                me.value.importer = importer
            }
        }
    }
}
