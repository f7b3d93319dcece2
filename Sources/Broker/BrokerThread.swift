// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation

/// The one thread that owns a ``BrokerCore``: work is posted to it and runs in order; between work it wakes the core
/// when the core asked to be woken.
final class BrokerThread: @unchecked Sendable {
    typealias Work = @Sendable (BrokerCore) -> Void

    private let core: BrokerCore
    private let clock: any Clock
    private let state = Monitor(State())

    private struct State {
        var inbox: [Work] = []
        var isStopping = false
        var onStopped: (@Sendable () -> Void)?
    }

    /// `core` is touched by this thread alone from ``start()`` on.
    init(core: BrokerCore, clock: any Clock) {
        self.core = core
        self.clock = clock
    }

    func start() {
        let thread = Thread { [self] in
            WorkerThread.nameThis("broker")
            run()
        }
        thread.stackSize = 2 << 20
        thread.start()
    }

    func post(_ work: @escaping Work) {
        state.notify { $0.inbox.append(work) }
    }

    /// Runs what was posted before this call, then ends.
    func stop() async {
        await withCheckedContinuation { continuation in
            state.notify { state in
                state.isStopping = true
                state.onStopped = { continuation.resume() }
            }
        }
    }

    private func run() {
        var work: [Work] = []
        while true {
            let delay = core.wake.map { min($0 - clock.now(), Limits.wakeMax) }
            var stopped: (@Sendable () -> Void)?
            _ = state.wait(timeout: delay) { state -> Void? in
                guard !state.inbox.isEmpty || state.isStopping else { return nil }
                swap(&work, &state.inbox)
                if work.isEmpty { stopped = state.onStopped }
                return ()
            }
            if let stopped { return stopped() }
            for item in work { item(core) }
            work.removeAll(keepingCapacity: true)
            core.tick()
        }
    }
}
