// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering
import Hummingbird
package import Routes

/// What is routed where by the running generation.
package struct RunningRoutes: Sendable {
    package var generation: Int
    package var table: RouteTable

    package init(generation: Int, table: RouteTable) {
        self.generation = generation
        self.table = table
    }
}

/// `/v1/routing`: topics, filters and subscribers as a graph. What changes by the second is in `/v1/status`.
struct RoutingGraph: Sendable {
    let routes: @Sendable () async -> RunningRoutes?

    func show(_ exchange: Exchange) async throws -> Response {
        guard let routes = await routes() else {
            throw Failure(.overloaded, "the server is still starting; try again after a moment")
        }
        return .json { json in
            json.field("generation", routes.generation)
            json.array("topics") { json in
                for topic in routes.table.topics { json.object { Self.write(topic, to: &$0) } }
            }
            json.array("subscribers") { json in
                for subscriber in routes.table.subscribers {
                    json.object { Self.write(subscriber, of: routes.table, to: &$0) }
                }
            }
        }
    }

    private static func write(_ topic: TopicRoute, to json: inout JSONWriter) {
        json.field("name", topic.name)
        if Topic.named(topic.name).isSystem { json.field("system", true) }
        if let age = topic.retainAge { json.field("retain", DurationText.format(age)) }
        json.field("retainBytes", ifPresent: topic.retainBytes)
        switch topic.key {
        case .attribute(let name): json.field("key", name)
        case .data(let path): json.field("key", path.canonical)
        case nil: break
        }
    }

    private static func write(_ subscriber: SubscriberRoute, of table: RouteTable, to json: inout JSONWriter) {
        json.field("name", subscriber.name)
        json.field("place", ifPresent: subscriber.place?.description)
        json.array("from") { json in for pattern in subscriber.from { json.value(pattern.text) } }
        json.array("topics") { json in
            for topic in table.topics where subscriber.takes(from: .named(topic.name)) { json.value(topic.name) }
        }
        json.field("where", ifPresent: subscriber.filter?.text)
        switch subscriber.delivery {
        case .run(let plugin, _, let batch):
            json.field("method", "run")
            json.field("target", plugin)
            write(batch, to: &json)
        case .push(let push):
            json.field("method", "push")
            json.field("target", push.shownURL)
            write(push.batch, to: &json)
        case .pull(let lease):
            json.field("method", "pull")
            json.field("lease", DurationText.format(lease))
        }
        if subscriber.ordered { json.field("ordered", true) }
        if subscriber.refusesReplay { json.field("refusesReplay", true) }
        json.field("concurrency", subscriber.concurrency)
        json.field("attempts", ifPresent: subscriber.retry.attempts)
        json.array("publishes") { json in
            for case .publish(let topic) in subscriber.grants { json.value(topic) }
            if case .publish(let topic) = subscriber.onDead { json.value(topic) }
        }
    }

    private static func write(_ batch: BatchPolicy?, to json: inout JSONWriter) {
        guard let batch else { return }
        json.object("batch") { json in
            json.field("count", batch.count)
            json.field("every", DurationText.format(batch.every))
        }
    }
}
