// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import HTTPTypes
import Hummingbird
import Synchronization

/// Whether the process runs, whether it should be sent work, and its numbers.
struct Health: Sendable {
    let draining: Draining
    /// What keeps the server from taking work, or nil.
    let obstacle: @Sendable () async -> String?
    let prometheus: PrometheusMetrics
    let metrics: GatewayMetrics
    let broker: any BrokerSurface
    let clock: any Events.Clock
    let version: String

    /// The process can make progress; true also while it drains.
    func alive(_ exchange: Exchange) async throws -> Response {
        .text(.ok, "ok\n")
    }

    /// Publishers and clients may come. Doesn't depend on subscribers being up.
    func ready(_ exchange: Exchange) async throws -> Response {
        if draining.hasBegun { throw Self.unready("the server is stopping") }
        if let obstacle = await obstacle() { throw Self.unready(obstacle) }
        return .text(.ok, "ready\n")
    }

    func numbers(_ exchange: Exchange) async throws -> Response {
        let format = PrometheusMetrics.Format(accept: exchange.headers[.accept])
        let status = await broker.status()
        metrics.expectRefusals(of: status.topics.lazy.map(\.name).filter { !Topic.named($0).isSystem })
        let text = prometheus.render(as: format, status: status, now: clock.now(), version: version)
        return .text(.ok, text, type: format.contentType)
    }

    func front(_ endpoints: [Endpoint]) -> Response {
        .json { json in
            json.field("name", "fairlead")
            json.field("version", version)
            json.field("about", "an event router: publish to topics, subscribers get what routes.conf says")
            json.array("endpoints") { json in
                for endpoint in endpoints { json.value("\(endpoint.method.rawValue) \(endpoint.path)") }
            }
        }
    }

    private static func unready(_ detail: String) -> Problem {
        var problem = Problem(.serviceUnavailable, type: "not-ready", title: "Not ready", detail: detail)
        problem.headers[.retryAfter] = String(Limits.retryAfterSeconds)
        return problem
    }
}

/// Set once, when the server is asked to stop.
final class Draining: Sendable {
    private let begun = Atomic(false)

    var hasBegun: Bool { begun.load(ordering: .relaxed) }
    func begin() { begun.store(true, ordering: .relaxed) }
}
