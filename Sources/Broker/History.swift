// SPDX-License-Identifier: Apache-2.0

package import Events
package import Ledger
import Logging
import Routes

extension BrokerCore {
    /// Opens a run of history; it is the caller's to write it down (``commit``'s `newRows`).
    func openLane(
        _ subscriber: Subscriber, id: Int64, _ details: LedgerLane.Details, _ now: Timestamp
    ) -> HistoryLane {
        let row = LedgerLane(id: id, subscriber: subscriber.name, details: details, begun: now)
        var settings = subscriber.route.stateSettings(bounds)
        settings.paused = subscriber.state.settings.paused
        let lane = HistoryLane(row, settings: settings, known: nil, deadKeys: [], now: now)
        lane.state.generation = subscriber.state.generation
        lane.pace.mark(0, now)
        subscriber.history.append(lane)
        _ = subscriber.metrics(of: details.kind)
        return lane
    }

    func nextLane() -> Int64 {
        lastLane += 1
        return lastLane
    }

    /// Brings back the runs that a restart interrupted.
    func restoreLanes(
        of subscriber: Subscriber, _ known: [LaneLedger], deadKeys: [Int64: [String]], _ now: Timestamp
    ) {
        subscriber.history = known.map { known in
            let details = known.lane.details
            let importEnd = details.kind == .imported ? end(of: .named(details.spans[0].topic)).offset : 0
            let lane = HistoryLane(
                known.lane, settings: subscriber.route.stateSettings(bounds), known: known, importEnd: importEnd,
                deadKeys: deadKeys[known.lane.id] ?? [], now: now)
            lane.pace.mark(lane.passed, now)
            return lane
        }
        for lane in subscriber.history { _ = subscriber.metrics(of: lane.row.details.kind) }
        subscriber.recordHistory(now)
    }

    /// Runs that have nothing more to do leave, and with an import its events.
    func endFinishedLanes(of subscriber: Subscriber, _ now: Timestamp) {
        var rows: [LedgerLane] = []
        var left: [HistoryLane] = []
        for lane in subscriber.history {
            if lane.isCancelled {
                if lane.state.inFlight.isEmpty { left.append(lane) }
            } else if lane.isFinished {
                lane.end(.finished, at: now)
                rows.append(lane.row)
                left.append(lane)
            }
        }
        guard !left.isEmpty else { return }
        let topics = left.filter(\.isImport).map(\.importTopic)
        let (engine, log, perform) = (engine, log, perform)
        commit(subscriber, LedgerRound(), needsSync: !rows.isEmpty, newRows: rows) {
            // Their end is on disk: nobody asks for these events again.
            for topic in topics { perform { Self.remove(topic, from: engine, log) } }
        }
        for topic in topics { ends[topic] = nil }
        for lane in left {
            log.info(
                "A run of history has ended",
                metadata: [
                    "subscriber": "\(subscriber.name)", "id": "\(lane.id)", "kind": "\(lane.row.details.kind.rawValue)",
                    "state": "\(lane.row.state.rawValue)", "delivered": "\(lane.row.done)",
                ])
        }
        subscriber.history.removeAll { lane in left.contains { $0 === lane } }
        subscriber.recordHistory(now)
        // What waited for them may go.
        if left.contains(where: { $0.row.details.isFirst == true }) { wake(subscriber, at: now) }
    }

    private static func remove(_ topic: Topic, from engine: any Engine, _ log: Logger) {
        Task {
            do {
                try await engine.removeImport(topic)
            } catch {
                log.warning(
                    "An import's events are not removed; the next start does it",
                    metadata: ["topic": "\(topic)", "error": "\(error)"])
            }
        }
    }

    // MARK: Replays

    /// The topics that a replay to the subscriber may be of, with their ends.
    func replayable(_ name: String, _ topic: String?) -> Result<[Topic], Failure> {
        guard let subscriber = subscribers[name] else { return .failure(unknownSubscriber(name)) }
        if let refusal = refusal(of: subscriber) { return .failure(refusal) }
        let topics = subscriber.state.feeds.keys.sorted { $0.name < $1.name }
        guard let topic else { return .success(topics) }
        guard let found = topics.first(where: { $0.name == topic }) else {
            return .failure(doesNotTake(subscriber, topic))
        }
        return .success([found])
    }

    private func refusal(of subscriber: Subscriber) -> Failure? {
        if subscriber.route.refusesReplay {
            return Failure(
                .conflict,
                "subscriber \"\(subscriber.name)\" has a `replay deny` line in routes.conf; remove it and reload, "
                    + "if its handler can take events again")
        }
        if subscriber.history.count >= Limits.lanesMax {
            return Failure(
                .conflict,
                "subscriber \"\(subscriber.name)\" has \(subscriber.history.count) runs of history under way, which is the "
                    + "most there may be; wait for one to end, or cancel one")
        }
        return nil
    }

    private func doesNotTake(_ subscriber: Subscriber, _ topic: String) -> Failure {
        let topics = subscriber.state.feeds.keys.map(\.name).sorted().joined(separator: ", ")
        return Failure(
            .malformed, "subscriber \"\(subscriber.name)\" doesn't take from \"\(topic)\"; it takes from: \(topics)")
    }

