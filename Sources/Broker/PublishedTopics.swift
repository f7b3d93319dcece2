// SPDX-License-Identifier: Apache-2.0

import Events
import Metrics
import Routes
import Synchronization

/// What publishers need of the topics: read from any thread, replaced whole by each generation.
final class PublishedTopics: Sendable {
    private let topics = Mutex<[String: PublishedTopic]>([:])

    subscript(name: String) -> PublishedTopic? {
        topics.withLock { $0[name] }
    }

    /// Keeps the dedupe windows of topics whose setting is the same.
    func replace(_ routes: [TopicRoute], eventBytesMax: Int) {
        topics.withLock { topics in
            var next: [String: PublishedTopic] = [:]
            for route in routes {
                if let old = topics[route.name], old.route == route, old.target.eventBytesMax == eventBytesMax {
                    next[route.name] = old
                } else {
                    let window = topics[route.name].flatMap { $0.route.dedupe == route.dedupe ? $0.dedupe : nil }
                    next[route.name] = PublishedTopic(route, dedupe: window, eventBytesMax: eventBytesMax)
                }
            }
            topics = next
        }
    }

    var all: [PublishedTopic] { topics.withLock { Array($0.values) } }
}

final class PublishedTopic: Sendable {
    let topic: Topic
    let route: TopicRoute
    let target: PublishTarget
    let dedupe: Dedupe?
    let published: Counter
    let duplicates: Counter
    let forgotten: Forgotten

    init(_ route: TopicRoute, dedupe: Dedupe?, eventBytesMax: Int) {
        self.route = route
        topic = Topic.named(route.name)
        target = PublishTarget(topic: topic, key: route.keyExtractor, eventBytesMax: eventBytesMax)
        published = BrokerMetrics.published(topic: route.name)
        duplicates = BrokerMetrics.duplicates(topic: route.name)
        forgotten = Forgotten(BrokerMetrics.forgotten(topic: route.name))
        _ = BrokerMetrics.expired(topic: route.name)
        self.dedupe = dedupe ?? route.dedupe.map { Dedupe(length: $0) }
    }

    /// After how long it drops events that somebody has not settled; nil: it doesn't.
    var kept: Duration? { route.keepsUnsettled ? nil : route.retainAge }

    /// Why it can't take a batch: it would drop an event before the time that its publisher wants it delivered at.
    func refusal(of batch: RecordBatch, now: Timestamp) -> Failure? {
        guard let kept else { return nil }
        for index in 0..<batch.count {
            if let refusal = batch[index].delayRefusal(keeping: kept, now: now, index: index) { return refusal }
        }
        return nil
    }

    /// Counts what a window forgot before its time, and knows whether that was told.
    final class Forgotten: Sendable {
        private let counter: Counter
        private let isTold = Atomic(false)

        init(_ counter: Counter) {
            self.counter = counter
        }

        /// True once.
        var isFirst: Bool { !isTold.exchange(true, ordering: .relaxed) }

        func add(_ count: Int) {
            counter.increment(by: count)
        }
    }

    /// A topic's window, with those who wait for an append of somebody else's, or for the window to be filled.
    final class Dedupe: Sendable {
        private enum Filling {
            case empty, underway, done
        }

        private struct State {
            var window: DedupeWindow
            var filling = Filling.empty
            var waiting: [CheckedContinuation<Void, Never>] = []

            mutating func admit(_ batch: RecordBatch, now: Timestamp, peeking: Bool = false) -> DedupeWindow.Admission {
                filling == .done ? window.admit(batch, now: now, peeking: peeking) : .wait
            }
        }

        let length: Duration
        private let state: Mutex<State>

        init(length: Duration) {
            self.length = length
            state = Mutex(State(window: DedupeWindow(length: length)))
        }

        /// True for the one who is to fill it.
        func beginFilling() -> Bool {
            state.withLock { state in
                defer { if state.filling == .empty { state.filling = .underway } }
                return state.filling == .empty
            }
        }

        /// It knows what was accepted before.
        func filled() {
            let waiting = state.withLock { state in
                state.filling = .done
                defer { state.waiting = [] }
                return state.waiting
            }
            for continuation in waiting { continuation.resume() }
        }

        /// How many it forgot before their time since it was asked last.
        func takeForgotten() -> Int {
            state.withLock { $0.window.takeForgotten() }
        }

        func admit(_ batch: RecordBatch, now: Timestamp) async -> (places: [Int], pairs: [DedupeWindow.Pair]) {
            while true {
                if case .append(let places, let pairs) = state.withLock({ $0.admit(batch, now: now) }) {
                    return (places, pairs)
                }
                await withCheckedContinuation { continuation in
                    // The append that was pending may have ended between the two locks.
                    let isOver = state.withLock { state in
                        guard case .wait = state.admit(batch, now: now, peeking: true) else { return true }
                        state.waiting.append(continuation)
                        return false
                    }
                    if isOver { continuation.resume() }
                }
            }
        }

        func ended(_ pairs: [DedupeWindow.Pair], succeeded: Bool, now: Timestamp) {
            let waiting = state.withLock { state in
                if succeeded { state.window.succeeded(pairs, now: now) } else { state.window.failed(pairs) }
                defer { state.waiting = [] }
                return state.waiting
            }
            for continuation in waiting { continuation.resume() }
        }

        func remember(_ batch: RecordBatch) {
            state.withLock { state in
                for index in 0..<batch.count { state.window.remember(batch[index]) }
            }
        }
    }
}
