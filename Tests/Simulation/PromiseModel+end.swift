// SPDX-License-Identifier: Apache-2.0

import Events
import Ledger
import Routes

extension BrokerSimulation {
    /// Once nothing is left to be done: everything was brought to everybody.
    func checkEnd() {
        for route in table.subscribers { model.checkEnd(of: route.name, engine.ledger, latest: clock.latest) }
        model.checkEchoes(engine.ledger)
        if let records = engine.with({ $0.records["in"] }), records.end != model.facts["in"]?.end {
            model.breach("P1: there are \(records.end) events, and \(model.facts["in"]?.end ?? 0) were written")
        }
    }
}

extension PromiseModel {
    /// P2 of what is live, and of each run of history that is on disk.
    func checkEnd(of name: String, _ disk: SimulatedLedger, latest: Timestamp) {
        let topic = name == "listener" ? "echo" : "in"
        let runs = disk.lanes.values.filter { $0.subscriber == name && $0.state != .cancelled }
        let begun = runs.filter { $0.details.kind == .start }.flatMap(\.details.spans)
        let facts = facts[topic] ?? Facts(first: 0)
        for offset in facts.first..<facts.end where !begun.contains(where: { $0.from <= offset && offset < $0.until }) {
            if isMissing(offset, topic, name, nil, disk, latest) {
                breach("P2: \(name) never got \(offset) of \(topic)")
            }
        }
        for row in runs { checkEnd(of: row, disk, latest) }
    }

    private func checkEnd(of row: LedgerLane, _ disk: SimulatedLedger, _ latest: Timestamp) {
        let isBlocked = isOrdered(row.subscriber) && disk.dead.contains { $0.draft.lane == row.id }
        if !isBlocked, row.state != .finished { breach("run \(row.id) of \(row.subscriber) never ended: \(row)") }
        var total = 0
        for span in row.details.spans {
            let facts = facts[span.topic] ?? Facts(first: span.from)
            let until = row.details.kind == .imported ? facts.end : span.until
            for offset in span.from..<until {
                if takes(offset, span.topic, row.subscriber) { total += 1 }
                if isMissing(offset, span.topic, row.subscriber, row, disk, latest) {
                    breach("P2: run \(row.id) of \(row.subscriber) never brought \(offset) of \(span.topic)")
                }
            }
        }
        if !isBlocked, row.done != total {
            breach("run \(row.id) of \(row.subscriber) counts \(row.done) of \(total)")
        }
    }

    /// P3: each publication that was committed is in its topic.
    func checkEchoes(_ disk: SimulatedLedger) {
        let there = Set((facts["echo"]?.list ?? []).map(\.id))
        if there != disk.echoed {
            breach("P3: published and never in their topic: \(disk.echoed.subtracting(there))")
        }
    }
}
