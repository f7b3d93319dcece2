// SPDX-License-Identifier: Apache-2.0

import Events
import Logging
import Synchronization

@testable import Scripting

/// A plugin in the real host, with fakes only where the outside begins.
final class Harness: Sendable {
    let host: ScriptHost
    let destination: LuaDestination
    let outcomes: OutcomeRecorder
    let services: FakeServices
    private let nextOffset = Mutex<Offset>(0)

    /// - Parameter code: the plugin's one file, `Plugins/test.lua`.
    init(
        _ code: String, files: [String: String] = [:], settings: [PluginSetting] = [], grants: [PluginGrant] = [],
        cpu: Duration = .milliseconds(100), memory: Int = 32 << 20, timeout: Duration = .seconds(10),
        concurrency: Int = 1, batch: PluginBinding.Batch? = nil, services: FakeServices = FakeServices(),
        host: ScriptHost? = nil, subscriber: String = "test"
    ) async throws {
        self.services = services
        self.host = host ?? ScriptHost(services: services.services, lanes: 1)
        let binding = Harness.binding(
            code, files: files, settings: settings, grants: grants, cpu: cpu, memory: memory, timeout: timeout,
            concurrency: concurrency, batch: batch, subscriber: subscriber)
        destination = try await self.host.load(binding)
        let outcomes = OutcomeRecorder(services.state)
        self.outcomes = outcomes
        destination.start { outcomes.take($0) }
    }

    static func binding(
        _ code: String, files: [String: String] = [:], settings: [PluginSetting] = [], grants: [PluginGrant] = [],
        cpu: Duration = .milliseconds(100), memory: Int = 32 << 20, timeout: Duration = .seconds(10),
        concurrency: Int = 1, batch: PluginBinding.Batch? = nil, subscriber: String = "test"
    ) -> PluginBinding {
        var all = files.mapValues { Array($0.utf8) }
        all["test.lua"] = Array(code.utf8)
        return PluginBinding(
            subscriber: subscriber, source: PluginSource(name: "test", files: all, entry: "test.lua"),
            settings: settings, grants: grants, cpu: cpu, memory: memory, timeout: timeout, concurrency: concurrency,
            batch: batch)
    }

    /// Delivers the events in one call and waits until all are settled; outcomes in the order of the events.
    @discardableResult
    func run(_ events: [Event], topic: String = "orders", attempt: Int = 1, replay: Bool = false) async -> [Settlement]
    {
        let deliveries = deliveries(events, topic: topic, attempt: attempt, replay: replay)
        destination.deliver(deliveries)
        return await outcomes.settled(deliveries.map(\.id))
    }

    /// One event with JSON data.
    @discardableResult
    func run(_ json: String = "{}", attempt: Int = 1) async -> Settlement {
        await run([.order(json)], attempt: attempt)[0]
    }

    func deliveries(
        _ events: [Event], topic: String = "orders", attempt: Int = 1, replay: Bool = false
    ) -> [Delivery] {
        var builder = RecordBatchBuilder(topic: .named(topic), key: nil, capacity: 1024)
        for event in events { builder.append(event) }
        let batch = builder.finish()
        let first = nextOffset.withLock { next in
            defer { next += UInt64(events.count) }
            return next
        }
        batch.stamp(first: first, time: Timestamp(milliseconds: 1_700_000_000_500))
        return (0..<batch.count).map { Delivery(record: batch[$0], attempt: attempt, replay: replay) }
    }
}

extension Event {
    static func order(_ json: String, id: String = "e-1") -> Event {
        Event(id: id, source: "/shop", type: "order.placed", data: .json(Array(json.utf8)))
    }
}

/// Gathers settlements and applies their state writes as the ledger would.
final class OutcomeRecorder: Sendable {
    private struct Seen {
        var settlements: [DeliveryID: Settlement] = [:]
        var order: [DeliveryID] = []
        var waiters: [(ids: [DeliveryID], continuation: CheckedContinuation<[Settlement], Never>)] = []
    }

    private let seen = Mutex(Seen())
    private let state: MemoryState

    init(_ state: MemoryState) {
        self.state = state
    }

    func take(_ settlements: Settlements) {
        for settlement in settlements.others { if let effects = settlement.effects { state.apply(effects) } }
        settlements.whenTaken?()
        let ready = seen.withLock { seen in
            for settlement in settlements.acks.map({ Settlement($0, .ack) }) + settlements.others {
                precondition(seen.settlements[settlement.delivery] == nil, "settled once")
                seen.settlements[settlement.delivery] = settlement
                seen.order.append(settlement.delivery)
            }
            let ready = seen.waiters.filter { waiter in waiter.ids.allSatisfy { seen.settlements[$0] != nil } }
            seen.waiters.removeAll { waiter in waiter.ids.allSatisfy { seen.settlements[$0] != nil } }
            let all = seen.settlements
            return ready.map { waiter in (waiter.continuation, waiter.ids.map { all[$0]! }) }
        }
        for (continuation, settlements) in ready { continuation.resume(returning: settlements) }
    }

    func settled(_ ids: [DeliveryID]) async -> [Settlement] {
        await withCheckedContinuation { continuation in
            let found: [Settlement]? = seen.withLock { seen in
                if ids.allSatisfy({ seen.settlements[$0] != nil }) { return ids.map { seen.settlements[$0]! } }
                seen.waiters.append((ids, continuation))
                return nil
            }
            if let found { continuation.resume(returning: found) }
        }
    }

