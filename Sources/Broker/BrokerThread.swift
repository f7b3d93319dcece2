// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Synchronization

/// The one thread that owns a ``BrokerCore``: work is posted to it and runs in order; between work it wakes the core
/// when the core asked to be woken.
final class BrokerThread: @unchecked Sendable {
    typealias Work = @Sendable (BrokerCore) -> Void

    private let core: BrokerCore
    private let clock: any Clock
    /// Guards `inbox` and `isStopping`, and is waited on.
    private let condition = NSCondition()
    private var inbox: [Work] = []
    private var isStopping = false
    private var onStopped: (@Sendable () -> Void)?

    /// `core` is touched by this thread alone from ``start()`` on.
    init(core: BrokerCore, clock: any Clock) {
        self.core = core
        self.clock = clock
    }

    func start() {
        let thread = Thread { [self] in run() }
        thread.name = "broker"
        thread.stackSize = 2 << 20
        thread.start()
    }

    func post(_ work: @escaping Work) {
        condition.lock()
        inbox.append(work)
        // The thread looks at the inbox before it waits: only an empty one can have it waiting.
        if inbox.count == 1 { condition.signal() }
        condition.unlock()
    }

    /// Runs what was posted before this call, then ends.
    func stop() async {
        await withCheckedContinuation { continuation in
            condition.lock()
            isStopping = true
            onStopped = { continuation.resume() }
            condition.signal()
            condition.unlock()
        }
    }

    private func run() {
        var work: [Work] = []
        while true {
            condition.lock()
            while inbox.isEmpty && !isStopping {
                guard let wake = core.wake else {
                    condition.wait()
                    continue
                }
                let delay = (wake - clock.now()).seconds
                if delay <= 0 || !condition.wait(until: Date(timeIntervalSinceNow: min(delay, 3_600))) { break }
            }
            swap(&work, &inbox)
            let isLast = isStopping && work.isEmpty
            let stopped = onStopped
            condition.unlock()
            if isLast {
                stopped?()
                return
            }
            for item in work { item(core) }
            work.removeAll(keepingCapacity: true)
            core.tick()
        }
    }
}
