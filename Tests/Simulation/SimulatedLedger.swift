// SPDX-License-Identifier: Apache-2.0

package import Events
package import Ledger

/// What a ledger holds, as values: a copy of it is what a power cut goes back to.
package struct SimulatedLedger {
    package var positions: [String: [String: LedgerPosition]] = [:]
    package var deferred: [String: [DeliveryID: Deferred]] = [:]
    package var dead: [(id: Int64, subscriber: String, draft: NewDeadLetter, isOpen: Bool)] = []
    /// Of the live lane, by subscriber.
    package var deadOffsets: [String: Set<DeliveryID>] = [:]
    package var state: [String: [String: StateNumber]] = [:]
    package var outbox: [(id: UInt64, publication: Publication)] = []
    /// Ids of all events that were ever in the outbox for `echo`.
    package var echoed: Set<String> = []
    package var lanes: [Int64: LedgerLane] = [:]
    package var nextID: Int64 = 1
    package var leases: [String: [UInt64: LeaseRow]] = [:]
    package var pauses: [String: PauseRecord] = [:]
    package var standstills: [String: [Standstill.Cause: Standstill]] = [:]

    static func lane(_ id: Int64) -> String { "$\(id)" }

    func rows(_ name: String) -> [Deferred] {
        (deferred[name] ?? [:]).values.sorted { ($0.topic, $0.offset) < ($1.topic, $1.offset) }
    }

    mutating func rename(_ old: String, to new: String) {
        positions[new] = positions.removeValue(forKey: old)
        deferred[new] = deferred.removeValue(forKey: old)
        deadOffsets[new] = deadOffsets.removeValue(forKey: old)
        state[new] = state.removeValue(forKey: old)
        leases[new] = leases.removeValue(forKey: old)
        pauses[new] = pauses.removeValue(forKey: old)
        standstills[new] = standstills.removeValue(forKey: old)
        for index in dead.indices where dead[index].subscriber == old { dead[index].subscriber = new }
        for id in lanes.keys where lanes[id]?.subscriber == old { lanes[id]?.subscriber = new }
    }

    /// What the change holds that was there before, as `twice` says, must not be.
    mutating func apply(_ change: LedgerChange, twice: (String) -> Void = { _ in }) -> LedgerCommit {
        let name = change.subscriber
        for position in change.positions { positions[name, default: [:]][position.topic] = position }
        apply(change.deferred, of: name)
        for lease in change.leases {
            switch lease {
            case .put(let row): leases[name, default: [:]][row.id] = row
            case .remove(let id): leases[name]?[id] = nil
            }
        }
        switch change.pause {
        case .pause(let record): pauses[name] = record
        case .resume: pauses[name] = nil
        case nil: break
        }
        for standstill in change.standstills {
            switch standstill {
            case .begin(let standstill): standstills[name, default: [:]][standstill.cause] = standstill
            case .end(let cause): standstills[name]?[cause] = nil
            }
        }
        for lane in change.lanes {
            if let row = lane.row { lanes[lane.id] = row }
            lanes[lane.id]?.done = lane.done
            for position in lane.positions {
                positions[Self.lane(lane.id), default: [:]][position.topic] = position
            }
            apply(lane.deferred, of: Self.lane(lane.id))
        }
        for letter in change.resolved { dead.removeAll { $0.id == letter.id } }
        for index in dead.indices where change.redriven.contains(dead[index].id) { dead[index].isOpen = false }
        var commit = LedgerCommit()
        for draft in change.dead {
            dead.append((nextID, name, draft, true))
            if draft.lane == nil {
                deadOffsets[name, default: []].insert(
                    DeliveryID(topic: .named(draft.topic), offset: draft.offset))
            }
            commit.deadLetters.append(nextID)
            nextID += 1
        }
        for write in change.state {
            switch write {
            case .put(let key, let value, _): state[name, default: [:]][key] = StateNumber(json: value)
            case .add(let key, let delta):
                state[name, default: [:]][key] = (state[name]?[key] ?? .integer(0)) + delta
            case .delete(let key): state[name]?[key] = nil
            }
        }
        for publication in change.publications {
            if publication.topic == "echo", !echoed.insert(publication.event.id).inserted {
                twice(publication.event.id)
            }
            outbox.append((UInt64(nextID), publication))
            commit.outbox.append(UInt64(nextID))
            nextID += 1
        }
        return commit
    }

    private mutating func apply(_ changes: [DeferredChange], of name: String) {
        for change in changes {
            switch change {
            case .put(let row):
                deferred[name, default: [:]][DeliveryID(topic: .named(row.topic), offset: row.offset)] = row
            case .remove(let topic, let offset):
                deferred[name]?[DeliveryID(topic: .named(topic), offset: offset)] = nil
            }
        }
    }
}

extension Deferred {
    var isScheduled: Bool { attempts == 0 && due != nil && deadLetter == nil }
    var place: (Timestamp, String, Offset) { (due ?? .distantPast, topic, offset) }
}
