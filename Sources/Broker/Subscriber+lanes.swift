// SPDX-License-Identifier: Apache-2.0

import Events
import Routes

extension Subscriber: DeliveryLane {
    var laneID: Int64? { nil }

    /// nil where the run has ended.
    func lane(_ id: Int64?) -> (any DeliveryLane)? {
        guard let id else { return self }
        return history.first { $0.id == id }
    }

    var lanes: [any DeliveryLane] { [self] + history }

    private var historyInFlight: Int { history.reduce(0) { $0 + $1.state.inFlight.count } }

    /// Of what is live, at most `max`.
    func startLive(max: Int, maxBytes: Int = .max, now: Timestamp) -> [Delivery] {
        guard !history.isEmpty else { return state.start(max: max, maxBytes: maxBytes, now: now) }
        guard !waitsForHistory else { return [] }
        let others = historyInFlight
        guard others == 0 || state.settings.batch == nil else { return [] }
        let room = min(max, state.settings.inFlightMax - state.inFlight.count - others)
        return state.start(max: room, maxBytes: maxBytes, now: now) { [self] in isUnderway($0, besides: self) }
    }

    /// Of history, what has room beside what is live: at most `max` and, where that has begun, `maxBytes` of records. While
    /// the breaker is open, one that is the probe, where nothing that is live can be. `turnBegins` is the moment by a clock that
    /// is never set, where history has to make room for what is published (``HistoryTurns``).
    func startHistory(
        max: Int, maxBytes: Int = .max, now: Timestamp, turnBegins: Int64? = nil
    ) -> [Delivery] {
        var started: [Delivery] = []
        var max = max
        switch state.breaker.stand(now: now) {
        case .everything: break
        case .probe: max = min(max, 1)
        case .nothing, .probing: return []
        }
        var bytes = maxBytes
        for lane in history where started.count < max && bytes > 0 {
            let underway = state.inFlight.count + historyInFlight
            guard underway == 0 || state.settings.batch == nil else { break }
            guard turnBegins == nil || lane.turns.mayBegin(now) else { continue }
            var room = min(max - started.count, state.settings.inFlightMax - underway, lane.state.startable)
            // Whoever pulls, or takes batches, sets the pace.
            if destination != nil, state.settings.batch == nil {
                let most = turnBegins == nil ? lane.share.inFlightMax : lane.turns.inFlightMax
                room = min(room, most - lane.state.inFlight.count)
            }
            guard room > 0 else { continue }
            let granted = state.takeTokens(upTo: room, now: now)
            let more = lane.state.start(max: granted, maxBytes: bytes, now: now) { [self] in
                isUnderway($0, besides: lane)
            }
            state.putBackTokens(granted - more.count)
            if let turnBegins, !more.isEmpty { lane.turns.begin(now, turnBegins) }
            started += more
            if maxBytes < .max { bytes -= more.reduce(0) { $0 + $1.record.byteCount } }
        }
        if let first = started.first { state.probeStarted(first.id) }
        return started
    }

    /// Somebody wants the past to be done before the present.
    private var waitsForHistory: Bool { history.contains { $0.isFirst } }

    /// Where a matching record of `id` is, in whichever lane has it.
    func place(of id: DeliveryID) -> DeliveryTrace? {
        let live = state.place(of: id)
        switch live?.state {
        case .underway, .retrying, .parked, .waiting: return live
        default: return history.lazy.compactMap { $0.place(of: id) }.first ?? live
        }
    }

    /// One delivery is never under way in two lanes, nor are two of a key where order counts.
    private func isUnderway(_ delivery: Delivery, besides lane: any DeliveryLane) -> Bool {
        if lane !== self, state.isUnderway(delivery) { return true }
        return history.contains { $0 !== lane && $0.state.isUnderway(delivery) }
    }

    /// Half of what may run at once is for what is live.
    var historyLeast: Int { max(1, route.concurrency / 2) }

    /// The next moment at which something changes by itself in any lane.
    func wake(now: Timestamp) -> Timestamp? {
        guard !history.isEmpty else { return state.wake(now: now) }
        let isTaken = waitsForHistory || state.settings.batch != nil && historyInFlight > 0
        let stand = state.breaker.stand(now: now)
        let mayStart = stand == .everything || stand == .probe
        var wakes =
            [state.wake(now: now, canStart: !isTaken)] + history.map { $0.state.wake(now: now, canStart: mayStart) }
        for lane in history where lane.state.startable > 0 && lane.turns.next > now { wakes.append(lane.turns.next) }
        if history.contains(where: { $0.state.startable > 0 }) {
            wakes.append(state.rateWake(after: now))
            if case .nothing(let until) = stand { wakes.append(until) }
        }
        return wakes.compactMap { $0 }.min()
    }
}
