// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Filtering
import Gateway
import Routes

extension Server {
    /// Does everything that a reload does before it takes effect, `init` of plugins excepted, and says what would follow.
    func plan() async -> PlanVerdict {
        guard let running else { return .refused(diagnostics: ["the server is still starting"]) }
        do {
            let candidate = try await builder.inspect(standing: standing)
            return .planned(try await plan(from: running.generation, to: candidate))
        } catch let refusal as GenerationBuilder.Refusal {
            return .refused(diagnostics: refusal.diagnostics)
        } catch {
            return .refused(diagnostics: ["\(error)"])
        }
    }

    private func plan(from old: Generation, to new: GenerationBuilder.Inspection) async throws(Failure) -> ReloadPlan {
        let diff = RouteDiff(from: old.table, to: new.table)
        let before = Dictionary(old.table.subscribers.map { ($0.name, $0) }) { first, _ in first }
        var plan = ReloadPlan()
        plan.generation = old.number
        plan.removed = diff.removedSubscribers
        plan.addedTopics = diff.addedTopics
        plan.changedTopics = diff.changedTopics
        plan.removedTopics = diff.removedTopics
        plan.settings = diff.settings
        plan.restartOnly = diff.restartOnly

        func takesOthers(_ route: SubscriberRoute, than known: SubscriberRoute) -> Bool {
            old.fingerprints[route.name] != new.fingerprints[route.name]
                && (known.filter?.text != route.filter?.text || known.from != route.from)
        }
        // Counted together: the journal is read through once.
        let counted = new.table.subscribers.flatMap { route -> [SubscriberRoute] in
            guard let known = before[route.name] else { return [route] }
            return takesOthers(route, than: known) ? [known, route] : []
        }
        var counts = counted.isEmpty ? [] : try await broker.count(counted)[...]
        for route in new.table.subscribers {
            guard let known = before[route.name] else {
                let start = route.was.map { "goes on where \($0) stopped" } ?? "starts at \(route.start.words)"
                let count = counts.removeFirst()
                plan.added.append(
                    .init(subscriber: route.name, reasons: [start], matches: count.matching, of: count.of))
                continue
            }
            guard old.fingerprints[route.name] != new.fingerprints[route.name] else {
                plan.unchanged.append(route.name)
                continue
            }
            var change = ReloadPlan.Change(subscriber: route.name, reasons: route.changes(since: known))
            if known.fingerprint == route.fingerprint { change.reasons.append("the plugin's files") }
            if takesOthers(route, than: known) {
                let (was, now) = (counts.removeFirst(), counts.removeFirst())
                change.matchedBefore = was.matching
                change.matches = now.matching
                change.of = max(was.of, now.of)
            }
            plan.changed.append(change)
        }
        let wanted = Set(new.table.subscribers.flatMap { [$0.name, $0.was].compactMap { $0 } })
        plan.orphans = try await broker.knownSubscribers().filter { !wanted.contains($0) }
        return plan
    }
}

extension StartPosition {
    /// As a sentence goes on after "starts at".
    fileprivate var words: String {
        switch self {
        case .earliest: "the first event there is"
        case .latest: "what comes from then on"
        case .offset(let offset): "offset \(offset)"
        case .time(let time): RFC3339.format(time)
        }
    }
}
