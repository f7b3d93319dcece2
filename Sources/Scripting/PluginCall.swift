// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events

/// A call of a handler that wanted something, from its first want to its end. Belongs to its lane.
final class PluginCall {
    enum Kind {
        case event
        case batch
        case initialization(@Sendable (PluginProblem?) -> Void)
        case stop(@Sendable () -> Void)
        case test(@Sendable (Outcome, String?) -> Void)
        case migration(@Sendable (Result<[StateWrite], PluginError>) -> Void)
    }

    let id: UInt64
    let kind: Kind
    let deliveries: [Delivery]
    /// By the monotonic clock.
    let started: UInt64
    /// nil: the binding's.
    var timeout: Duration?
    var overlay: StateOverlay?
    private(set) var publications: [Publication] = []
    var httpCalls = 0
    var fileCalls = 0
    var isWatched = false
    /// What it has read was changed by another call, so it is run again, and what it says of itself is not heard.
    var isOutdated = false
    /// What it waits for, where that can be called off.
    var wait: Task<Void, Never>?
    var sleep: TimerHold?

    init(id: UInt64, kind: Kind, deliveries: [Delivery], started: UInt64) {
        self.id = id
        self.kind = kind
        self.deliveries = deliveries
        self.started = started
    }

    var effects: Effects? {
        let writes = overlay?.writes.values.sorted { $0.key < $1.key } ?? []
        let effects = Effects(state: writes, publications: publications)
        return effects.isEmpty ? nil : effects
    }

    func publish(_ publication: Publication) { publications.append(publication) }

    func forgetEffects() {
        overlay = nil
        publications = []
    }

    func cancelWait() {
        wait?.cancel()
        wait = nil
        sleep?.letGo()
        sleep = nil
    }
}

/// Something a handler asks Swift for; `kind` is one of `FL_WANT_*`.
struct Want: Sendable {
    var kind: Int
    var arguments: [PackedValue]

    subscript(index: Int) -> PackedValue { index < arguments.count ? arguments[index] : .none }
}

enum Answer: Sendable {
    case values([PackedValue])
    /// Raised where the handler asked; not caught, it is a retry by policy.
    case error(String)
    /// Raised as an error that knows its outcome.
    case failure(outcome: Int, after: Double?, message: String, status: Int? = nil, response: PackedValue = .none)

    var packed: (kind: Int, value: PackedValue) {
        switch self {
        case .values(let values): (FL_ANSWER_VALUES, .array(values))
        case .error(let message): (FL_ANSWER_ERROR, .text(message))
        case .failure(let outcome, let after, let message, let status, let response):
            (
                FL_ANSWER_FAILURE,
                .array([
                    .integer(Int64(outcome)), after.map { .number($0) } ?? .none, .text(message),
                    status.map { .integer(Int64($0)) } ?? .none, response,
                ])
            )
        }
    }
}
