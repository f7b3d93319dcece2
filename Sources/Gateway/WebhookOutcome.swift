// SPDX-License-Identifier: Apache-2.0

import Events

/// What an endpoint's answer means for the delivery, and what it says of the endpoint.
///
/// | answer | outcome | endpoint |
/// |---|---|---|
/// | 2xx | ack | up |
/// | 413, 415, 422 | dead: this very event will never be taken | up |
/// | 400, 409 | retry | up |
/// | 410 | kept; the subscriber pauses | gone |
/// | 429, and 503 with Retry-After | kept; nothing is sent for that long | busy |
/// | 3xx | retry: redirects are never followed, the `push` line has the wrong URL | failing |
/// | other 4xx | retry: an endpoint that is being redeployed answers 404, one whose token is being changed 401, and no event may be lost by that | failing |
/// | 5xx, timeout | retry | failing |
/// | no connection | retry | unreachable |
/// | a URL that can't be sent to | retry | refusing |
///
/// What is kept is a `retry` to the broker, which doesn't count the attempt (``CircuitBreaker``).
struct WebhookOutcome: Hashable, Sendable {
    var outcome: Outcome
    var endpoint: EndpointSign?

    /// - Parameter events: how many were in the request. An endpoint that refuses a batch may mean one event of it: all are
    ///   tried again, each alone.
    static func of(_ response: OutboundResponse, events: Int, now: Timestamp) -> WebhookOutcome {
        let reason = "the endpoint answered \(response.status)\(excerpt(response.body))"
        func retry(_ sign: EndpointSign, after: Duration? = nil) -> WebhookOutcome {
            WebhookOutcome(outcome: .retry(after: after, reason: reason), endpoint: sign)
        }
        let asked = response.headers.first { $0.name == "retry-after" }.flatMap { RetryAfter.parse($0.value, now: now) }
        switch response.status {
        case 200..<300: return WebhookOutcome(outcome: .ack, endpoint: .up)
        case 300..<400:
            let target = response.headers.first { $0.name == "location" }.map { " to \(line($0.value).prefix(100))" }
            return WebhookOutcome(
                outcome: .retry(
                    after: nil,
                    reason: "the endpoint answered \(response.status), a redirect\(target ?? ""); "
                        + "redirects aren't followed, push to where it leads"), endpoint: .failing)
        case 400 where events > 1, 413 where events > 1, 422 where events > 1:
            return WebhookOutcome(
                outcome: .retry(after: .zero, reason: "\(reason), to \(events) events at once; each goes alone now"),
                endpoint: .up)
        case 400, 409: return retry(.up)
        case 410:
            return WebhookOutcome(
                outcome: .retry(after: nil, reason: "\(reason); it is gone for good, so the subscriber pauses"),
                endpoint: .gone)
        case 413, 415, 422:
            return WebhookOutcome(outcome: .dead(reason: "\(reason); it will never take this event"), endpoint: .up)
        case 429: return retry(.busy(asked ?? Limits.busyDefault), after: asked)
        case 503:
            guard let asked else { return retry(.failing) }
            return retry(.busy(asked), after: asked)
        default: return retry(.failing)
        }
    }

    static func of(_ failure: OutboundFailure, timeout: Duration) -> WebhookOutcome {
        switch failure {
        case .connection(let reason):
            WebhookOutcome(outcome: .retry(after: nil, reason: reason), endpoint: .unreachable)
        case .timeout:
            WebhookOutcome(
                outcome: .retry(
                    after: nil, reason: "the endpoint didn't answer within \(DurationText.format(timeout))"),
                endpoint: .failing)
        // It did answer, and what it said doesn't fit: whether it has taken the event is unknown.
        case .responseTooLarge(let limit):
            WebhookOutcome(
                outcome: .retry(
                    after: nil, reason: "the endpoint's answer is longer than \(limit) bytes; a short one will do"),
                endpoint: .up)
        // The URL's fault: no event may be lost by it.
        case .badRequest(let reason):
            WebhookOutcome(outcome: .retry(after: nil, reason: reason), endpoint: .refusing)
        // Can't be: an endpoint that routes.conf names may be anywhere.
        case .localAddress(let host, let address):
            WebhookOutcome(
                outcome: .retry(after: nil, reason: "\(host) has the local address \(address)"), endpoint: .refusing)
        }
    }

    private static func excerpt(_ body: [UInt8]) -> String {
        let text = line(String(decoding: body.prefix(Limits.webhookExcerptBytesMax), as: UTF8.self))
        return text.isEmpty ? "" : ": \(text)"
    }

    /// In one line, and without what would move a terminal's cursor.
    private static func line(_ text: String) -> String {
        text.unicodeScalars.split { $0.properties.isWhitespace || $0.properties.generalCategory == .control }
            .map(String.init).joined(separator: " ")
    }
}
