// SPDX-License-Identifier: Apache-2.0

import Events
import Glibc
import Routes

/// How one subscriber's deliveries become requests: bodies, headers, signatures.
struct WebhookRequest: Sendable {
    let subscriber: String
    let timeout: Duration
    let isBatched: Bool
    private let url: String
    private let mode: PushRoute.ContentMode
    private let headers: [(name: String, value: String)]
    private let signatures: [WebhookSignature]
    /// Who asks for consent; nil: nobody does.
    let origin: String?
    private let secrets: [Secret]

    /// - Throws: where the URL, a header or a signing secret can't be used; the text names it, never its value.
    init(subscriber: String, route: PushRoute, timeout: Duration) throws(Failure) {
        guard route.url.hasPrefix("https://") || route.url.hasPrefix("http://") else {
            throw Failure(
                .malformed,
                "subscriber \"\(subscriber)\" pushes to \"\(route.url)\"; a URL starts with https:// or http://")
        }
        var signatures: [WebhookSignature] = []
        for secret in route.signing {
            guard let signature = WebhookSignature(secret: secret.value) else {
                throw Failure(
                    .malformed,
                    "\(secret) of subscriber \"\(subscriber)\" can't sign: it should be \(WebhookSignature.forms)")
            }
            signatures.append(signature)
        }
        self.subscriber = subscriber
        self.timeout = timeout
        isBatched = route.batch != nil
        url = route.url
        mode = route.mode
        headers = try Self.headers(route.headers, subscriber: subscriber)
        self.signatures = signatures
        origin = route.handshake.map { $0.origin ?? Self.hostName }
        secrets =
            route.signing
            + route.headers.values.compactMap { if case .secret(let secret) = $0 { secret } else { nil } }
    }

    func post(_ deliveries: [Delivery], now: Timestamp) throws -> OutboundRequest {
        let id = WebhookSignature.id(subscriber: subscriber, deliveries: deliveries.lazy.map(\.id))
        // Rounded down: a timestamp in the future is refused by strict endpoints.
        let timestamp = now.milliseconds / 1_000
        var (headers, body) = content(deliveries)
        headers += self.headers
        headers += traceContext(deliveries)
        headers.append(("user-agent", "fairlead"))
        headers.append(("webhook-id", id))
        headers.append(("webhook-timestamp", String(timestamp)))
        if !signatures.isEmpty {
            let list = try signatures.map { try $0.sign(id: id, timestamp: timestamp, body: body) }
            headers.append(("webhook-signature", list.joined(separator: " ")))
        }
        if let origin { headers.append(("webhook-request-origin", origin)) }
        return request("POST", headers, body)
    }

    /// The event's own trace context (CloudEvents distributed tracing extension), as W3C Trace Context wants it: what receives
    /// it goes on with the publisher's trace. A batch has as many traces as events, and says so only in their attributes.
    private func traceContext(_ deliveries: [Delivery]) -> [(name: String, value: String)] {
        guard !isBatched, let parent = deliveries[0].record.attribute("traceparent") else { return [] }
        var context = [(name: "traceparent", value: parent)]
        if let state = deliveries[0].record.attribute("tracestate") { context.append(("tracestate", state)) }
        return context.filter { field in
            field.value.utf8.allSatisfy { (0x20..<0x7F).contains($0) } && !headers.contains { $0.name == field.name }
        }
    }

    private func content(_ deliveries: [Delivery]) -> (headers: [(name: String, value: String)], body: [UInt8]) {
        if isBatched {
            var body = Array("[".utf8)
            for (place, delivery) in deliveries.enumerated() {
                if place > 0 { body.append(UInt8(ascii: ",")) }
                EventEncoder.append(delivery.record, to: &body)
            }
            body.append(UInt8(ascii: "]"))
            return ([("content-type", EventEncoder.batchContentType)], body)
        }
        let record = deliveries[0].record
        guard mode == .structured else { return (EventEncoder.binaryHeaders(record), Array(record.data)) }
        var body: [UInt8] = []
        EventEncoder.append(record, to: &body)
        return ([("content-type", EventEncoder.structuredContentType)], body)
    }

    /// Asks for consent (CloudEvents HTTP webhooks 1.0 section 4.1); `perMinute` is how many requests are wanted.
    func options(perMinute: Int?) -> OutboundRequest {
        var headers = self.headers
        headers.append(("user-agent", "fairlead"))
        headers.append(("webhook-request-origin", origin ?? Self.hostName))
        if let perMinute { headers.append(("webhook-request-rate", String(perMinute))) }
        return request("OPTIONS", headers, [])
    }

    private func request(_ method: String, _ headers: [(name: String, value: String)], _ body: [UInt8])
        -> OutboundRequest
    {
        var request = OutboundRequest(
            method: method, url: url, headers: headers, body: body, timeout: timeout,
            responseBytesMax: Limits.webhookResponseBytesMax)
        request.cutsResponse = true
        return request
    }

    /// An endpoint may say in its answer what it was sent: secrets are named instead.
    func redacted(_ text: String) -> String {
        secrets.reduce(text) { text, secret in
            secret.value.utf8.count < Limits.secretBytesMin
                ? text : SecretParts.hide(secret.value, in: text, as: secret.description)
        }
    }

    private static var hostName: String {
        var name = [CChar](repeating: 0, count: Limits.hostNameBytesMax + 1)
        guard gethostname(&name, Limits.hostNameBytesMax) == 0 else { return "localhost" }
        return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    private static func headers(
        _ settings: [String: SettingValue], subscriber: String
    ) throws(Failure) -> [(name: String, value: String)] {
        var headers: [(name: String, value: String)] = []
        for (name, setting) in settings.sorted(by: { $0.key < $1.key }) {
            let value: String
            switch setting {
            case .string(let text), .name(let text): value = text
            case .integer(let number): value = String(number)
            case .number(let number): value = String(number)
            case .boolean(let flag): value = String(flag)
            case .secret(let secret): value = secret.value
            case .duration, .size, .rate, .percent, .list, .block, .read:
                throw Failure(
                    .malformed, "header \"\(name)\" of subscriber \"\(subscriber)\" must be a text or a secret")
            }
            guard value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
                throw Failure(
                    .malformed,
                    "header \"\(name)\" of subscriber \"\(subscriber)\" has a control character in its value")
            }
            headers.append((name.lowercased(), value))
        }
        return headers
    }
}
