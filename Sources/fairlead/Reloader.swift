// SPDX-License-Identifier: Apache-2.0

import Events
import Gateway
import Logging
import ServiceLifecycle
import UnixSignals

/// What somebody wants done to the running configuration.
struct ReloadRequest: Sendable {
    enum Kind: Hashable, Sendable {
        case reload
        /// To the files of that generation; nil: of the one before what runs.
        case rollback(to: Int?)
    }

    var kind = Kind.reload
    /// Who asks: `SIGHUP`, `HTTP`, `watch`, `rollback`.
    var trigger: String
    /// How long building the new generation may take.
    var wait: Duration = Limits.reloadWait
    /// Tries again what has failed and was undone.
    var force = false
}

extension Limits {
    /// How long a reload may take until it takes over, where whoever asks doesn't say: `init` and `migrate` may wait 10 s each.
    static let reloadWait: Duration = .seconds(30)
}

/// Changes the running configuration, one request at a time and in order. Whoever asks for a reload while one runs shares the one
/// that follows it: that one reads everything after the request was made, so that no request is dropped and none sees an
/// older state than it should.
actor Reloader {
    private let log: Logger
    private let perform: @Sendable (ReloadRequest) async -> ReloadVerdict
    private var isRunning = false
    private var waiting: [(request: ReloadRequest, verdict: CheckedContinuation<ReloadVerdict, Never>)] = []
    private var turns: [CheckedContinuation<Void, Never>] = []

    init(log: Logger, perform: @escaping @Sendable (ReloadRequest) async -> ReloadVerdict) {
        self.log = log
        self.perform = perform
    }

    /// Comes back with the verdict of the reload that read everything after this call.
    func verdict(of request: ReloadRequest) async -> ReloadVerdict {
        if isRunning {
            log.info("A reload runs; the next follows it", metadata: ["trigger": "\(request.trigger)"])
            return await withCheckedContinuation { waiting.append((request, $0)) }
        }
        isRunning = true
        let verdict = await perform(request)
        // Whoever has a verdict doesn't wait for those of others.
        Task { await self.serveWaiting() }
        return verdict
    }

    /// Runs `work` while no reload runs, before those that wait.
    func exclusively(_ work: @Sendable () async -> Void) async {
        if isRunning {
            await withCheckedContinuation { turns.append($0) }
        }
        isRunning = true
        await work()
        Task { await self.serveWaiting() }
    }

    private func serveWaiting() async {
        while true {
            // Who does exclusive work goes on from here by himself.
            if !turns.isEmpty { return turns.removeFirst().resume() }
            guard let (request, count) = nextRound() else { break }
            let round = waiting.prefix(count)
            waiting.removeFirst(count)
            let verdict = await perform(request)
            for (_, continuation) in round { continuation.resume(returning: verdict) }
        }
        isRunning = false
    }

    /// All reloads that stand first in the line are one; the longest wait counts. A rollback is one by itself.
    private func nextRound() -> (request: ReloadRequest, count: Int)? {
        guard var first = waiting.first?.request else { return nil }
        guard first.kind == .reload else { return (first, 1) }
        let round = waiting.prefix { $0.request.kind == .reload }.map(\.request)
        var triggers: [String] = []
        for request in round where !triggers.contains(request.trigger) { triggers.append(request.trigger) }
        first.trigger = triggers.joined(separator: ", ")
        first.wait = round.map(\.wait).max()!
        first.force = round.contains(where: \.force)
        return (first, round.count)
    }
}

/// Turns SIGHUP into a reload. The signals are trapped from the moment the sequence is made, which is before anything
/// else of `serve` runs.
struct HangupService: Service, CustomStringConvertible {
    let signals: UnixSignalsSequence
    let reloader: Reloader
    var description: String { "hangup" }

    func run() async throws {
        await withDiscardingTaskGroup { group in
            for await _ in signals.cancelOnGracefulShutdown() {
                group.addTask { _ = await reloader.verdict(of: ReloadRequest(trigger: "SIGHUP")) }
            }
        }
    }
}
