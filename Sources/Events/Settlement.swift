// SPDX-License-Identifier: Apache-2.0

/// What an attempt ended in.
package enum Outcome: Hashable, Sendable {
    /// Done.
    case ack
    /// Again, after `after` or, where it says none, when the retry policy says.
    case retry(after: Duration?, reason: String)
    /// Never again: to the dead letters.
    case dead(reason: String)
    /// Done without having done anything, on purpose.
    case drop(reason: String)
    /// Given back undone, because the destination was stopped; not counted as an attempt.
    case returned
}

/// The end of one attempt, and what is to be committed with it.
package struct Settlement: Sendable {
    package var delivery: DeliveryID
    package var outcome: Outcome
    /// Committed together with an `ack` or `drop`, or not at all.
    package var effects: Effects?
    /// Where the failure happened, as a script's stack trace; shown beside the reason.
    package var trace: String?
    /// Whether the host had to stop the script, as it used up its processor time or its memory.
    package var wasKilled: Bool
    /// What the attempt says of the endpoint as a whole; nil where there is none, or nothing to say.
    package var endpoint: EndpointSign?
    /// Nobody was given it: it came too late to be made.
    package var isOverdue = false

    package init(
        _ delivery: DeliveryID, _ outcome: Outcome, effects: Effects? = nil, trace: String? = nil,
        wasKilled: Bool = false, endpoint: EndpointSign? = nil
    ) {
        self.delivery = delivery
        self.outcome = outcome
        self.effects = effects
        self.trace = trace
        self.wasKilled = wasKilled
        self.endpoint = endpoint
    }
}

/// What an attempt says of the endpoint it went to, beside what became of the delivery.
package enum EndpointSign: Hashable, Sendable {
    /// It answers, and judged this delivery.
    case up
    /// It answered, but not as one in order does, or too late: this delivery's fault or its own.
    case failing
    /// There was no connection, which no delivery can be at fault for.
    case unreachable
    /// It has not consented to being sent anything.
    case refusing
    /// It wants to be sent nothing for so long.
    case busy(Duration)
    /// It answers that it is gone for good.
    case gone
}

/// Settlements in bulk: plain acks, by far the most, are only their names.
package struct Settlements: Sendable {
    package var acks: [DeliveryID]
    package var others: [Settlement]
    /// Called once from any thread when a ``StateReader`` shows the state that these settlements write, or when it is
    /// certain that it never will.
    package var whenTaken: (@Sendable () -> Void)?
    /// What the endpoint has said of how often it may be sent to; holds until it says otherwise.
    package var allowance: EndpointAllowance?

    package init(acks: [DeliveryID] = [], others: [Settlement] = []) {
        self.acks = acks
        self.others = others
    }

    package var writesState: Bool { others.contains { $0.effects?.state.isEmpty == false } }

    package var isEmpty: Bool { acks.isEmpty && others.isEmpty }
}

package struct EndpointAllowance: Hashable, Sendable {
    /// nil: as often as wanted.
    package var requestsPerMinute: Int?

    package init(requestsPerMinute: Int?) {
        self.requestsPerMinute = requestsPerMinute
    }
}

/// What a handler wants to be true once its delivery is acknowledged.
package struct Effects: Hashable, Sendable {
    package var state: [StateWrite]
    package var publications: [Publication]

    package init(state: [StateWrite] = [], publications: [Publication] = []) {
        self.state = state
        self.publications = publications
    }

    package var isEmpty: Bool { state.isEmpty && publications.isEmpty }
}

/// One write to a subscriber's state. Values are JSON text.
package enum StateWrite: Hashable, Sendable {
    case put(key: String, value: [UInt8], expires: Timestamp?)
    /// Adds to a number that is 0 where the key is missing. Commutes with other adds.
    case add(key: String, delta: StateNumber)
    case delete(key: String)

    package var key: String {
        switch self {
        case .put(let key, _, _), .add(let key, _), .delete(let key): key
        }
    }
}

/// A number of Lua's: integers stay integers until a float joins in.
package enum StateNumber: Hashable, Sendable {
    case integer(Int64)
    case float(Double)

    /// Integer sums wrap, as Lua's do.
    package static func + (a: StateNumber, b: StateNumber) -> StateNumber {
        switch (a, b) {
        case (.integer(let a), .integer(let b)): .integer(a &+ b)
        default: .float(a.double + b.double)
        }
    }

    package var double: Double {
        switch self {
        case .integer(let value): Double(value)
        case .float(let value): value
        }
    }

    /// As JSON text, and as `Plugins` see it.
    package var json: [UInt8] {
        switch self {
        case .integer(let value): Array(String(value).utf8)
        case .float(let value): Array("\(value)".utf8)
        }
    }

    /// From JSON text; nil where it is no number.
    package init?(json: [UInt8]) {
        let text = String(decoding: json, as: UTF8.self)
        if let value = Int64(text) {
            self = .integer(value)
        } else if let value = Double(text), value.isFinite {
            self = .float(value)
        } else {
            return nil
        }
    }
}

/// An event that a handler publishes; it goes out through the ledger's outbox, with the ack.
package struct Publication: Hashable, Sendable {
    package var topic: String
    package var event: Event

    package init(topic: String, event: Event) {
        self.topic = topic
        self.event = event
    }
}
