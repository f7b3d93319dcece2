// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering
import Ledger
import Logging
import Routes

extension BrokerCore {
    /// The fourth verb: starts what may start now for one subscriber, and sees to it that more is there to start.
    ///
    /// Its state machine decides (order, concurrency, rate, batches, backoff); the destination or a waiting pull
    /// carries it out and answers through ``settle(_:_:)``.
    func dispatch(_ subscriber: Subscriber) {
        guard !subscriber.isHandedOver else { return }
        let now = clock.now()
        guard engine.unwritten < bounds.ledgerQueueMax else {
            // The ledger is behind: what would be settled now could not be written down in time.
            wake(subscriber, at: now + Limits.settleFlushDelay)
            return
        }
        if subscriber.leases.count > 0 { expireLeases(subscriber, now) }
        if let end = subscriber.probation?.wake, end <= now { concludeProbation(of: subscriber, now) }
        for lane in subscriber.lanes where !lane.state.suspended.isEmpty {
            lane.state.resumeSuspended(now: now)
        }
        readDue(subscriber, subscriber, now)
        for lane in subscriber.history { readDue(subscriber, lane, now) }
        if let destination = subscriber.destination {
            while case let started = subscriber.startLive(max: Limits.pipelineEvents, now: now), !started.isEmpty {
                subscriber.metrics.started(started.count)
                destination.deliver(started)
            }
            if !subscriber.history.isEmpty {
                let started = subscriber.startHistory(
                    max: Limits.pipelineEvents, now: now, turnBegins: isLive(now) ? clock.nanoseconds() : nil)
                if !started.isEmpty {
                    subscriber.metrics.started(started.count)
                    destination.deliver(started)
                }
            }
        } else {
            servePulls(subscriber, now)
        }
        for lane in subscriber.lanes { dropOverdue(subscriber, lane) }
        readBacklog(subscriber, subscriber)
        readShelf(subscriber, now)
        if !subscriber.history.isEmpty {
            for lane in subscriber.history { readBacklog(subscriber, lane) }
            endFinishedLanes(of: subscriber, now)
        }
        if let wake = subscriber.wake(now: now) { self.wake(subscriber, at: wake) }
        if let end = subscriber.probation?.wake { wake(subscriber, at: end) }
        if let expiry = subscriber.leases.nextExpiry { wake(subscriber, at: expiry) }
    }

    /// Whether history has to make room, since events are being published.
    func isLive(_ now: Timestamp) -> Bool { liveAt.map { now - $0 < Limits.liveKept } ?? false }

    /// Ends deliveries that came too late to be made, by `ttl` or by the event itself.
    private func dropOverdue(_ subscriber: Subscriber, _ lane: any DeliveryLane) {
        let overdue = lane.state.takeOverdue()
        guard !overdue.isEmpty else { return }
        let settlements = overdue.map { id in
            var settlement = Settlement(id, .drop(reason: "expired"))
            settlement.isOverdue = true
            return settlement
        }
        settle(subscriber, Settlements(others: settlements))
    }

    /// Reads the next scheduled deliveries from the ledger, where those in memory become few.
    private func readShelf(_ subscriber: Subscriber, _ now: Timestamp) {
        if let again = subscriber.shelfReadAt, again > now { return wake(subscriber, at: again) }
        guard !subscriber.state.settings.paused, let (from, limit) = subscriber.state.takeShelfRead() else { return }
        let name = subscriber.name
        perform { [engine, post] in
            let rows = Result { () throws(Failure) in try engine.scheduled(of: name, from: from, limit: limit) }
            post { core in core.unshelve(name, rows, limit) }
        }
    }

    private func unshelve(_ name: String, _ rows: Result<[Deferred], Failure>, _ limit: Int) {
        guard let subscriber = subscribers[name] else { return }
        switch rows {
        case .success(let rows):
            subscriber.shelfReadAt = nil
            subscriber.state.unshelve(rows.map { $0.restored }, isLast: rows.count < limit)
        case .failure(let failure):
            log.error(
                "Scheduled deliveries can't be read, trying again",
                metadata: ["subscriber": "\(name)", "error": "\(failure)"])
            subscriber.state.unshelvingFailed()
            subscriber.shelfReadAt = clock.now() + Limits.readRetryDelay
        }
        dispatch(subscriber)
    }

