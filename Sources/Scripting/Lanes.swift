// SPDX-License-Identifier: Apache-2.0

import Events
import Synchronization

/// The lanes of a host: one for each subscriber, so that a script that keeps its thread busy holds nobody else up. Where
/// there are more subscribers than lanes, a newcomer shares the lane of the fewest.
///
/// Lanes are made when they are needed, and end with their last subscriber.
final class Lanes: Sendable {
    private struct Entry {
        let lane: Lane
        var subscribers: Int
    }

    private let most: Int
    private let entries = Mutex<[Entry]>([])

    init(most: Int) {
        self.most = max(1, most)
    }

    func share() -> LaneShare {
        let lane = entries.withLock { entries in
            if entries.count < most {
                let lane = Lane()
                entries.append(Entry(lane: lane, subscribers: 1))
                return lane
            }
            let least = entries.indices.min { entries[$0].subscribers < entries[$1].subscribers }!
            entries[least].subscribers += 1
            return entries[least].lane
        }
        return LaneShare(lane, of: self)
    }

    fileprivate func giveBack(_ lane: Lane) {
        let isUnused = entries.withLock { entries in
            let index = entries.firstIndex { $0.lane === lane }!
            entries[index].subscribers -= 1
            guard entries[index].subscribers == 0 else { return false }
            entries.remove(at: index)
            return true
        }
        if isUnused { lane.close() }
    }

    var count: Int { entries.withLock { $0.count } }
}

/// A subscriber's right to its lane, given back with the last reference.
final class LaneShare: Sendable {
    let lane: Lane
    private let lanes: Lanes

    fileprivate init(_ lane: Lane, of lanes: Lanes) {
        self.lane = lane
        self.lanes = lanes
    }

    deinit {
        lanes.giveBack(lane)
    }
}
