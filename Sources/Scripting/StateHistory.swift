// SPDX-License-Identifier: Apache-2.0

import Events

/// Which keys of a subscriber's state calls have written lately, so that a call that runs beside them and has read one of
/// these keys is noticed when it ends. Belongs to the lane.
struct StateHistory {
    /// Rises with each call that is settled and wrote something.
    private(set) var moment: UInt64 = 0
    private var written: [String: UInt64] = [:]
    /// What was written up to here is forgotten; whoever has read before that counts as overtaken.
    private var forgotten: UInt64 = 0

    mutating func add(_ writes: [StateWrite]) {
        guard !writes.isEmpty else { return }
        moment += 1
        if written.count + writes.count > Limits.stateHistoryKeysMax { forget() }
        for write in writes { written[write.key] = moment }
    }

    /// Nothing is under way that has read anything.
    mutating func clear() {
        guard !written.isEmpty else { return }
        written.removeAll(keepingCapacity: written.count <= Limits.laneTurnEvents)
        forgotten = 0
    }

    private mutating func forget() {
        written.removeAll(keepingCapacity: true)
        forgotten = moment
    }

    /// Whether another call has changed what this one has read.
    func hasOvertaken(_ overlay: StateOverlay) -> Bool {
        func isChanged(_ key: String, since moment: UInt64) -> Bool {
            moment < forgotten || written[key].map { $0 > moment } ?? false
        }
        if overlay.reads.contains(where: { isChanged($0.key, since: $0.value) }) { return true }
        return overlay.lists.contains { list in
            list.moment < forgotten || written.contains { $0.value > list.moment && $0.key.hasPrefix(list.prefix) }
        }
    }
}