    /// Reads the records of retries whose time has come, and of dead letters sent again.
    private func readDue(_ subscriber: Subscriber, _ lane: any DeliveryLane, _ now: Timestamp) {
        let due = lane.state.takeDue(now: now, max: Limits.catchUpEvents)
        guard !due.isEmpty else { return }
        let (name, life, id) = (subscriber.name, subscriber.life, lane.laneID)
        perform { [engine, post] in
            let read = due.map { entry in
                (
                    id: entry.id,
                    record: Result { () throws(Failure) in try engine.record(entry.id, deadLetter: entry.deadLetter) }
                )
            }
            post { core in core.resumed(name, life, id, read) }
        }
    }

    private func resumed(
        _ name: String, _ life: Int, _ laneID: Int64?, _ read: [(id: DeliveryID, record: Result<Record?, Failure>)]
    ) {
        guard let subscriber = subscribers[name], subscriber.life == life, let lane = subscriber.lane(laneID) else {
            return
        }
        let now = clock.now()
        var round = LedgerRound()
        var gone: [DeliveryID] = []
        for (id, result) in read {
            switch result {
            case .success(let record?):
                lane.state.resume(record, id: id, now: now)
            case .success(nil):
                lane.state.lost(id, now: now, into: &round)
                gone.append(id)
            case .failure(let failure):
                log.error(
                    "A record can't be read, trying again",
                    metadata: ["subscriber": "\(name)", "topic": "\(id.topic)", "error": "\(failure)"])
                lane.state.postpone(id, until: now + Limits.readRetryDelay)
            }
        }
        if !gone.isEmpty {
            let losses = Dictionary(grouping: gone, by: \.topic).map { topic, ids in
                Loss(topic: topic, offsets: ids.map(\.offset), cause: .goneBeforeRetry)
            }
            report(losses, of: subscriber, round, lane: laneID)
        } else if !round.isEmpty {
            commit(subscriber, round, lane: laneID)
        }
        dispatch(subscriber)
    }

    /// Reads on in the journal for a subscriber that is behind and has room.
    private func readBacklog(_ subscriber: Subscriber, _ lane: any DeliveryLane) {
        let now = clock.now()
        guard !lane.isReading, !lane.state.settings.paused, lane.state.hasRoom,
            let (topic, from) = lane.state.behind(now: now)
        else { return }
        let (name, life, id) = (subscriber.name, subscriber.life, lane.laneID)
        let count =
            id == nil ? Limits.catchUpEvents : isLive(now) ? Limits.yieldReadEvents : Limits.historyReadEvents
        // What has no room would be read again. A batch may need all the room there is.
        guard id == nil || lane.state.settings.batch != nil || lane.state.held + count <= Limits.historyWindowEvents
        else { return }
        lane.isReading = true
        perform { [engine, post] in
            let result = Result { () throws(Failure) in
                try engine.read(topic, from: from, maxRecords: count, maxBytes: Limits.catchUpBytes)
            }
            post { core in core.readOn(name, life, id, topic, from: from, result) }
        }
    }

    private func readOn(
        _ name: String, _ life: Int, _ laneID: Int64?, _ topic: Topic, from: Offset,
        _ result: Result<RecordBatch?, Failure>
    ) {
        // What was read for one that was removed and came back is not what that one asked for.
        guard let subscriber = subscribers[name], subscriber.life == life, let lane = subscriber.lane(laneID) else {
            return
        }
        lane.isReading = false
        switch result {
        case .success(let batch?) where batch.count > 0:
            if batch.first > from {
                skipGone(subscriber, lane, topic, to: batch.first)
            }
            var matching: [Int32] = []
            let history = lane as? HistoryLane
            for index in 0..<batch.count {
                let record = batch[index]
                subscriber.matcher.match(record, subscriber.scratch) { _ in
                    if history?.takes(record) ?? true { matching.append(Int32(index)) }
                }
            }
            var round = LedgerRound()
            lane.state.arrive(batch, matching: matching, now: clock.now(), into: &round)
            subscriber.isDirty = true
            if !round.isEmpty { commit(subscriber, round, lane: laneID) }
            dispatch(subscriber)
        case .success:
            // Nothing left up to the end: what was there is gone.
            skipGone(subscriber, lane, topic, to: lane.state.feeds[topic]?.end.offset ?? 0)
            dispatch(subscriber)
        case .failure(let failure):
            log.error(
                "The journal can't be read, trying again",
                metadata: ["subscriber": "\(name)", "topic": "\(topic)", "error": "\(failure)"])
            wake(subscriber, at: clock.now() + Limits.readRetryDelay)
        }
    }
}
