// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Gateway
import Ledger
import Routes

extension Server {
    /// What became of an event, and why: the newest with this id.
    func why(_ id: String, source: String?, topic: String?) async throws(Failure) -> EventTrace? {
        guard let running, let record = try await broker.find(id, source: source, topic: topic) else { return nil }
        let ledger = ledger
        let router = try await broker.blocking { () throws(Failure) in
            try ledger.generation(routing: record.topic.name, record.offset)
        }
        let table = try await table(of: router)
        var trace = EventTrace(record: record, generation: router?.number)
        trace.isRecomputed = table == nil
        var versions: [Int: [String: String]] = [:]
        let then = RouteExplanation(table ?? running.generation.table, record)
        let now = RouteExplanation(running.generation.table, record)
        let delivery = DeliveryID(topic: record.topic, offset: record.offset)
        // Those that came later may have asked for history.
        let later = now.subscribers.filter { one in !then.subscribers.contains { $0.name == one.name } }
        for (explained, isLater) in then.subscribers.map({ ($0, false) }) + later.map({ ($0, true) }) {
            var subscriber = EventTrace.Subscriber(explained, isLater: isLater)
            if explained.outcome.isTaken || isLater {
                subscriber.delivery = try await broker.trace(explained.name, delivery)
            }
            // Of what isn't due for long only the ledger knows, which keeps it by time.
            if let due = record.deliverAt, due > SystemClock().now(), subscriber.delivery?.state == .settled,
                subscriber.delivery?.attempts.isEmpty ?? false
            {
                subscriber.delivery?.state = .scheduled
                subscriber.delivery?.due = due
            }
            // Of one that came later and never tried it, nobody can say more than that.
            if isLater, subscriber.delivery?.attempts.isEmpty ?? true { subscriber.delivery?.state = .before }
            for attempt in subscriber.delivery?.attempts ?? [] {
                if versions[attempt.generation] == nil {
                    versions[attempt.generation] =
                        try await broker.blocking { () throws(Failure) in try ledger.generation(attempt.generation) }?
                        .details.versions ?? [:]
                }
                subscriber.versions[attempt.generation] = versions[attempt.generation]?[explained.name]
            }
            trace.subscribers.append(subscriber)
        }
        return trace
    }

    /// nil where its files can't be read any more.
    private func table(of generation: LedgerGeneration?) async throws(Failure) -> RouteTable? {
        guard let generation else { return nil }
        if generation.number == running?.generation.number { return running?.generation.table }
        if let known = tables[generation.number] { return known }
        let ledger = ledger
        let files = try await broker.blocking { () throws(Failure) in
            try ledger.configFiles(of: generation) { !$0.hasSuffix(".lua") }
        }
        let compiled = RouteCompiler.compile(
            generation.details.config, from: StoredSources(files: files), strictEnvironment: false)
        if tables.count >= Self.tablesMax { tables = [:] }
        var table = compiled.table
        for (name, bad) in generation.details.badReloads ?? [:] where bad.end == .undone {
            // It ran what it was before.
            guard let index = table?.subscribers.firstIndex(where: { $0.name == name }), let previous = bad.previous,
                let known = try await builder.version(of: name, in: previous)
            else { continue }
            table?.subscribers[index] = known.route
        }
        tables[generation.number] = table
        return table
    }

    /// Tables of old generations kept in memory; each is about as large as its routes.conf.
    private static let tablesMax = 16

    func generations(limit: Int) async throws(Failure) -> [GenerationSummary] {
        let ledger = ledger
        let kept = try await broker.blocking { () throws(Failure) in try ledger.generations(limit: limit) }
        return kept.map { generation in
            let isRunning = generation.number == running?.generation.number
            // The process ended in the moment before it took over.
            let isInterrupted = generation.verdict == LedgerGeneration.applying && !isRunning
            return GenerationSummary(
                number: generation.number, hash: generation.hash, time: generation.time, trigger: generation.trigger,
                verdict: isInterrupted ? "interrupted" : generation.verdict, changes: generation.details.changes,
                isRunning: isRunning, versions: generation.details.versions, origin: generation.details.origin)
        }
    }
}
