// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Foundation
import Journal
import Ledger
import Logging
import Routes
import Simulation
import Testing

/// A broker on a real journal and a real ledger, in a folder of its own, that can be stopped and started again. Time is
/// moved by hand.
final class StoredBroker {
    private(set) var folder = StoredBroker.newFolder()
    let clock = SimulatedClock()
    private(set) var broker: Broker!
    private(set) var journal: Journal!
    private(set) var ledger: Ledger!
    private var generation = 0
    /// Gives the next generations what routes.conf can't: destinations, and what follows from plugins.
    var adjust: (inout Generation) -> Void = { _ in }

    private var left: [URL] = []

    deinit {
        for folder in left + [folder] { try? FileManager.default.removeItem(at: folder) }
    }

    private static func newFolder() -> URL {
        FileManager.default.temporaryDirectory.appendingPathComponent("fairlead-\(UUID().uuidString)")
    }

    /// Subscribers of `routes` must pull, or have a destination by ``adjust``.
    ///
    /// - Parameter writing: `.manual` is a ledger that writes only for those who wait for it.
    func start(_ routes: String, writing: Ledger.Writing = .thread) async throws {
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        journal = Journal(
            folder: folder.path + "/journal", clock: clock, log: log, segmentBytesMax: 8_192)
        ledger = try Ledger(path: folder.path + "/ledger.db", clock: clock, log: log, writing: writing)
        let broker = Broker(
            engine: EmbeddedEngine(journal: journal, ledger: ledger, log: log), clock: clock, log: log)
        self.broker = broker
        try journal.open { broker.appended($0) }
        try await broker.start(next(routes))
    }

    func reload(_ routes: String) async throws {
        try await broker.apply(next(routes))
    }

    func stop() async {
        await broker.stop(deadline: .zero)
    }

    /// The next start finds what the disk has at this moment; what runs on writes elsewhere.
    func crash() throws {
        left.append(folder)
        let copy = Self.newFolder()
        try FileManager.default.copyItem(at: folder, to: copy)
        folder = copy
    }

    private func next(_ routes: String) throws -> Generation {
        generation += 1
        let compiled = RouteCompiler.compile("routes.conf", from: OneFile(text: routes), strictEnvironment: true)
        let table = try #require(compiled.table, "\(compiled.diagnostics)")
        let fingerprints = Dictionary(
            uniqueKeysWithValues: table.subscribers.map { ($0.name, $0.fingerprint) })
        var next = Generation(number: generation, table: table, destinations: [:], fingerprints: fingerprints)
        adjust(&next)
        return next
    }

    private struct OneFile: RouteSources {
        var text: String
        func bytes(of path: String) throws -> [UInt8] { Array(text.utf8) }
        func files(matching pattern: String) throws -> [String] { [] }
        func environment(_ name: String) -> String? { nil }
        func secret(_ name: String) throws -> String? { nil }
    }

    /// One event for each id, each in a request of its own, so that segments fill up.
    @discardableResult
    func publish(_ topic: String, _ ids: [String], type: String = "t", dataBytes: Int = 0) async throws -> [Published] {
        var answers: [Published] = []
        for id in ids {
            var builder = RecordBatchBuilder(topic: .named(topic), key: nil, capacity: dataBytes + 256)
            let data = EventData.text([UInt8](repeating: UInt8(ascii: "x"), count: dataBytes))
            builder.append(Event(id: id, source: "/test", type: type, data: data))
            answers.append(try await broker.publish(builder.finish()))
        }
        return answers
    }

    /// The ids that come within the next pulls, acknowledged.
    func take(_ subscriber: String, _ count: Int) async throws -> [String] {
        var ids: [String] = []
        while ids.count < count {
            let leases = try await broker.pull(subscriber, max: count - ids.count, wait: .seconds(20))
            guard !leases.isEmpty else { break }
            ids += leases.map(\.delivery.record.id)
            _ = try await broker.settle(subscriber, leases.map { LeaseSettlement(lease: $0.id, action: .ack) })
        }
        return ids
    }

    /// Retention until it finds nothing more to do; the first turn closes the active segment of a quiet topic.
    func applyRetention() async throws {
        await broker.applyRetention()
        _ = try await journal.failure(of: .named("orders"))
        await broker.applyRetention()
    }

    struct Alert: Decodable, Hashable {
        var subscriber: String
        var topic: String
        var first: UInt64
        var last: UInt64
        var events: Int?
        var reason: String
    }

    /// What stands on `$alert`, once there are `count`; of what comes too much a moment later nothing is overlooked, as an
    /// alert more is forced through behind them.
    func alerts(_ count: Int) async throws -> [Alert] {
        var records: [Record] = []
        while records.count < count {
            let from = records.last.map { $0.offset + 1 } ?? 0
            let more = try await broker.tail("$alert", from: from, max: 100, wait: .seconds(20))
            guard !more.isEmpty else { break }
            records += more
        }
        return try records.map { record in
            try JSONDecoder().decode(Alert.self, from: Data(record.data))
        }
    }

    func first(_ topic: String) -> Offset { journal.bounds(.named(topic))?.first ?? 0 }
}

/// Waits for what threads of a broker bring about.
func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(30)
    while try await !condition() {
        try #require(ContinuousClock.now < deadline, "never came true: \(what)")
        try await Task.sleep(for: .milliseconds(5))
    }
}
