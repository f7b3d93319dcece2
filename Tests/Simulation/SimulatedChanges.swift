// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Routes

/// What whoever makes generations remembers of the subscribers that reloads changed; a crash leaves it, as the ledger has it.
struct SimulatedChanges {
    struct Changed {
        /// The generation that changed it.
        var generation: Int
        /// What it goes back to; nil where it is new.
        var previous: SubscriberRoute?
    }

    /// Those that haven't proved themselves.
    var changed: [String: Changed] = [:]
    var badReloads: [String: BadReload] = [:]

    /// What `route` is run as, where it is a change that failed before.
    func standing(instead route: SubscriberRoute, in table: RouteTable) -> SubscriberRoute? {
        guard let bad = badReloads[route.name], bad.end == .undone, bad.fingerprint == route.fingerprint else {
            return nil
        }
        return table.subscribers.first { $0.name == route.name }
    }

    /// Puts what `next` changes on probation; `active` are those that were so already.
    mutating func begin(
        _ next: RouteTable, after table: RouteTable, generation: Int, active: Set<String>
    ) -> [String: BadReloadAction] {
        let before = self
        self = SimulatedChanges()
        var probations: [String: BadReloadAction] = [:]
        for route in next.subscribers where !route.isPulled {
            let known = active.contains(route.name) ? before.changed[route.name] : nil
            let old = table.subscribers.first { $0.name == route.name }
            if old?.fingerprint == route.fingerprint {
                changed[route.name] = known
                badReloads[route.name] = before.badReloads[route.name]
                continue
            }
            // What hasn't proved itself is nothing to go back to.
            let previous = known == nil ? old : known?.previous
            if previous?.fingerprint == route.fingerprint { continue }
            changed[route.name] = Changed(generation: generation, previous: previous)
            probations[route.name] = action(of: route)
        }
        return probations
    }

    /// Those of a broker that starts again, as `generation`: their probation begins anew.
    mutating func resume(in table: RouteTable, generation: Int) -> [String: BadReloadAction] {
        var probations: [String: BadReloadAction] = [:]
        for route in table.subscribers where changed[route.name] != nil {
            changed[route.name]!.generation = generation
            probations[route.name] = action(of: route)
        }
        return probations
    }

    private func action(of route: SubscriberRoute) -> BadReloadAction {
        changed[route.name]?.previous == nil && route.onBadReload == .rollback ? .keep : route.onBadReload
    }

    /// The broker knows which failed before they were changed, and can't be judged.
    mutating func keep(only active: Set<String>) {
        changed = changed.filter { active.contains($0.key) }
    }
}

extension BrokerSimulation {
    /// Does what the server does when the broker tells what became of a changed subscriber.
    func conclude(_ report: ProbationReport) {
        let name = report.subscriber
        guard let changed = changes.changed[name], changed.generation == report.generation else { return }
        guard var bad = report.badReload else { return changes.changed[name] = nil }
        guard bad.end == .undone else {
            if bad.end == .paused { count(\.pausedChanges) }
            changes.changed[name] = nil
            return changes.badReloads[name] = bad
        }
        bad.previous = changed.previous.map { _ in changed.generation - 1 }
        // Its state was migrated and written to since, say.
        let isHindered = chance(6)
        if !isHindered, let previous = changed.previous, undo(name, to: previous, bad) { return count(\.undone) }
        post { core in
            core.pauseChanged(name, generation: changed.generation, previous: nil, obstacle: "something")
        }
    }

    /// A generation of its own, in which nothing but this subscriber is another.
    private func undo(_ name: String, to previous: SubscriberRoute, _ bad: BadReload) -> Bool {
        let before = changes
        changes.changed[name] = nil
        changes.badReloads[name] = bad
        var next = table
        next.subscribers = table.subscribers.map { $0.name == name ? previous : $0 }
        guard change(to: next) else {
            changes = before
            return false
        }
        if core.subscribers[name]?.isUndoing != false { model.breach("P5: \(name) went back, and still stands still") }
        return true
    }

    /// Once nothing is left to be done.
    func checkNothingIsBeingUndone() {
        for (name, subscriber) in core.subscribers where subscriber.isUndoing {
            model.breach("\(name) was to go back to what it was, and stands still")
        }
    }

    /// Somebody mends every plugin and endpoint: all are changed to what works.
    func mend() {
        let hasExtra = table.subscribers.contains { $0.name == "extra" }
        reload(SimulatedTables.table(attempts: Self.mendedAttempts, extra: hasExtra))
    }

    /// Which no other table has, so that everything is changed.
    private static let mendedAttempts = 9
}
