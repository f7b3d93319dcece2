// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering
package import Routes

/// The configurations that simulations run under.
package enum SimulatedTables {
    /// What the subscriber with a filter doesn't take.
    static let refusedKey = "k3"
    fileprivate static let badMark = "bad"
    package static let replayed = ["plain", "ordered", "counter", "pushed", "pulled"]
    package static let importing = ["plain", "ordered", "counter", "pushed"]

    package static let changing = ["plain", "ordered", "counter", "pushed", "extra"]

    package static var table: RouteTable { table(attempts: 4, extra: false) }

    /// One of those that reloads go between. `extra` takes from the start of the topic whenever it comes back; those in
    /// `bad` fail whatever they are given, and want this to follow.
    package static func table(
        attempts: Int, extra: Bool, bad: [String: BadReloadAction] = [:]
    ) -> RouteTable {
        var table = RouteTable()
        table.topics = [TopicRoute(name: "in"), TopicRoute(name: "echo"), TopicRoute(name: "$dead")]
        table.subscribers = [
            subscriber("plain", from: "in", attempts: attempts),
            subscriber("ordered", from: "in", attempts: attempts, ordered: true),
            subscriber("counter", from: "in", attempts: attempts), subscriber("listener", from: "echo"),
            pushed(subscriber("pushed", from: "in", attempts: attempts)),
        ]
        table.subscribers[0].ttl = .seconds(30)
        if extra {
            var route = subscriber("extra", from: "in", attempts: attempts)
            // The text is a filter.
            route.filter = try! Filter.parse("subject <> '\(refusedKey)'")
            table.subscribers.append(route)
        }
        var pulled = subscriber("pulled", from: "in")
        pulled.delivery = .pull(lease: .seconds(2))
        pulled.retry.attempts = nil
        table.subscribers.append(pulled)
        for index in table.subscribers.indices {
            guard let action = bad[table.subscribers[index].name] else { continue }
            table.subscribers[index].onBadReload = action
            table.subscribers[index].fingerprint += " \(badMark) \(action.rawValue)"
        }
        return table
    }

    /// One with an endpoint, whose breaker opens and closes all the time.
    private static func pushed(_ route: SubscriberRoute) -> SubscriberRoute {
        var route = route
        var push = PushRoute(url: "http://endpoint")
        push.breaker!.failures = 3
        push.breaker!.last = .seconds(10)
        route.delivery = .push(push)
        route.concurrency = 3
        return route
    }

    package static func subscriber(
        _ name: String, from: String, attempts: Int = 4, ordered: Bool = false
    ) -> SubscriberRoute {
        var route = SubscriberRoute(
            name: name, from: [TopicPattern(from)], filter: nil,
            delivery: .run(plugin: name, settings: [], batch: nil))
        route.ordered = ordered
        route.start = .earliest
        route.retry.attempts = attempts
        route.fingerprint = "\(name) \(attempts)"
        return route
    }
}

extension SubscriberRoute {
    /// Whatever it is given fails.
    var isBad: Bool { fingerprint.contains(" \(SimulatedTables.badMark) ") }
}

extension RouteTable {
    var bad: Set<String> { Set(subscribers.filter(\.isBad).map(\.name)) }
}
