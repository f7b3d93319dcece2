// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Ledger
package import Routes

extension BrokerSimulation {
    /// A reload that adds a subscriber.
    package func add(_ route: SubscriberRoute) {
        table.subscribers.append(route)
        countGeneration()
        destinations[route.name] = makeDestination(route)
        // Reads don't fail here, so this doesn't throw.
        try! apply()
    }

    /// Puts another table in force. Destinations of subscribers that didn't change stay, those of others are replaced: what
    /// they hold they give back, now or later. One that is refused, as the ledger can't be read, leaves everything as it
    /// was (P5).
    package func reload(_ written: RouteTable) {
        var next = written
        next.subscribers = written.subscribers.map { route in
            guard let standing = changes.standing(instead: route, in: table) else { return route }
            count(\.standing)
            return standing
        }
        let before = changes
        let active = Set(core.subscribers.filter { $1.probation != nil }.keys)
        let probations = changes.begin(next, after: table, generation: generation + 1, active: active)
        guard change(to: next, probations) else {
            count(\.refusedReloads)
            return changes = before
        }
        count(\.reloads)
    }

    /// False where the change is refused, since something can't be read.
    func change(to next: RouteTable, _ probations: [String: BadReloadAction] = [:]) -> Bool {
        let (table, destinations, before) = (table, destinations, Standing(core, engine))
        let known = Dictionary(table.subscribers.map { ($0.name, $0.fingerprint) }) { first, _ in first }
        self.table = next
        self.destinations = [:]
        for route in next.subscribers where !route.isPulled {
            self.destinations[route.name] =
                known[route.name] == route.fingerprint ? destinations[route.name] : makeDestination(route)
        }
        countGeneration()
        do {
            try apply(probations)
        } catch {
            (self.table, self.destinations) = (table, destinations)
            if Standing(core, engine) != before { model.breach("P5: a refused reload changed something") }
            return false
        }
        let after = Standing(core, engine)
        for route in next.subscribers where known[route.name] == route.fingerprint {
            guard let old = before.subscribers[route.name], let new = after.subscribers[route.name] else { continue }
            if old.object != new.object || old.destination != new.destination {
                model.breach("P5: \(route.name) didn't change, and is another one")
            }
            if !route.isPulled, !old.inFlight.isSubset(of: new.inFlight) {
                model.breach("P5: \(route.name) didn't change, and lost \(old.inFlight.subtracting(new.inFlight))")
            }
        }
        let active = core.subscribers.compactMapValues(\.probation)
        let gone = Set(known.keys).subtracting(next.subscribers.map(\.name))
        let changed = next.subscribers.filter { known[$0.name] != $0.fingerprint }.map(\.name)
        model.generationApplied(generation, changed: gone.union(changed), active, bad: next.bad)
        changes.keep(only: Set(active.keys))
        return true
    }

    /// What a reload that is refused must not touch.
    private struct Standing: Equatable {
        struct OfSubscriber: Equatable {
            var object: ObjectIdentifier
            var destination: ObjectIdentifier?
            var fingerprint: String
            var inFlight: Set<DeliveryID>
            var deferred: Set<DeliveryID>
            var next: [String: Offset]
            var held: Int
            var history: [Int64]
        }

        var generation: Int?
        var subscribers: [String: OfSubscriber]
        var handed: Int

        init(_ core: BrokerCore, _ engine: SimulatedEngine) {
            generation = core.generation?.number
            handed = engine.handed
            subscribers = core.subscribers.mapValues { subscriber in
                let lanes = [subscriber.state] + subscriber.history.map(\.state)
                return OfSubscriber(
                    object: ObjectIdentifier(subscriber),
                    destination: subscriber.destination.map { ObjectIdentifier($0) },
                    fingerprint: subscriber.fingerprint, inFlight: Set(lanes.flatMap(\.inFlight.keys)),
                    deferred: Set(lanes.flatMap(\.deferred.keys)),
                    next: Dictionary(
                        subscriber.state.feeds.map { ($0.key.name, $0.value.next) },
                        uniquingKeysWith: { first, _ in first }),
                    held: subscriber.state.held, history: subscriber.history.map(\.row.id))
            }
        }
    }
}
