// SPDX-License-Identifier: Apache-2.0

import Events

/// What an endpoint's answer means for the delivery.
///
/// | answer | outcome |
/// |---|---|
/// | 2xx | ack |
/// | 410 | dead: the endpoint says that it is gone for good |
/// | 413, 415, 422 | dead: this very event will never be taken |
/// | 429, 503 | retry, after Retry-After where given |
/// | 3xx | retry: redirects are never followed, the `push` line has the wrong URL |
/// | other 4xx | retry: an endpoint that is being redeployed answers 404, one whose token is being changed 401, and no event may be lost by that |
/// | 5xx, no connection, timeout | retry |
enum WebhookOutcome {
    static func of(_ response: OutboundResponse, now: Timestamp) -> Outcome {
        let reason = "the endpoint answered \(response.status)\(excerpt(response.body))"
        switch response.status {
        case 200..<300: return .ack
        case 300..<400:
            let target = response.headers.first { $0.name == "location" }.map { " to \($0.value.prefix(100))" } ?? ""
            return .retry(
                after: nil,
                reason: "the endpoint answered \(response.status), a redirect\(target); redirects aren't followed, "
                    + "push to where it leads")
        case 410: return .dead(reason: "\(reason); it is gone for good")
        case 413, 415, 422: return .dead(reason: "\(reason); it will never take this event")
        case 429, 503:
            let after = response.headers.first { $0.name == "retry-after" }
                .flatMap { RetryAfter.parse($0.value, now: now) }
            return .retry(after: after, reason: reason)
        default: return .retry(after: nil, reason: reason)
        }
    }

    static func of(_ failure: OutboundFailure, timeout: Duration) -> Outcome {
        switch failure {
        case .connection(let reason): .retry(after: nil, reason: reason)
        case .timeout:
            .retry(after: nil, reason: "the endpoint didn't answer within \(DurationText.format(timeout))")
        // It did answer, and what it said doesn't fit: whether it has taken the event is unknown.
        case .responseTooLarge(let limit):
            .retry(after: nil, reason: "the endpoint's answer is longer than \(limit) bytes; a short one will do")
        case .badRequest(let reason): .dead(reason: reason)
        case .localAddress(let host, let address): .dead(reason: "\(host) has the local address \(address)")
        }
    }

    private static func excerpt(_ body: [UInt8]) -> String {
        let text = String(decoding: body.prefix(Limits.webhookExcerptBytesMax), as: UTF8.self)
        let line = text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        return line.isEmpty ? "" : ": \(line)"
    }
}
