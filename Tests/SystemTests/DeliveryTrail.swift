// SPDX-License-Identifier: Apache-2.0

/// What a subscriber was given, in the order in which it was, across kills.
struct DeliveryTrail: Sendable {
    enum Outcome: String, Sendable {
        /// Acknowledged, so that the next of its key may come.
        case settled
        /// To come again: it failed, or its lease ran out.
        case again
        /// A dead letter: comes again if it is sent again, else the next one comes.
        case dead
        /// Whether the server has heard of the settlement isn't known.
        case unsure
    }

    struct Step: Sendable {
        /// Which start of the server it came from.
        var life: String
        var id: String
        var outcome: Outcome
    }

    private(set) var steps: [Step] = []
    /// What was seen to be wrong at once.
    private(set) var complaints: [String] = []

    /// Returns the step's number.
    @discardableResult
    mutating func append(_ step: Step) -> Int {
        steps.append(step)
        return steps.count - 1
    }

    mutating func set(_ outcome: Outcome, of step: Int) { steps[step].outcome = outcome }
    mutating func complain(_ text: String) { complaints.append(text) }

    /// What breaks the order of keys, or is missing.
    ///
    /// Of each key an event comes for the first time when all before it have been settled. Within one life of the server
    /// the same one comes again until it is settled, and then the next. After a kill the key goes on where it was or
    /// further back: an acknowledgement may be lost, and then all later ones of its key are.
    func violations(of keys: [String: [String]]) -> [String] {
        var places: [String: (key: String, index: Int)] = [:]
        for (key, ids) in keys {
            for (index, id) in ids.enumerated() { places[id] = (key, index) }
        }
        struct Place: Hashable {
            var life: String
            var key: String
        }
        var reached: [String: Int] = [:]
        var last: [Place: (index: Int, outcome: Outcome)] = [:]
        var found = complaints
        for (number, step) in steps.enumerated() {
            guard let (key, index) = places[step.id] else {
                found.append("step \(number): \(step.id) was delivered and is not in the journal")
                continue
            }
            func complain(_ text: String) {
                found.append(
                    "step \(number), life \(step.life), key \(key): \(step.id), number \(index) of it, \(text)")
            }
            if index > reached[key, default: 0] {
                complain("came before number \(reached[key, default: 0]) was settled")
            }
            let place = Place(life: step.life, key: key)
            if let (before, outcome) = last[place] {
                let allowed =
                    switch outcome {
                    case .settled: before + 1...before + 1
                    case .again: before...before
                    case .dead, .unsure: before...before + 1
                    }
                if !allowed.contains(index) { complain("came after number \(before), \(outcome)") }
            }
            last[place] = (index, step.outcome)
            if step.outcome != .again { reached[key] = max(reached[key, default: 0], index + 1) }
        }
        for (key, ids) in keys where reached[key, default: 0] < ids.count {
            found.append("key \(key): \(reached[key, default: 0]) of \(ids.count) were settled")
        }
        return found
    }
}
