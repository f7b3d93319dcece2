// SPDX-License-Identifier: Apache-2.0

package import Events

/// What became of one event, or one batch, on one side of a rehearsal.
package struct RehearsedResult: Sendable {
    package enum Ending: String, CaseIterable, Sendable {
        case ack, drop, retry, dead

        /// Whether it counts as a failure.
        package var isFailure: Bool { self == .retry || self == .dead }
    }

    package var ending: Ending
    package var reason: String?
    package var trace: String?
    package var effects: [RehearsedEffect]
    package var cpu: Duration
    /// The host had to stop the script.
    package var wasKilled: Bool

    package init(
        _ ending: Ending, reason: String? = nil, trace: String? = nil, effects: [RehearsedEffect] = [],
        cpu: Duration = .zero, wasKilled: Bool = false
    ) {
        self.ending = ending
        self.reason = reason
        self.trace = trace
        self.effects = effects
        self.cpu = cpu
        self.wasKilled = wasKilled
    }

    package init(_ trial: PluginTrial) {
        self.init(outcome: trial.outcome, effects: trial.rehearsedEffects)
        trace = trial.trace
        cpu = trial.cpu
        wasKilled = trial.wasKilled
    }

    package init(outcome: Outcome, effects: [RehearsedEffect]) {
        switch outcome {
        case .ack, .returned: self.init(.ack, effects: effects)
        case .drop(let reason): self.init(.drop, reason: reason, effects: effects)
        case .retry(_, let reason): self.init(.retry, reason: reason, effects: effects)
        case .dead(let reason): self.init(.dead, reason: reason, effects: effects)
        }
    }
}

/// Two sides' effects of one event, told apart.
package struct EffectComparison: Sendable {
    package struct Change: Sendable {
        package var before: RehearsedEffect
        package var now: RehearsedEffect

        /// Paths whose values differ, in order; nil where one side has none. A target that differs is called `target`.
        package var fields: [(path: String, before: String?, now: String?)] {
            var changes: [(path: String, before: String?, now: String?)] = []
            if before.target != now.target { changes.append(("target", before.target, now.target)) }
            for path in Set(before.fields.keys).union(now.fields.keys).sorted()
            where before.fields[path] != now.fields[path] {
                changes.append((path, before.fields[path], now.fields[path]))
            }
            return changes
        }
    }

    package private(set) var same: [RehearsedEffect] = []
    package private(set) var changed: [Change] = []
    package private(set) var added: [RehearsedEffect] = []
    package private(set) var gone: [RehearsedEffect] = []

    /// Equal ones are paired first; then those with the same target, in their order; then, where one of a kind and group is
    /// left on each side, these two. Events that are published with mostly other data are two events.
    package init(before: [RehearsedEffect], now: [RehearsedEffect]) {
        var before = before
        var now = now
        func pair(_ belong: (RehearsedEffect, RehearsedEffect) -> Bool, _ take: (Change) -> Void) {
            var rest: [RehearsedEffect] = []
            for effect in before {
                if let place = now.firstIndex(where: { belong(effect, $0) }) {
                    take(Change(before: effect, now: now.remove(at: place)))
                } else {
                    rest.append(effect)
                }
            }
            before = rest
        }
        var same: [RehearsedEffect] = []
        var changed: [Change] = []
        pair(==) { same.append($0.now) }
        pair({ a, b in a.kind == b.kind && a.target == b.target && (a.kind != .publish || a.isAlike(b)) }) {
            changed.append($0)
        }
        let (left, right) = (before, now)
        func isAlone(_ effect: RehearsedEffect, among effects: [RehearsedEffect]) -> Bool {
            effects.count { $0.kind == effect.kind && $0.group == effect.group } == 1
        }
        // Another key of the state is another thing; another address or URL is the same letter sent elsewhere.
        pair({ a, b in
            a.kind == b.kind && a.kind != .state && a.kind != .publish && a.group == b.group && isAlone(a, among: left)
                && isAlone(b, among: right)
        }) { changed.append($0) }
        self.same = same
        self.changed = changed
        added = now
        gone = before
    }

    package var isSame: Bool { changed.isEmpty && added.isEmpty && gone.isEmpty }
}
