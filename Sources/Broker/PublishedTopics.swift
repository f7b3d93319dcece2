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
    func replace(_ routes: [TopicRoute]) {
        topics.withLock { topics in
            var next: [String: PublishedTopic] = [:]
            for route in routes {
                if let old = topics[route.name], old.route == route {
                    next[route.name] = old
                } else {
                    let window = topics[route.name].flatMap { $0.route.dedupe == route.dedupe ? $0.dedupe : nil }
                    next[route.name] = PublishedTopic(route, dedupe: window)
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

    init(_ route: TopicRoute, dedupe: Dedupe?) {
        self.route = route
        topic = Topic.named(route.name)
        target = PublishTarget(topic: topic, key: route.keyExtractor)
        published = BrokerMetrics.published(topic: route.name)
        duplicates = BrokerMetrics.duplicates(topic: route.name)
        self.dedupe = dedupe ?? route.dedupe.map { Dedupe(length: $0) }
    }

    /// A topic's window, with those who wait for an append of somebody else's.
    final class Dedupe: Sendable {
        private struct State {
            var window: DedupeWindow
            var waiting: [CheckedContinuation<Void, Never>] = []
        }

        private let state: Mutex<State>

        init(length: Duration) {
            state = Mutex(State(window: DedupeWindow(length: length)))
        }

        func admit(_ batch: RecordBatch, now: Timestamp) async -> (places: [Int], pairs: [DedupeWindow.Pair]) {
            while true {
                if case .append(let places, let pairs) = state.withLock({ $0.window.admit(batch, now: now) }) {
                    return (places, pairs)
                }
                await withCheckedContinuation { continuation in
                    // The append that was pending may have ended between the two locks.
                    let isOver = state.withLock { state in
                        guard case .wait = state.window.admit(batch, now: now, peeking: true) else { return true }
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
