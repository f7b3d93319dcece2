// SPDX-License-Identifier: Apache-2.0

package import Events
package import Routes
import Synchronization

/// Posts deliveries to a URL as CloudEvents with the headers of Standard Webhooks: one a request, or several where they
/// are batched, `concurrency` requests at once. What the answers mean is told at ``WebhookOutcome``.
///
/// Where the endpoint is to be asked first, nothing is posted until it has consented; what comes in meanwhile waits. A
/// consent that names a rate gives back what waits, so that the broker starts it at that rate.
package final class WebhookDestination: Destination {
    private let request: WebhookRequest
    private let concurrency: Int
    /// Requests wanted per minute.
    private let perMinute: Int?
    private let sender: any HTTPSender
    private let clock: any Events.Clock
    private let state: Mutex<State>

    private struct State {
        var settle: (@Sendable (Settlements) -> Void)?
        /// What is posted in one request each, in order.
        var waiting: ArraySlice<[Delivery]> = []
        var running: [Int: (deliveries: [Delivery], task: Task<Void, Never>)] = [:]
        var nextRun = 0
        var consent: Consent
        var isStopping = false
        var whenIdle: [CheckedContinuation<Void, Never>] = []
    }

    private enum Consent {
        case needed
        case asking(Task<Void, Never>)
        case given
    }

    /// - Throws: where the URL, a header or a signing secret can't be used; the text names it, never its value.
    package init(
        subscriber: String, route: PushRoute, timeout: Duration, concurrency: Int, rate: Rate? = nil,
        sender: any HTTPSender, clock: any Events.Clock
    ) throws(Failure) {
        request = try WebhookRequest(subscriber: subscriber, route: route, timeout: timeout)
        state = Mutex(State(consent: request.origin == nil ? .given : .needed))
        self.concurrency = min(max(1, concurrency), Limits.outboundConnectionsPerHostMax)
        perMinute = rate.map { max(1, Int($0.perSecond * 60)) }
        self.sender = sender
        self.clock = clock
    }

    package func start(settle: @escaping @Sendable (Settlements) -> Void) {
        state.withLock { $0.settle = settle }
    }

    package func deliver(_ deliveries: [Delivery]) {
        let requests = packed(deliveries)
        let isRefused = state.withLock { state in
            if state.isStopping { return true }
            state.waiting.append(contentsOf: requests)
            return false
        }
        if isRefused { giveBack(deliveries) } else { startWaiting() }
    }

    /// One request each; or as many as fit into one, but alone what was tried before, as it may be what the endpoint
    /// refused the others for.
    private func packed(_ deliveries: [Delivery]) -> [[Delivery]] {
        guard request.isBatched else { return deliveries.map { [$0] } }
        var requests: [[Delivery]] = []
        var open: [Delivery] = []
        var bytes = 0
        for delivery in deliveries {
            if delivery.attempt > 1 {
                requests.append([delivery])
                continue
            }
            if !open.isEmpty, bytes + delivery.record.byteCount > Limits.webhookBatchBytesMax {
                requests.append(open)
                open = []
                bytes = 0
            }
            open.append(delivery)
            bytes += delivery.record.byteCount
        }
        return open.isEmpty ? requests : requests + [open]
    }

    /// Starts what may start now.
    private func startWaiting() {
        state.withLock { state in
            guard !state.isStopping, !state.waiting.isEmpty else { return }
            switch state.consent {
            case .needed: state.consent = .asking(Task { await self.ask() })
            case .asking: break
            case .given:
                while state.running.count < concurrency, let deliveries = state.waiting.popFirst() {
                    state.nextRun += 1
                    let run = state.nextRun
                    state.running[run] = (deliveries, Task { await self.carryOut(run, deliveries) })
                }
            }
        }
    }

    private func carryOut(_ run: Int, _ deliveries: [Delivery]) async {
        let ended = await attempt(deliveries)
        let (settle, idle) = state.withLock { state in
            // Given back already, where stopping took too long: answered once, never twice.
            guard state.running.removeValue(forKey: run) != nil else {
                return (nil as (@Sendable (Settlements) -> Void)?, [] as [CheckedContinuation<Void, Never>])
            }
            guard state.running.isEmpty else { return (state.settle, []) }
            defer { state.whenIdle = [] }
            return (state.settle, state.whenIdle)
        }
        settle?(Self.settlements(of: deliveries, ended))
        for continuation in idle { continuation.resume() }
        startWaiting()
    }

    private static func settlements(of deliveries: [Delivery], _ ended: WebhookOutcome) -> Settlements {
        if ended.outcome == .ack { return Settlements(acks: deliveries.map(\.id)) }
        return Settlements(others: deliveries.map { Settlement($0.id, ended.outcome, endpoint: ended.endpoint) })
    }

    private func attempt(_ deliveries: [Delivery]) async -> WebhookOutcome {
        var ended: WebhookOutcome
        do {
            let response = try await sender.send(request.post(deliveries, now: clock.now()))
            ended = .of(response, events: deliveries.count, now: clock.now())
        } catch let failure as OutboundFailure {
            ended = .of(failure, timeout: request.timeout)
        } catch {
            ended = WebhookOutcome(outcome: .retry(after: nil, reason: "it can't be signed: \(error)"))
        }
        ended.outcome = ended.outcome.mappingReason(request.redacted)
        return ended
    }

    /// Asks for consent; then starts what waits, or gives it back.
    private func ask() async {
        var consent: EndpointAllowance?
        var refusal = WebhookOutcome(outcome: .returned)
        do {
            let response = try await sender.send(request.options(perMinute: perMinute))
            switch WebhookConsent.of(response, origin: request.origin ?? "", asked: perMinute) {
            case .granted(let allowance): consent = allowance
            case .refused(let reason):
                refusal = WebhookOutcome(outcome: .retry(after: nil, reason: reason), endpoint: .refusing)
            }
        } catch {
            refusal = .of(error, timeout: request.timeout)
        }
        refusal.outcome = refusal.outcome.mappingReason(request.redacted)
        let (settle, waiting) = state.withLock { state in
            state.consent = consent == nil ? .needed : .given
            // Without a bound, what waits may go now.
            if let consent, consent.requestsPerMinute == nil { return (state.settle, [] as [Delivery]) }
            defer { state.waiting = [] }
            return (state.settle, state.waiting.flatMap { $0 })
        }
        if let consent {
            var settlements = Settlements(others: waiting.map { Settlement($0.id, .returned) })
            settlements.allowance = consent
            settle?(settlements)
            startWaiting()
        } else if !waiting.isEmpty {
            settle?(Self.settlements(of: waiting, refusal))
        }
    }

    package func stop(_ reason: StopReason, deadline: Duration) async {
        let (waiting, asking) = state.withLock { state in
            state.isStopping = true
            defer { state.waiting = [] }
            guard case .asking(let task) = state.consent else { return (state.waiting, nil as Task<Void, Never>?) }
            return (state.waiting, task)
        }
        giveBack(waiting.flatMap { $0 })
        asking?.cancel()
        await asking?.value
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
                if !state.running.isEmpty { state.whenIdle.append(continuation) }
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
                state.whenIdle = []
            }
            return (Array(state.running.values), state.whenIdle)
        }
        for run in running { run.task.cancel() }
        giveBack(running.flatMap(\.deliveries))
        for run in running { await run.task.value }
        for continuation in idle { continuation.resume() }
    }

    private func giveBack(_ deliveries: [Delivery]) {
        guard !deliveries.isEmpty else { return }
        let settle = state.withLock { $0.settle }
        settle?(Settlements(others: deliveries.map { Settlement($0.id, .returned) }))
    }
}

extension Outcome {
    fileprivate func mappingReason(_ change: (String) -> String) -> Outcome {
        switch self {
        case .ack, .returned: self
        case .retry(let after, let reason): .retry(after: after, reason: change(reason))
        case .dead(let reason): .dead(reason: change(reason))
        case .drop(let reason): .drop(reason: change(reason))
        }
    }
}
