// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Gateway
import Hummingbird
import Logging
import Synchronization

@testable import Broker

/// A broker that does what the test says, and tells what it was asked.
final class FakeBroker: BrokerSurface {
    struct State: Sendable {
        var published: [RecordBatch] = []
        var publishFailure: Failure?
        var eventBytesMax = Limits.eventBytesMax
        /// Batches that came without a task, from the connection's own loop.
        var publishedOnLoop = 0
        var publication = Published(accepted: 1, first: 7, last: 7, duplicates: 0)
        var pulls: [(subscriber: String, max: Int, wait: Duration)] = []
        var leases: [Lease] = []
        var settlements: [LeaseSettlement] = []
        var results: [LeaseResult] = []
        var status = BrokerStatus(generation: 3, started: Timestamp(milliseconds: 0), topics: [], subscribers: [])
        var paused: Set<String> = []
        var pauseReasons: [String] = []
        var forgotten: [String] = []
        var letters: [DeadLetter] = []
        var kept: [String: [UInt8]] = [:]
        var attempts: [Attempt] = []
        var discards: [String] = []
        var listings: [(filter: DeadLetterFilter, before: Int64?, limit: Int)] = []
        var redrives: [(ids: [Int64]?, filter: DeadLetterFilter?, options: RedriveRun.Options)] = []
        var tails: [(from: Offset?, max: Int, wait: Duration)] = []
        var records: [Record] = []
        var waiting: [CheckedContinuation<Void, Never>] = []
        /// Pulls wait until ``release()``.
        var holdsPulls = false
    }

    private let state = Mutex(State())

    func with<Value: Sendable>(_ body: (inout State) -> Value) -> Value {
        state.withLock { body(&$0) }
    }

    func stateEntries(
        of subscriber: String, prefix: String, after: String?, limit: Int
    ) async throws(Failure) -> [StateEntry] {
        try known(subscriber)
        return with { state in
            state.kept.filter { key, _ in key.hasPrefix(prefix) && after.map { key > $0 } ?? true }
                .sorted { $0.key < $1.key }.prefix(limit).map { StateEntry(key: $0.key, value: $0.value) }
        }
    }

    func stateValue(of subscriber: String, key: String) async throws(Failure) -> [UInt8]? {
        try known(subscriber)
        return with { $0.kept[key] }
    }

    func writeState(of subscriber: String, _ write: StateWrite) async throws(Failure) {
        try known(subscriber)
        with { state in
            switch write {
            case .put(let key, let value, _): state.kept[key] = value
            case .delete(let key): state.kept[key] = nil
            case .add: break
            }
        }
    }

    func publishing(to topic: String) -> PublishTarget? {
        topic == "orders"
            ? PublishTarget(topic: .named(topic), key: nil, eventBytesMax: with { $0.eventBytesMax }) : nil
    }

    func publish(_ batch: RecordBatch) async throws(Failure) -> Published {
        try record(batch).get()
    }

    func publish(_ batch: RecordBatch, then: @escaping @Sendable (Result<Published, Failure>) -> Void) {
        let result = record(batch)
        with { $0.publishedOnLoop += 1 }
        // As from the disk's thread.
        Thread.detachNewThread { then(result) }
    }

    private func record(_ batch: RecordBatch) -> Result<Published, Failure> {
        state.withLock { state in
            state.published.append(batch)
            return state.publishFailure.map { .failure($0) } ?? .success(state.publication)
        }
    }

