// SPDX-License-Identifier: Apache-2.0

package import Events
import Filtering
import Ledger
import Routes

extension Broker {
    /// Delivers records of the past to a subscriber again, beside what is live. Answers when the run is on disk;
    /// ``histories(of:)`` tells how it goes.
    package func replay(_ subscriber: String, _ request: ReplayRequest) async throws(Failure) -> HistoryProgress {
        let topics = try await on { core in core.replayable(subscriber, request.topic) }.get()
        for point in [request.from, request.until] {
            if case .offset = point, topics.count > 1 {
                throw Failure(
                    .malformed,
                    "an offset is of one topic, and \"\(subscriber)\" takes from several: name the topic, one of "
                        + topics.map(\.name).joined(separator: ", "))
            }
        }
        var filter: Filter?
        if let text = request.filter {
            do {
                filter = try Filter.parse(text)
            } catch {
                throw Failure(.malformed, "the filter is wrong: \(error)")
            }
        }
        let spans = try await blocking { () throws(Failure) in
            var spans: [LedgerLane.Span] = []
            for topic in topics {
                let bounds = self.engine.bounds(of: topic)
                let from = try self.offset(request.from, in: topic, bounds)
                let until = try self.offset(request.until, in: topic, bounds)
                if from < until { spans.append(.init(topic: topic.name, from: from, until: until)) }
            }
            return spans
        }
        guard !spans.isEmpty else {
            throw Failure(
                .malformed,
                "there is nothing between these points in \(topics.map(\.name).joined(separator: ", ")); "
                    + "`fairlead status` shows which offsets there are")
        }
        var details = LedgerLane.Details(kind: .replay, spans: spans)
        details.filter = filter?.text
        details.rate = request.rate
        let asked = details
        let progress = try await on { core in core.replay(subscriber, asked) }.get()
        try await written()
        return progress
    }

    private func offset(
        _ point: StartPosition, in topic: Topic, _ bounds: TopicBounds
    ) throws(Failure) -> Offset {
        switch point {
        case .earliest: bounds.first
        case .latest: bounds.end
        case .offset(let offset): min(max(offset, bounds.first), bounds.end)
        case .time(let time): try engine.offset(at: time, in: topic)
        }
    }

    /// Runs of history of a subscriber, those that have ended lately included, the newest first.
    package func histories(of subscriber: String) async throws(Failure) -> [HistoryProgress] {
        let running = try await on { core in core.runningLanes(of: subscriber) }.get()
        let all = try await blocking { () throws(Failure) in
            try self.engine.lanes(of: subscriber, limit: Limits.lanesShown)
        }
        return all.map { lane in running.first { $0.lane.id == lane.id } ?? HistoryProgress(lane) }
    }

    package func history(of subscriber: String, _ id: Int64) async throws(Failure) -> HistoryProgress {
        guard let found = try await histories(of: subscriber).first(where: { $0.lane.id == id }) else {
            throw Failure(.notFound, "subscriber \"\(subscriber)\" has no replay or import \(id)")
        }
        return found
    }

    /// Starts nothing more of a run; what is in flight ends. Answers when that is on disk, also to whoever asks a second
    /// time.
    package func cancelHistory(of subscriber: String, _ id: Int64) async throws(Failure) -> HistoryProgress {
        let cancelled = try await on { core in core.cancelLane(subscriber, id) }.get()
        try await written()
        if let cancelled { return cancelled }
        let ended = try await history(of: subscriber, id)
        throw Failure(.conflict, "replay \(id) of \"\(subscriber)\" is \(ended.lane.state.rawValue) already")
    }

    /// Begins to take what happened before the router existed, or goes on with it: `file` names the contents. What is
    /// known of it already, were it finished, is in the answer.
    package func beginImport(
        _ subscriber: String, topic: String, file: String, expected: Int?, isFirst: Bool = false
    ) async throws(Failure) -> HistoryProgress {
        _ = try await on { core in core.runningLanes(of: subscriber) }.get()
        let earlier = try await blocking { () throws(Failure) in
            // All that are kept: a listing may show none of them, where there were many replays since.
            try self.engine.lanes(of: subscriber, limit: .max).first { lane in
                lane.details.kind == .imported && lane.details.file == file && lane.state == .finished
                    && lane.details.spans.allSatisfy { Topic.named($0.topic).shownName == topic }
            }
        }
        if let earlier { return HistoryProgress(earlier) }
        let begun = try await on { core in
            core.beginImport(subscriber, topic: topic, file: file, expected: expected, isFirst: isFirst)
        }.get()
        try await written()
        try await engine.createImport(begun.topic, first: begun.first)
        return begun.progress
    }

    /// What an import's events are decoded for.
    package func importTarget(_ subscriber: String, _ id: Int64) async throws(Failure) -> PublishTarget {
        try await on { core in core.importTarget(subscriber, id) }.get()
    }

    /// Takes the next events of an import, of which `at` are in; returns how many are in then, durably.
    package func importEvents(
        _ subscriber: String, _ id: Int64, at: Int, _ batch: RecordBatch
    ) async throws(Failure) -> Int {
        guard batch.count > 0 else { return at }
        try await on { core in core.claimImport(subscriber, id, at: at) }.get()
        do {
            let range = try await append(batch)
            let (taken, isLive) = await on { core in
                core.importAppended(subscriber, id, end: range.upperBound + 1)
            }
            if isLive { await makeRoom(after: batch) }
            return taken ?? at + batch.count
        } catch {
            _ = await on { core in core.importAppended(subscriber, id, end: nil) }
            throw error
        }
    }

    /// While events are published, whoever sends an import waits for its answer, so that the processors aren't busy with
    /// what has time.
    private func makeRoom(after batch: RecordBatch) async {
        let time = max(
            Duration.seconds(batch.count) / Limits.importYieldEvents,
            Duration.seconds(batch.byteCount) / Limits.importYieldBytes)
        // The events are in: a sender that has gone away is no reason to fail.
        try? await Task.sleep(for: min(time, Limits.importYieldWaitMax))
    }

    /// Everything of an import is in: `events`, by the sender's count. Answers when that is on disk: the sender may throw
    /// the file away.
    package func completeImport(
        _ subscriber: String, _ id: Int64, events: Int
    ) async throws(Failure) -> HistoryProgress {
        let progress = try await on { core in core.completeImport(subscriber, id, events: events) }.get()
        try await written()
        return progress
    }

    /// Removes what a crash left of imports that are done, and those of subscribers that are forgotten. An import's row is
    /// written before its topic is made, so that none that begins meanwhile is taken for one.
    func removeEndedImports() async throws(Failure) {
        let imports = engine.imports()
        guard !imports.isEmpty else { return }
        let running = try await blocking { () throws(Failure) in
            Set(
                try self.engine.lanes(of: nil, limit: .max).filter { $0.state == .running }
                    .flatMap { $0.details.spans.map(\.topic) })
        }
        for topic in imports where !running.contains(topic.name) { try await engine.removeImport(topic) }
    }
}
