// SPDX-License-Identifier: Apache-2.0

import Events
import Ledger
import Logging

extension BrokerCore {
    /// Begins to send dead letters again, the oldest first.
    func beginRedrive(_ letters: [Int64], _ options: RedriveRun.Options) -> RedriveRun.Progress {
        lastRedrive += 1
        let run = RedriveRun(id: lastRedrive, letters: letters, options: options)
        redrives[run.id] = run
        // Runs that have ended are kept for whoever asks; the oldest go.
        let ended = redrives.values.filter { $0.state != .running }.map(\.id).sorted()
        for id in ended.dropLast(Limits.redrivesKept) { redrives[id] = nil }
        advance(run.id)
        return redrives[run.id]?.progress ?? run.progress
    }

    func cancelRedrive(_ id: Int) -> RedriveRun.Progress? {
        redrives[id]?.cancel()
        return redrives[id]?.progress
    }

    /// Sends what a run may send now. Their records and keys are read off the broker's thread.
    func advance(_ id: Int) {
        let now = clock.now()
        guard let letters = redrives[id]?.next(now: now) else { return }
        if let wake = redrives[id]?.wake(now: now) { redriveAt = min(redriveAt ?? wake, wake) }
        guard !letters.isEmpty else { return }
        perform { [engine, post] in
            let read = Result { () throws(Failure) in
                try engine.deadLetters(letters).filter { $0.state == .open }
            }
            post { core in core.send(letters, read, run: id) }
        }
    }

    private func send(_ letters: [Int64], _ read: Result<[DeadLetter], Failure>, run: Int) {
        switch read {
        case .failure(let failure):
            log.error("Dead letters can't be read to be sent again", metadata: ["error": "\(failure)"])
            redrives[run]?.fail(letters[0], failure.message)
            redrives[run]?.skip(letters)
        case .success(let found):
            let sent = Set(redrive(found))
            redrives[run]?.skip(letters.filter { !sent.contains($0) })
        }
        advance(run)
    }

    func advanceRedrives() {
        redriveAt = nil
        for id in redrives.keys { advance(id) }
    }

    /// Tells the runs what became of letters that were sent again.
    func observeRedrives(_ round: LedgerRound) {
        guard !redrives.isEmpty, !round.resolved.isEmpty || !round.deferred.isEmpty else { return }
        var failures: [Int64: String] = [:]
        for row in round.deferred {
            if let letter = row.deferral.deadLetter, row.deferral.attempts > 0 {
                failures[letter] = row.deferral.reason
            }
        }
        for burial in round.dead { if let letter = burial.previous { failures[letter] = burial.reason } }
        for id in redrives.keys {
            for resolved in round.resolved {
                switch resolved.end {
                case .acknowledged: redrives[id]?.succeed(resolved.id)
                case .failedAgain: redrives[id]?.fail(resolved.id, failures[resolved.id] ?? "it failed again")
                case .lost, .discarded: redrives[id]?.skip([resolved.id])
                }
            }
            for (letter, reason) in failures { redrives[id]?.fail(letter, reason) }
            if redrives[id]?.state == .running { advance(id) }
        }
    }

    /// Sends these letters, in this order; those of one subscriber become one change. Returns those that were sent: a
    /// subscriber that routes.conf no longer has gets nothing.
    private func redrive(_ letters: [DeadLetter]) -> [Int64] {
        let now = clock.now()
        var all: [Int64] = []
        for (name, letters) in Dictionary(grouping: letters, by: \.subscriber) {
            guard let subscriber = subscribers[name] else { continue }
            // A run of history that goes on has its keys waiting; the letters of one that has ended are anybody's.
            let byLane = Dictionary(grouping: letters) { letter in
                subscriber.history.first { $0.id == letter.lane && !$0.isCancelled }?.id
            }
            for (laneID, letters) in byLane {
                guard let lane = subscriber.lane(laneID) else { continue }
                var round = LedgerRound()
                var sent: [Int64] = []
                for letter in letters {
                    let id = DeliveryID(topic: Topic.named(letter.topic), offset: letter.offset)
                    if lane.state.redrive(
                        id, key: letter.key, deadLetter: letter.id, replay: letter.lane != nil, now: now, into: &round)
                    {
                        sent.append(letter.id)
                    }
                }
                subscriber.counts.dead -= sent.count
                all += sent
                commit(subscriber, round, lane: laneID, redriven: sent)
            }
            dispatch(subscriber)
        }
        return all
    }

    /// Gives open dead letters up; what was parked behind them goes on.
    func discard(_ letters: [DeadLetter], _ reason: String) {
        let now = clock.now()
        for (name, letters) in Dictionary(grouping: letters, by: \.subscriber) {
            var round = LedgerRound()
            round.resolved = letters.map { ResolvedLetter($0.id, .discarded(reason)) }
            guard let subscriber = subscribers[name] else {
                engine.commit(LedgerChange(subscriber: name, resolved: round.resolved)) { _ in }
                continue
            }
            subscriber.counts.dead -= letters.count
            for letter in letters {
                if let key = letter.key { subscriber.lane(letter.lane)?.state.unblock(key: key, now: now) }
            }
            commit(subscriber, round)
            dispatch(subscriber)
        }
    }
}
