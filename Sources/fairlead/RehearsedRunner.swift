// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Gateway
import Routes
import Scripting
import Synchronization

/// Carries out deliveries of one side of one subscriber, with every effect captured.
enum RehearsedRunner: Sendable {
    case plugin(PluginRehearsal)
    case push(PushRehearsal)

    typealias Answer = @Sendable (OutboundRequest) -> Result<OutboundResponse, OutboundFailure>

    /// nil for a subscriber that pulls: what it does is its own affair.
    ///
    /// - Throws: `PluginError` or `Failure`: what a reload would be refused for.
    init?(
        _ route: SubscriberRoute, in generation: RehearsedGeneration, from start: RehearsedState.Start,
        stateOf name: String
    ) async throws {
        switch route.delivery {
        case .pull: return nil
        case .push(let push): self = .push(try PushRehearsal(route, push))
        case .run(let plugin, _, _):
            guard let source = generation.folder.source(of: plugin) else {
                throw Failure(
                    .notFound, PluginDiagnostic.missing(plugin, of: route, in: generation.folder).description)
            }
            var binding = PluginBinding(route, source)
            // What is handed over is all that comes: nothing waits for a batch to fill.
            binding.batch?.every = .milliseconds(1)
            self = .plugin(
                try await PluginRehearsal(
                    binding, from: start, stateOf: name,
                    environment: { ProcessInfo.processInfo.environment[$0] }))
        }
    }

    func handle(_ records: [Record], answering answer: @escaping Answer) async -> RehearsedResult {
        let deliveries = records.map { Delivery(record: $0, attempt: 1) }
        switch self {
        case .plugin(let plugin): return RehearsedResult(await plugin.handle(deliveries, answering: answer))
        case .push(let push): return await push.handle(deliveries, answering: answer)
        }
    }

    func stop() async {
        switch self {
        case .plugin(let plugin): await plugin.stop()
        case .push(let push): await push.stop()
        }
    }
}

/// A subscriber that is pushed to, whose requests go nowhere.
final class PushRehearsal: HTTPSender, Events.Clock, Sendable {
    private struct Moment {
        var time = Timestamp.distantPast
        var answer: RehearsedRunner.Answer = { _ in HTTPStubs.standard }
        var requests: [OutboundRequest] = []
        var settled: [Settlement] = []
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let moment = Mutex(Moment())
    private let secrets: [(name: String, value: [UInt8])]
    private let destination = Mutex<WebhookDestination?>(nil)
    /// Made anew for each request, or told elsewhere.
    private static let unshown: Set<String> = [
        "webhook-timestamp", "webhook-signature", "user-agent", "content-length",
    ]
    private static let credentials: Set<String> = ["authorization", "proxy-authorization", "cookie"]

    init(_ route: SubscriberRoute, _ push: PushRoute) throws(Failure) {
        secrets =
            (push.signing
            + push.headers.values.compactMap { if case .secret(let secret) = $0 { secret } else { nil } })
            .map { ($0.name, Array($0.value.utf8)) }
        var asked = push
        // Consent is the endpoint's affair, and nobody asks it.
        asked.handshake = nil
        let made = try WebhookDestination(
            subscriber: route.name, route: asked, timeout: route.retry.timeout, concurrency: 1, sender: self,
            clock: self)
        made.start { [weak self] in self?.take($0) }
        destination.withLock { $0 = made }
    }

    func now() -> Timestamp { moment.withLock { $0.time } }

    func send(_ request: OutboundRequest) async throws(OutboundFailure) -> OutboundResponse {
        let answer = moment.withLock { moment in
            moment.requests.append(request)
            return moment.answer
        }
        return try answer(request).get()
    }

    private func take(_ settlements: Settlements) {
        let waiter = moment.withLock { moment in
            moment.settled += settlements.acks.map { Settlement($0, .ack) } + settlements.others
            defer { moment.waiter = nil }
            return moment.waiter
        }
        waiter?.resume()
    }

    func handle(_ deliveries: [Delivery], answering answer: @escaping RehearsedRunner.Answer) async -> RehearsedResult {
        moment.withLock { moment in
            moment = Moment(time: deliveries.last?.record.time ?? .distantPast, answer: answer)
        }
        destination.withLock { $0 }?.deliver(deliveries)
        while moment.withLock({ $0.settled.count < deliveries.count }) {
            await withCheckedContinuation { continuation in
                let isDone = moment.withLock { moment in
                    if moment.settled.count >= deliveries.count { return true }
                    moment.waiter = continuation
                    return false
                }
                if isDone { continuation.resume() }
            }
        }
        let (requests, settled) = moment.withLock { ($0.requests, $0.settled) }
        let worst = settled.first { $0.outcome != .ack } ?? settled[0]
        return RehearsedResult(outcome: worst.outcome, effects: requests.map { RehearsedEffect(shown($0)) })
    }

    private func shown(_ request: OutboundRequest) -> PluginTrial.Request {
        var headers: [(name: String, value: String)] = []
        for (name, value) in request.headers where !Self.unshown.contains(name.lowercased()) {
            let redacted = value.redacting(secrets)
            let isHidden = Self.credentials.contains(name.lowercased()) && redacted == value
            headers.append((name, isHidden ? "(not shown)" : redacted))
        }
        return PluginTrial.Request(
            method: request.method, url: request.url.redacting(secrets), headers: headers,
            body: String(decoding: request.body, as: UTF8.self).redacting(secrets), answer: "")
    }

    func stop() async {
        let made = destination.withLock { destination in
            defer { destination = nil }
            return destination
        }
        await made?.stop(.removed, deadline: .zero)
    }
}
