// SPDX-License-Identifier: Apache-2.0

import Events

/// What an endpoint answered when it was asked whether it may be sent events (CloudEvents HTTP webhooks 1.0 section 4.2).
enum WebhookConsent: Hashable, Sendable {
    case granted(EndpointAllowance)
    case refused(reason: String)

    /// The headers alone decide: endpoints answer OPTIONS with many a status.
    static func of(_ response: OutboundResponse, origin: String, asked perMinute: Int?) -> WebhookConsent {
        func header(_ name: String) -> String? { response.headers.first { $0.name == name }?.value }
        guard let allowed = header("webhook-allowed-origin") else {
            return .refused(
                reason:
                    "the endpoint answered \(response.status) to OPTIONS without WebHook-Allowed-Origin: it has not "
                    + "consented; without `handshake` it isn't asked")
        }
        let origins = allowed.split(separator: ",").map { $0.filter { $0 != " " }.lowercased() }
        guard origins.contains("*") || origins.contains(origin.lowercased()) else {
            return .refused(
                reason: "the endpoint allows events from \"\(allowed.prefix(100))\", and not from \"\(origin)\"")
        }
        guard let rate = header("webhook-allowed-rate"), rate != "*" else {
            return .granted(
                EndpointAllowance(requestsPerMinute: header("webhook-allowed-rate") == nil ? perMinute : nil))
        }
        guard let count = Int(rate), count > 0 else {
            return .refused(
                reason: "the endpoint allows events at a rate of \"\(rate.prefix(40))\", which is no number per minute")
        }
        return .granted(EndpointAllowance(requestsPerMinute: count))
    }
}
