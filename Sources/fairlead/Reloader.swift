// SPDX-License-Identifier: Apache-2.0

import Gateway
import Logging
import ServiceLifecycle
import UnixSignals

/// Runs reloads one at a time. Whoever asks while one runs shares the one that follows it: that one reads everything
/// after the request was made, so that no request is dropped and none sees an older state than it should.
actor Reloader {
    private let perform: @Sendable (_ trigger: String, _ force: Bool) async -> ReloadVerdict
    private var isRunning = false
    private var waiting: [CheckedContinuation<ReloadVerdict, Never>] = []
    /// One of those who wait wants what was undone to be tried again.
    private var isForceWanted = false
    private var turns: [CheckedContinuation<Void, Never>] = []

    init(perform: @escaping @Sendable (_ trigger: String, _ force: Bool) async -> ReloadVerdict) {
        self.perform = perform
    }

    func reload(trigger: String, force: Bool = false) async -> ReloadVerdict {
        if isRunning {
            if force { isForceWanted = true }
            return await withCheckedContinuation { waiting.append($0) }
        }
        isRunning = true
        let verdict = await perform(trigger, force)
        await goOn()
        return verdict
    }

    /// Runs `work` while no reload runs.
    func exclusively(_ work: @Sendable () async -> Void) async {
        if isRunning {
            await withCheckedContinuation { turns.append($0) }
        }
        isRunning = true
        await work()
        await goOn()
    }

    /// Lets whoever waits have a turn; who does exclusive work goes on from here by himself.
    private func goOn() async {
        if !turns.isEmpty { return turns.removeFirst().resume() }
        while !waiting.isEmpty {
            let round = waiting
            let force = isForceWanted
            waiting = []
            isForceWanted = false
            let verdict = await perform("several requests", force)
            for continuation in round { continuation.resume(returning: verdict) }
            if !turns.isEmpty { return turns.removeFirst().resume() }
        }
        isRunning = false
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
                group.addTask { _ = await reloader.reload(trigger: "SIGHUP") }
            }
        }
    }
}
