// SPDX-License-Identifier: Apache-2.0

import Gateway
import Logging
import ServiceLifecycle
import UnixSignals

/// Runs reloads one at a time. Whoever asks while one runs shares the one that follows it: that one reads everything
/// after the request was made, so that no request is dropped and none sees an older state than it should.
actor Reloader {
    private let perform: @Sendable (_ trigger: String) async -> ReloadVerdict
    private var isRunning = false
    private var waiting: [CheckedContinuation<ReloadVerdict, Never>] = []

    init(perform: @escaping @Sendable (_ trigger: String) async -> ReloadVerdict) {
        self.perform = perform
    }

    func reload(trigger: String) async -> ReloadVerdict {
        if isRunning {
            return await withCheckedContinuation { waiting.append($0) }
        }
        isRunning = true
        let verdict = await perform(trigger)
        while !waiting.isEmpty {
            let round = waiting
            waiting = []
            let verdict = await perform("several requests")
            for continuation in round { continuation.resume(returning: verdict) }
        }
        isRunning = false
        return verdict
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
