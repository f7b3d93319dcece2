// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Ledger
import Routes

@testable import Gateway

extension FakeBroker {
    func replay(_ subscriber: String, _ request: ReplayRequest) async throws(Failure) -> HistoryProgress {
        var details = LedgerLane.Details(kind: .replay, spans: [.init(topic: "orders", from: 2, until: 12)])
        if case .offset(let from) = request.from { details.spans[0].from = from }
        if case .time(let time) = request.from { details.spans[0].from = Offset(time.milliseconds) }
        details.spans[0].until = details.spans[0].from + 10
        details.filter = request.filter
        details.rateCount = request.rate?.count
        details.rateMilliseconds = request.rate?.per.milliseconds
        return progress(details, of: subscriber)
    }

    private func progress(_ details: LedgerLane.Details, of subscriber: String) -> HistoryProgress {
        var progress = HistoryProgress(
            LedgerLane(id: 3, subscriber: subscriber, details: details, begun: FixedClock().time))
        progress.total = 10
        progress.passed = 4
        progress.perSecond = 2
        return progress
    }

    func histories(of subscriber: String) async throws(Failure) -> [HistoryProgress] {
        [try await replay(subscriber, ReplayRequest(from: .earliest))]
    }

    func history(of subscriber: String, _ id: Int64) async throws(Failure) -> HistoryProgress {
        try await replay(subscriber, ReplayRequest(from: .earliest))
    }

    func cancelHistory(of subscriber: String, _ id: Int64) async throws(Failure) -> HistoryProgress {
        throw Failure(.conflict, "replay \(id) of \"\(subscriber)\" is finished already")
    }

    func beginImport(
        _ subscriber: String, topic: String, file: String, expected: Int?, isFirst: Bool
    ) async throws(Failure) -> HistoryProgress {
        let hidden = Topic.imported(3, for: topic)
        var details = LedgerLane.Details(kind: .imported, spans: [.init(topic: hidden.name, from: 0, until: 0)])
        details.file = file
        details.expected = expected
        details.isComplete = false
        if isFirst { details.isFirst = true }
        return progress(details, of: subscriber)
    }

    func importTarget(_ subscriber: String, _ id: Int64) async throws(Failure) -> PublishTarget {
        guard let target = publishing(to: "orders") else { throw Failure(.notFound, "no import \(id)") }
        return target
    }

    func importEvents(
        _ subscriber: String, _ id: Int64, at: Int, _ batch: RecordBatch
    ) async throws(Failure) -> Int { at + batch.count }

    func completeImport(
        _ subscriber: String, _ id: Int64, events: Int
    ) async throws(Failure) -> HistoryProgress {
        try await beginImport(subscriber, topic: "orders", file: "f", expected: events, isFirst: false)
    }
}
