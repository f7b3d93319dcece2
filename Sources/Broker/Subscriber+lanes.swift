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
    func startLive(max: Int, now: Timestamp) -> [Delivery] {
        guard !history.isEmpty else { return state.start(max: max, now: now) }
        let others = historyInFlight
        guard others == 0 || state.settings.batch == nil else { return [] }
        let room = min(max, state.settings.inFlightMax - state.inFlight.count - others)
        return state.start(max: room, now: now) { [self] in isUnderway($0, besides: self) }
    }

    /// Of history, what has room beside what is live: at most `max`.
    func startHistory(max: Int, now: Timestamp) -> [Delivery] {
        var started: [Delivery] = []
        for lane in history {
            let underway = state.inFlight.count + historyInFlight
            guard underway == 0 || state.settings.batch == nil else { break }
            var room = min(max - started.count, state.settings.inFlightMax - underway, lane.state.startable)
            // Whoever pulls, or takes batches, sets the pace.
            if destination != nil, state.settings.batch == nil {
                room = min(room, lane.share.inFlightMax - lane.state.inFlight.count)
            }
            guard room > 0 else { continue }
            let granted = state.takeTokens(upTo: room, now: now)
            let more = lane.state.start(max: granted, now: now) { [self] in isUnderway($0, besides: lane) }
            state.putBackTokens(granted - more.count)
            started += more
        }
        return started
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
        let isTaken = state.settings.batch != nil && historyInFlight > 0
        var wakes = [state.wake(now: now, canStart: !isTaken)] + history.map { $0.state.wake(now: now) }
        if history.contains(where: { $0.state.startable > 0 }) { wakes.append(state.rateWake(after: now)) }
        return wakes.compactMap { $0 }.min()
    }
}