    /// In the order in which they were settled.
    var order: [DeliveryID] { seen.withLock { $0.order } }
    func settlement(_ id: DeliveryID) -> Settlement? { seen.withLock { $0.settlements[id] } }
}

/// State as the ledger keeps it, in memory.
final class MemoryState: StateReader {
    private let values = Mutex<[String: [UInt8]]>([:])
    /// Beside what is there really.
    let extra = Mutex(StateUsage())

    init(_ values: [String: String] = [:]) {
        self.values.withLock { $0 = values.mapValues { Array($0.utf8) } }
    }

    func value(subscriber: String, key: String) throws -> [UInt8]? { values.withLock { $0[key] } }

    func usage(subscriber: String) throws -> StateUsage {
        let extra = extra.withLock { $0 }
        return values.withLock { values in
            StateUsage(
                entries: extra.entries + values.count,
                bytes: extra.bytes + values.reduce(0) { $0 + $1.key.utf8.count + $1.value.count })
        }
    }

    func values(
        subscriber: String, prefix: String, after: String?, limit: Int
    ) throws -> [(key: String, value: [UInt8])] {
        values.withLock { values in
            values.filter { key, _ in key.hasPrefix(prefix) && after.map { key > $0 } ?? true }
                .sorted { $0.key < $1.key }.prefix(limit).map { ($0.key, $0.value) }
        }
    }

    func apply(_ effects: Effects) {
        values.withLock { values in
            for write in effects.state {
                switch write {
                case .put(let key, let value, _): values[key] = value
                case .delete(let key): values[key] = nil
                case .add(let key, let delta):
                    let old = values[key].flatMap { StateNumber(json: $0) } ?? .integer(0)
                    values[key] = (old + delta).json
                }
            }
        }
    }

    subscript(key: String) -> String? { values.withLock { $0[key].map { String(decoding: $0, as: UTF8.self) } } }
}

struct FixedClock: Clock {
    var time = Timestamp(milliseconds: 1_700_000_100_000)
    func now() -> Timestamp { time }
}

/// Answers every request by one function and keeps what was sent.
final class FakeHTTP: HTTPSender {
    typealias Answer = @Sendable (OutboundRequest) async throws(OutboundFailure) -> OutboundResponse
    private let sent = Mutex<[OutboundRequest]>([])
    private let answer: Mutex<Answer>

    init(_ answer: @escaping Answer = { _ throws(OutboundFailure) in .init(status: 200, headers: [], body: []) }) {
        self.answer = Mutex(answer)
    }

    func respond(_ answer: @escaping Answer) { self.answer.withLock { $0 = answer } }

    func respond(_ status: Int, _ body: String = "", headers: [(name: String, value: String)] = []) {
        respond { _ throws(OutboundFailure) in
            OutboundResponse(status: status, headers: headers, body: Array(body.utf8))
        }
    }

    func send(_ request: OutboundRequest) async throws(OutboundFailure) -> OutboundResponse {
        sent.withLock { $0.append(request) }
        let answer = answer.withLock { $0 }
        return try await answer(request)
    }

    var requests: [OutboundRequest] { sent.withLock { $0 } }
}

final class FakeMail: MailSender {
    private let sent = Mutex<[MailMessage]>([])
    private let failure = Mutex<MailFailure?>(nil)

    func fail(_ failure: MailFailure) { self.failure.withLock { $0 = failure } }

    func send(_ message: MailMessage) async throws(MailFailure) {
        if let failure = failure.withLock({ $0 }) { throw failure }
        sent.withLock { $0.append(message) }
    }

    var messages: [MailMessage] { sent.withLock { $0 } }
}

final class LogRecorder: Sendable {
    struct Line: Hashable, Sendable {
        var level: Logger.Level
        var text: String
        var metadata: [String: String]
    }

    private let recorded = Mutex<[Line]>([])
    var lines: [Line] { recorded.withLock { $0 } }
    func add(_ line: Line) { recorded.withLock { $0.append(line) } }

    struct Handler: LogHandler {
        let recorder: LogRecorder
        var metadata: Logger.Metadata = [:]
        var logLevel: Logger.Level = .trace
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            recorder.add(
                Line(
                    level: event.level, text: "\(event.message)",
                    metadata: (event.metadata ?? [:]).mapValues { "\($0)" }))
        }
    }
}

struct FakeServices: Sendable {
    let state: MemoryState
    let http = FakeHTTP()
    let mail = FakeMail()
    var files: any FileAppending = TestWorld()
    let logs = LogRecorder()
    let metrics = MetricRecorder()
    var environment: [String: String] = [:]

    init(state: [String: String] = [:], environment: [String: String] = [:]) {
        self.state = MemoryState(state)
        self.environment = environment
    }

    var services: ScriptServices {
        let (logs, metrics, environment) = (logs, metrics, environment)
        return ScriptServices(
            state: state, http: http, mail: mail, files: files, clock: FixedClock(),
            logger: Logger(label: "test") { _ in LogRecorder.Handler(recorder: logs) },
            environment: { environment[$0] }, metric: { metrics.add($0, $1, $2) })
    }
}

final class MetricRecorder: Sendable {
    private let sums = Mutex<[String: Double]>([:])
    func add(_ subscriber: String, _ name: String, _ amount: Double) {
        sums.withLock { $0["\(subscriber).\(name)", default: 0] += amount }
    }
    subscript(name: String) -> Double? { sums.withLock { $0[name] } }
}
