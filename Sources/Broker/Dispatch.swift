// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering
import Logging
import Routes

extension BrokerCore {
    /// The fourth verb: starts what may start now for one subscriber, and sees to it that more is there to start.
    ///
    /// Its state machine decides (order, concurrency, rate, batches, backoff); the destination or a waiting pull
    /// carries it out and answers through ``settle(_:_:)``.
    func dispatch(_ subscriber: Subscriber) {
        let now = clock.now()
        guard engine.unwritten < Limits.ledgerQueueMax else {
            // The ledger is behind: what would be settled now could not be written down in time.
            wake(subscriber, at: now + Limits.settleFlushDelay)
            return
        }
        if subscriber.leases.count > 0 { expireLeases(subscriber, now) }
        readDue(subscriber, subscriber, now)
        for lane in subscriber.history { readDue(subscriber, lane, now) }
        if let destination = subscriber.destination {
            while case let started = subscriber.startLive(max: Limits.pipelineEvents, now: now), !started.isEmpty {
                subscriber.metrics.started(started.count)
                destination.deliver(started)
            }
            if !subscriber.history.isEmpty {
                let started = subscriber.startHistory(max: Limits.pipelineEvents, now: now)
                if !started.isEmpty {
                    subscriber.metrics.started(started.count)
                    destination.deliver(started)
                }
            }
        } else {
            servePulls(subscriber, now)
        }
        readBacklog(subscriber, subscriber)
        if !subscriber.history.isEmpty {
            for lane in subscriber.history { readBacklog(subscriber, lane) }
            endFinishedLanes(of: subscriber, now)
        }
        if let wake = subscriber.wake(now: now) { self.wake(subscriber, at: wake) }
        if let expiry = subscriber.leases.nextExpiry { wake(subscriber, at: expiry) }
    }

    /// Reads the records of retries whose time has come, and of dead letters sent again.
    private func readDue(_ subscriber: Subscriber, _ lane: any DeliveryLane, _ now: Timestamp) {
        let due = lane.state.takeDue(now: now, max: Limits.catchUpEvents)
        guard !due.isEmpty else { return }
        let name = subscriber.name
        let id = lane.laneID
        perform { [engine, post] in
            let read = due.map { entry in
                (
                    id: entry.id,
                    record: Result { () throws(Failure) in try engine.record(entry.id, deadLetter: entry.deadLetter) }
                )
            }
            post { core in core.resumed(name, id, read) }
        }
    }

    private func resumed(
        _ name: String, _ laneID: Int64?, _ read: [(id: DeliveryID, record: Result<Record?, Failure>)]
    ) {
        guard let subscriber = subscribers[name], let lane = subscriber.lane(laneID) else { return }
        let now = clock.now()
        var round = LedgerRound()
        for (id, result) in read {
            switch result {
            case .success(let record?):
                lane.state.resume(record, id: id)
            case .success(nil):
                log.error(
                    "A delivery that waited for its retry is lost: retention has removed its record",
                    metadata: ["subscriber": "\(name)", "topic": "\(id.topic)", "offset": "\(id.offset)"])
                lane.state.lost(id, now: now, into: &round)
            case .failure(let failure):
                log.error(
                    "A record can't be read, trying again",
                    metadata: ["subscriber": "\(name)", "topic": "\(id.topic)", "error": "\(failure)"])
                lane.state.postpone(id, until: now + Limits.readRetryDelay)
            }
        }
        if !round.isEmpty { commit(subscriber, round, lane: laneID) }
        dispatch(subscriber)
    }

    /// Reads on in the journal for a subscriber that is behind and has room.
    private func readBacklog(_ subscriber: Subscriber, _ lane: any DeliveryLane) {
        guard !lane.isReading, !lane.state.settings.paused, lane.state.hasRoom, let (topic, from) = lane.state.behind
        else { return }
        lane.isReading = true
        let name = subscriber.name
        let id = lane.laneID
        let count = id == nil ? Limits.catchUpEvents : Limits.historyReadEvents
        perform { [engine, post] in
            let result = Result { () throws(Failure) in
                try engine.read(topic, from: from, maxRecords: count, maxBytes: Limits.catchUpBytes)
            }
            post { core in core.readOn(name, id, topic, from: from, result) }
        }
    }

    private func readOn(
        _ name: String, _ laneID: Int64?, _ topic: Topic, from: Offset, _ result: Result<RecordBatch?, Failure>
    ) {
        guard let subscriber = subscribers[name], let lane = subscriber.lane(laneID) else { return }
        lane.isReading = false
        switch result {
        case .success(let batch?) where batch.count > 0:
            if batch.first > from {
                log.error(
                    "A subscriber missed records that retention or damage has taken",
                    metadata: [
                        "subscriber": "\(name)", "topic": "\(topic)", "from": "\(from)", "to": "\(batch.first)",
                    ])
                lane.state.skip(topic, to: batch.first)
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
            lane.state.arrive(batch, matching: matching, into: &round)
            subscriber.isDirty = true
            if !round.isEmpty { commit(subscriber, round, lane: laneID) }
            dispatch(subscriber)
        case .success:
            // Nothing left up to the end: what was there is gone.
            lane.state.skip(topic, to: lane.state.feeds[topic]?.end.offset ?? 0)
            dispatch(subscriber)
        case .failure(let failure):
            log.error(
                "The journal can't be read, trying again",
                metadata: ["subscriber": "\(name)", "topic": "\(topic)", "error": "\(failure)"])
            wake(subscriber, at: clock.now() + Limits.readRetryDelay)
        }
    }
}
