// SPDX-License-Identifier: Apache-2.0

package import Events
package import Routes
import Synchronization

/// Posts each delivery to a URL: a CloudEvent in binary mode with the headers of Standard Webhooks, `concurrency` at
/// once. What the answers mean is told at ``WebhookOutcome``.
package final class WebhookDestination: Destination {
    private let subscriber: String
    private let url: String
    private let headers: [(name: String, value: String)]
    private let signatures: [WebhookSignature]
    private let timeout: Duration
    private let concurrency: Int
    private let sender: any HTTPSender
    private let clock: any Events.Clock
    private let state = Mutex(State())

    private struct State {
        var settle: (@Sendable (Settlements) -> Void)?
        var waiting: ArraySlice<Delivery> = []
        var running: [Int: (delivery: Delivery, task: Task<Void, Never>)] = [:]
        var nextRun = 0
        var isStopping = false
        var whenIdle: CheckedContinuation<Void, Never>?
    }

    /// - Throws: where the URL, a header or a signing secret can't be used; the text names it, never its value.
    package init(
        subscriber: String, route: PushRoute, timeout: Duration, concurrency: Int, sender: any HTTPSender,
        clock: any Events.Clock
    ) throws(Failure) {
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
                    "\(secret) of subscriber \"\(subscriber)\" can't sign: it is empty, or not base64 behind whsec_")
            }
            signatures.append(signature)
        }
        self.subscriber = subscriber
        url = route.url
        headers = try Self.headers(route.headers, subscriber: subscriber)
        self.signatures = signatures
        self.timeout = timeout
        self.concurrency = max(1, concurrency)
        self.sender = sender
        self.clock = clock
    }

    package func start(settle: @escaping @Sendable (Settlements) -> Void) {
        state.withLock { $0.settle = settle }
    }

    package func deliver(_ deliveries: [Delivery]) {
        let refused = state.withLock { state in
            if state.isStopping { return deliveries }
            state.waiting.append(contentsOf: deliveries)
            return []
        }
        if refused.isEmpty { startWaiting() } else { giveBack(refused) }
    }

    /// Starts what may start now.
    private func startWaiting() {
        state.withLock { state in
            guard !state.isStopping else { return }
            while state.running.count < concurrency, let delivery = state.waiting.popFirst() {
                state.nextRun += 1
                let run = state.nextRun
                state.running[run] = (delivery, Task { await self.carryOut(run, delivery) })
            }
        }
    }

    private func carryOut(_ run: Int, _ delivery: Delivery) async {
        let outcome = await attempt(delivery)
        let (settle, idle) = state.withLock { state in
            // Given back already, where stopping took too long: answered once, never twice.
            guard state.running.removeValue(forKey: run) != nil else {
                return (nil as (@Sendable (Settlements) -> Void)?, nil as CheckedContinuation<Void, Never>?)
            }
            guard state.running.isEmpty else { return (state.settle, nil) }
            defer { state.whenIdle = nil }
            return (state.settle, state.whenIdle)
        }
        if outcome == .ack {
            settle?(Settlements(acks: [delivery.id]))
        } else {
            settle?(Settlements(others: [Settlement(delivery.id, outcome)]))
        }
        idle?.resume()
        startWaiting()
    }

    private func attempt(_ delivery: Delivery) async -> Outcome {
        do {
            let response = try await sender.send(request(delivery))
            return WebhookOutcome.of(response, now: clock.now())
        } catch {
            return WebhookOutcome.of(error, timeout: timeout)
        }
    }

    func request(_ delivery: Delivery) -> OutboundRequest {
        let record = delivery.record
        let body = Array(record.data)
        let id = WebhookSignature.id(subscriber: subscriber, delivery: delivery.id)
        // Rounded down: a timestamp in the future is refused by strict endpoints.
        let timestamp = clock.now().milliseconds / 1_000
        var headers = EventEncoder.binaryHeaders(record) + self.headers
        headers.append(("user-agent", "fairlead"))
        headers.append(("webhook-id", id))
        headers.append(("webhook-timestamp", String(timestamp)))
        if !signatures.isEmpty {
            let list = signatures.map { $0.sign(id: id, timestamp: timestamp, body: body) }
            headers.append(("webhook-signature", list.joined(separator: " ")))
        }
        return OutboundRequest(
            method: "POST", url: url, headers: headers, body: body, timeout: timeout,
            responseBytesMax: Limits.webhookResponseBytesMax)
    }

    package func stop(_ reason: StopReason, deadline: Duration) async {
        let waiting = state.withLock { state in
            state.isStopping = true
            defer { state.waiting = [] }
            return Array(state.waiting)
        }
        giveBack(waiting)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.whenIdle() }
            group.addTask {
                // Cancelled as soon as nothing runs any more.
                do { try await Task.sleep(for: deadline) } catch { return }
                await self.abandon()
            }
            await group.next()
            group.cancelAll()
        }
    }

    private func whenIdle() async {
        await withCheckedContinuation { continuation in
            let isIdle = state.withLock { state in
                if !state.running.isEmpty { state.whenIdle = continuation }
                return state.running.isEmpty
            }
            if isIdle { continuation.resume() }
        }
    }

    /// Gives back what still runs, and ends it.
    private func abandon() async {
        let (running, idle) = state.withLock { state in
            defer {
                state.running = [:]
                state.whenIdle = nil
            }
            return (Array(state.running.values), state.whenIdle)
        }
        for run in running { run.task.cancel() }
        giveBack(running.map(\.delivery))
        for run in running { await run.task.value }
        idle?.resume()
    }

    private func giveBack(_ deliveries: [Delivery]) {
        guard !deliveries.isEmpty else { return }
        let settle = state.withLock { $0.settle }
        settle?(Settlements(others: deliveries.map { Settlement($0.id, .returned) }))
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
            case .duration, .size, .rate, .percent, .list, .block:
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