    package func replay(_ name: String, _ details: LedgerLane.Details) -> Result<HistoryProgress, Failure> {
        guard let subscriber = subscribers[name] else { return .failure(unknownSubscriber(name)) }
        if let refusal = refusal(of: subscriber) { return .failure(refusal) }
        let now = clock.now()
        let lane = openLane(subscriber, id: nextLane(), details, now)
        commit(subscriber, LedgerRound(), needsSync: true, newRows: [lane.row])
        let progress = lane.progress(now)
        dispatch(subscriber)
        return .success(progress)
    }

    package func runningLanes(of name: String) -> Result<[HistoryProgress], Failure> {
        guard let subscriber = subscribers[name] else { return .failure(unknownSubscriber(name)) }
        let now = clock.now()
        return .success(subscriber.history.map { $0.progress(now) })
    }

    /// Starts nothing more of a run; what is in flight ends. The past of a new subscriber may be given up as well.
    package func cancelLane(_ name: String, _ id: Int64) -> Result<HistoryProgress?, Failure> {
        guard let subscriber = subscribers[name] else { return .failure(unknownSubscriber(name)) }
        guard let lane = subscriber.history.first(where: { $0.id == id && !$0.isCancelled }) else {
            return .success(nil)
        }
        let now = clock.now()
        var progress = lane.progress(now)
        lane.end(.cancelled, at: now)
        progress.lane = lane.row
        var round = LedgerRound()
        round.resolved = lane.state.cancel().map { ResolvedLetter($0, .discarded("its replay was cancelled")) }
        commit(subscriber, round, needsSync: true, newRows: [lane.row])
        dispatch(subscriber)
        return .success(progress)
    }

    // MARK: Imports

    /// Goes on with the import of a file, or begins one; and the topic that its events wait in, from which offset on.
    package func beginImport(
        _ name: String, topic: String, file: String, expected: Int?, isFirst: Bool
    ) -> Result<(progress: HistoryProgress, topic: Topic, first: Offset), Failure> {
        guard let subscriber = subscribers[name] else { return .failure(unknownSubscriber(name)) }
        let now = clock.now()
        let running = subscriber.history.first { lane in
            lane.isImport && !lane.isCancelled && lane.row.details.file == file && lane.importTopic.shownName == topic
        }
        if let lane = running { return .success((lane.progress(now), lane.importTopic, lane.importFirst)) }
        guard subscriber.state.feeds[Topic.named(topic)] != nil else { return .failure(doesNotTake(subscriber, topic)) }
        if let refusal = refusal(of: subscriber) { return .failure(refusal) }
        let id = nextLane()
        let hidden = Topic.imported(id, for: topic)
        let first = Offset(id) << Limits.importOffsetBits
        var details = LedgerLane.Details(
            kind: .imported, spans: [.init(topic: hidden.name, from: first, until: first)])
        details.file = file
        details.expected = expected
        details.isComplete = false
        if isFirst { details.isFirst = true }
        let lane = openLane(subscriber, id: id, details, now)
        commit(subscriber, LedgerRound(), needsSync: true, newRows: [lane.row])
        return .success((lane.progress(now), hidden, first))
    }

    private func openImport(_ name: String, _ id: Int64) -> Result<HistoryLane, Failure> {
        guard let subscriber = subscribers[name] else { return .failure(unknownSubscriber(name)) }
        let lane = subscriber.history.first { $0.id == id && $0.isImport && !$0.isCancelled }
        guard let lane else {
            return .failure(Failure(.notFound, "subscriber \"\(name)\" has no import \(id) under way; begin it again"))
        }
        return .success(lane)
    }

    func importTarget(_ name: String, _ id: Int64) -> Result<PublishTarget, Failure> {
        openImport(name, id).map { PublishTarget(topic: $0.importTopic, key: keyExtractor(of: $0.importTopic)) }
    }

    /// Whoever sends must know how much is in, or events would be in twice or not at all.
    package func claimImport(_ name: String, _ id: Int64, at: Int) -> Result<Void, Failure> {
        openImport(name, id).flatMap { lane in
            guard !lane.isAppending else {
                return .failure(Failure(.conflict, "import \(id) is being sent by somebody else right now"))
            }
            guard !lane.row.details.isComplete, lane.taken == at else {
                return .failure(
                    Failure(
                        .conflict,
                        "import \(id) has \(lane.taken) events\(lane.row.details.isComplete ? " and is complete" : ""), and "
                            + "these would begin at \(at); go on from there"))
            }
            lane.isAppending = true
            return .success(())
        }
    }

    /// An append has ended; with what is the topic's end now, where it went well.
    package func importAppended(_ name: String, _ id: Int64, end: Offset?) -> (taken: Int?, isLive: Bool) {
        let isLive = isLive(clock.now())
        guard let subscriber = subscribers[name], let lane = subscriber.history.first(where: { $0.id == id }) else {
            return (nil, isLive)
        }
        lane.isAppending = false
        if let end { lane.grow(to: end) }
        dispatch(subscriber)
        return (lane.taken, isLive)
    }

    package func completeImport(_ name: String, _ id: Int64, events: Int) -> Result<HistoryProgress, Failure> {
        openImport(name, id).flatMap { lane in
            guard let subscriber = subscribers[name] else { return .failure(unknownSubscriber(name)) }
            guard lane.taken == events, !lane.isAppending else {
                return .failure(
                    Failure(.conflict, "import \(id) has \(lane.taken) events, not \(events); go on from there"))
            }
            let now = clock.now()
            lane.complete()
            commit(subscriber, LedgerRound(), needsSync: true, newRows: [lane.row])
            let progress = lane.progress(now)
            dispatch(subscriber)
            return .success(progress)
        }
    }
}
