// SPDX-License-Identifier: Apache-2.0

import Events
import HTTPTypes
import Metrics
import Synchronization

/// What the gateway counts. Labels are routes, methods, statuses and the names of declared topics, never what a
/// client made up.
final class GatewayMetrics: Sendable {
    private struct Key: Hashable {
        var route: String
        var method: String
        var status: Int
    }

    private struct Cached {
        var requests: [Key: Counter] = [:]
        var durations: [String: Metrics.Timer] = [:]
        var rejected: [String: Counter] = [:]
    }

    private static let methods: Set<HTTPRequest.Method> = [.get, .head, .post, .put, .patch, .delete, .options]

    private let factory: any MetricsFactory
    private let cached = Mutex(Cached())

    init(factory: any MetricsFactory) {
        self.factory = factory
    }

    func answered(
        method: HTTPRequest.Method, route: String, status: HTTPResponse.Status, after duration: Duration
    ) {
        let method = Self.methods.contains(method) ? method.rawValue : "other"
        let key = Key(route: route, method: method, status: status.code)
        let (counter, timer) = cached.withLock { cached in
            let counter =
                cached.requests[key]
                ?? Counter(
                    label: "fairlead_http_requests_total",
                    dimensions: [("route", route), ("method", key.method), ("status", String(key.status))],
                    factory: factory)
            cached.requests[key] = counter
            let timer =
                cached.durations[route]
                ?? Timer(
                    label: "fairlead_http_request_duration_seconds", dimensions: [("route", route)], factory: factory)
            cached.durations[route] = timer
            return (counter, timer)
        }
        counter.increment()
        timer.recordNanoseconds(
            duration.components.seconds * 1_000_000_000 + duration.components.attoseconds / 1_000_000_000)
    }

    func rejected(batchFor topic: String, _ code: Failure.Code) {
        refusals(of: topic, code).increment()
    }

    private func refusals(of topic: String, _ code: Failure.Code) -> Counter {
        cached.withLock { cached in
            let counter =
                cached.rejected["\(topic) \(code)"]
                ?? Counter(
                    label: "fairlead_publishes_rejected_total",
                    dimensions: [("topic", topic), ("reason", code.rawValue)], factory: factory)
            cached.rejected["\(topic) \(code)"] = counter
            return counter
        }
    }

    /// Makes the counters of refusals for these topics, at 0, so that their first rise is seen as one.
    func expectRefusals(of topics: some Sequence<String>) {
        for topic in topics {
            for reason in Self.reasons { _ = refusals(of: topic, reason) }
        }
    }

    /// What a request that publishes to a declared topic may be refused for.
    private static let reasons: [Failure.Code] = [
        .malformed, .tooLarge, .unsupportedMediaType, .overloaded, .storage,
    ]
}