    func pull(_ subscriber: String, max: Int, wait: Duration) async throws(Failure) -> [Lease] {
        try known(subscriber)
        let holds = state.withLock { state in
            state.pulls.append((subscriber, max, wait))
            return state.holdsPulls
        }
        if holds {
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let waits = state.withLock { state in
                        if state.holdsPulls { state.waiting.append(continuation) }
                        return state.holdsPulls
                    }
                    if !waits { continuation.resume() }
                }
            } onCancel: {
                release()
            }
        }
        return state.withLock { $0.leases }
    }

    /// Ends the pulls that wait.
    func release() {
        let waiting = state.withLock { state in
            state.holdsPulls = false
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    func settle(_ subscriber: String, _ requests: [LeaseSettlement]) async throws(Failure) -> [LeaseResult] {
        try known(subscriber)
        return state.withLock { state in
            state.settlements = requests
            return state.results
        }
    }

    func status() async -> BrokerStatus { state.withLock { $0.status } }

    func pause(_ subscriber: String, reason: String) async throws(Failure) {
        try known(subscriber)
        state.withLock { $0.pauseReasons.append(reason) }
        state.withLock { _ = $0.paused.insert(subscriber) }
    }

    func resume(_ subscriber: String) async throws(Failure) {
        try known(subscriber)
        state.withLock { _ = $0.paused.remove(subscriber) }
    }

    func forget(_ subscriber: String) async throws(Failure) {
        guard subscriber != "history" else { throw Failure(.conflict, "subscriber \"history\" runs") }
        state.withLock { $0.forgotten.append(subscriber) }
    }

    func deadLetters(_ filter: DeadLetterFilter, before: Int64?, limit: Int) async throws(Failure) -> [DeadLetter] {
        state.withLock { state in
            state.listings.append((filter, before, limit))
            return Array(state.letters.prefix(limit))
        }
    }

    func deadLetterGroups(_ filter: DeadLetterFilter, limit: Int) async throws(Failure) -> [DeadLetterSummary] {
        state.withLock { state in
            state.letters.prefix(1).map { letter in
                DeadLetterSummary(
                    subscriber: letter.subscriber, group: letter.group, count: state.letters.count, first: letter.time,
                    last: letter.time, sample: letter.id, reason: letter.reason)
            }
        }
    }

    func deadLetter(_ id: Int64) async throws(Failure) -> DeadLetter? {
        state.withLock { $0.letters.first { $0.id == id } }
    }

    func attempts(of subscriber: String, _ id: DeliveryID) async throws(Failure) -> [Attempt] {
        state.withLock { $0.attempts }
    }

    func failures(of subscriber: String, limit: Int) async throws(Failure) -> [Attempt] {
        guard subscriber != "nobody" else { throw Failure(.notFound, "no subscriber \"nobody\"") }
        return state.withLock { Array($0.attempts.reversed().prefix(limit)) }
    }

    func mend(_ id: Int64, with event: Event) async throws(Failure) -> DeadLetter {
        guard var letter = try await deadLetter(id) else { throw Failure(.notFound, "no dead letter \(id)") }
        letter.mended = event
        letter.mendedTime = letter.time
        return letter
    }

    func redrive(_ ids: [Int64], _ options: RedriveRun.Options) async throws(Failure) -> RedriveRun.Progress {
        state.withLock { $0.redrives.append((ids, nil, options)) }
        return RedriveRun(id: 1, letters: ids, options: options).progress
    }

    func redrive(
        _ filter: DeadLetterFilter, _ options: RedriveRun.Options
    ) async throws(Failure) -> RedriveRun.Progress {
        let ids = state.withLock { state in
            state.redrives.append((nil, filter, options))
            return state.letters.map(\.id)
        }
        return RedriveRun(id: 1, letters: ids, options: options).progress
    }

    func redriveProgress(_ id: Int) async throws(Failure) -> RedriveRun.Progress {
        guard id == 1 else { throw Failure(.notFound, "no redrive \(id)") }
        var run = RedriveRun(id: 1, letters: [7, 8], options: .init())
        _ = run.next(now: FixedClock().time)
        run.succeed(7)
        run.fail(8, "still closed")
        return run.progress
    }

    func cancelRedrive(_ id: Int) async throws(Failure) -> RedriveRun.Progress {
        var run = RedriveRun(id: id, letters: [7, 8], options: .init())
        run.cancel()
        return run.progress
    }

    func discard(_ ids: [Int64], reason: String) async throws(Failure) -> Int {
        guard let found = state.withLock({ state in ids.first { id in !state.letters.contains { $0.id == id } } })
        else {
            return state.withLock { state in
                state.discards.append(reason)
                state.letters.removeAll { ids.contains($0.id) }
                return ids.count
            }
        }
        throw Failure(.notFound, "no dead letter \(found)")
    }

    func discard(_ filter: DeadLetterFilter, reason: String) async throws(Failure) -> Int {
        state.withLock { state in
            state.discards.append(reason)
            return state.letters.count
        }
    }

    func tail(_ topic: String, from offset: Offset?, max: Int, wait: Duration) async throws(Failure) -> [Record] {
        guard topic == "orders" else { throw Failure(.unknownTopic, "no topic \"\(topic)\"") }
        return state.withLock { state in
            state.tails.append((offset, max, wait))
            return state.records
        }
    }

    private func known(_ subscriber: String) throws(Failure) {
        guard subscriber == "history" else {
            throw Failure(.unknownSubscriber, "no subscriber \"\(subscriber)\" in routes.conf")
        }
    }
}

struct FixedClock: Events.Clock {
    var time = Timestamp(milliseconds: 1_773_065_100_000)
    func now() -> Timestamp { time }
}

func record(_ event: Event, topic: String = "orders", offset: Offset = 0) -> Record {
    var builder = RecordBatchBuilder(topic: .named(topic), key: nil, capacity: 256)
    builder.append(event)
    let batch = builder.finish()
    batch.stamp(first: offset, time: FixedClock().now())
    return batch[0]
}

func gateway(
    _ broker: FakeBroker, prometheus: PrometheusMetrics = PrometheusMetrics(),
    obstacle: @escaping @Sendable () async -> String? = { nil },
    reload: @escaping @Sendable (Duration?, Bool) async -> ReloadVerdict = { _, _ in
        .applied(generation: 4, changes: [])
    }
) -> Gateway {
    Gateway(
        broker: broker, settings: .init(port: 0, version: "1.2.3"), prometheus: prometheus,
        logger: silent, clock: FixedClock(), reload: reload,
        plugins: { [PluginStatus(name: "slack", path: "Plugins/slack.lua", version: "1", subscribers: ["alerts"])] },
        obstacle: obstacle)
}

let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
