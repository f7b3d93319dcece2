// SPDX-License-Identifier: Apache-2.0

import Foundation
import Journal
import Synchronization

/// Publishes numbered orders all the time, as fast as the subscribers take them, and remembers what was accepted where.
final class StormPublishers: Sendable {
    struct Accepted: Sendable {
        var n: Int
        var key: String
        var offset: Int
    }

    /// What goes on while an event is published; the latencies of both are held against each other.
    enum Window: Int, Sendable {
        case quiet, reloads
    }

    private struct State {
        var next = 0
        var accepted: [Accepted] = []
        var strange: [String] = []
        var isStopping = false
        /// Events a second, of all publishers.
        var rate = 30.0
        var window = Window.quiet
        /// By number.
        var sent: [(at: ContinuousClock.Instant, window: Window)] = []
        var arrivals: [UInt8] = []
        var latencies: [[Double]] = [[], []]
    }

    static let names = 2
    private static let batch = 1...6
    private let state = Mutex(State())

    var accepted: [Accepted] { state.withLock { $0.accepted } }
    var strange: [String] { state.withLock { $0.strange } }
    var rate: Double {
        get { state.withLock { $0.rate } }
        set { state.withLock { $0.rate = newValue } }
    }
    func begin(_ window: Window) { state.withLock { $0.window = window } }
    func stop() { state.withLock { $0.isStopping = true } }

    /// Until ``stop()``. A batch that is refused for now is sent again.
    func publish(_ port: Int, seed: UInt64) async {
        var random = SeededRandom(seed: seed)
        while !state.withLock({ $0.isStopping }) {
            let begun = ContinuousClock.now
            let count = Int.random(in: Self.batch, using: &random)
            let numbers = state.withLock { state in
                defer { state.next += count }
                return state.next..<state.next + count
            }
            let orders = numbers.map { n in
                var order = CrashOrder("s-\(n)", key: StormShop.keys.randomElement(using: &random)!, n: n)
                order.fails = random.chance(5) ? 1 : 0
                return order
            }
            await send(orders, port)
            let pause = Duration.seconds(Double(count * Self.names) / rate)
            try? await Task.sleep(until: begun + pause)
        }
    }

    private func send(_ orders: [CrashOrder], _ port: Int) async {
        while true {
            let now = ContinuousClock.now
            state.withLock { state in
                while state.sent.count <= orders.last!.n {
                    state.sent.append((now, state.window))
                    state.arrivals.append(0)
                }
                for order in orders { state.sent[order.n] = (now, state.window) }
            }
            let answer = try? await Loopback.send(
                "POST", port, "/v1/topics/orders/events",
                body: Array(orders.map(\.json).joined(separator: "\n").utf8), type: "application/x-ndjson")
            if let answer, answer.status == 202, let first = (try? answer.object)?["first"] as? Int {
                state.withLock { state in
                    for (place, order) in orders.enumerated() {
                        state.accepted.append(Accepted(n: order.n, key: order.key, offset: first + place))
                    }
                }
                return
            }
            guard answer?.status == 503 else {
                let text = answer.map { "\($0.status): \($0.text)" } ?? "nothing"
                return state.withLock { $0.strange.append("\(orders[0].id) was answered with \(text)") }
            }
            try? await Task.sleep(for: .milliseconds(50))
        }
    }

    /// At the endpoint `pager`, which never fails.
    func arrived(_ id: String) {
        let now = ContinuousClock.now
        guard let n = Int(id.dropFirst(2)) else { return }
        state.withLock { state in
            guard n < state.arrivals.count else { return state.strange.append("\(id) came before it was sent") }
            state.arrivals[n] += 1
            let (sent, window) = state.sent[n]
            state.latencies[window.rawValue].append((now - sent) / .milliseconds(1))
        }
    }

    /// Numbers of what was accepted and did not arrive exactly once.
    var misdelivered: [Int] {
        state.withLock { state in state.accepted.filter { state.arrivals[$0.n] != 1 }.map(\.n) }
    }

    /// Milliseconds from sending until the endpoint had it.
    func latency(_ window: Window, _ share: Double) -> Double {
        let all = state.withLock { $0.latencies[window.rawValue] }.sorted()
        return all.isEmpty ? 0 : all[min(all.count - 1, Int(Double(all.count) * share))]
    }
}
