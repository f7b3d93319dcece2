// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Lets a task that is cancelled call off what a lane does for it. Which of the two comes first, the beginning or the
/// cancellation, is up to threads.
final class LaneCancellation: Sendable {
    private struct State {
        var isCancelled = false
        var callOff: (@Sendable () -> Void)?
    }

    private let state = Mutex(State())

    var isCancelled: Bool { state.withLock { $0.isCancelled } }

    /// There is something to call off from now on: `callOff` runs on `lane`, at once where it was cancelled before.
    func began(on lane: Lane, _ callOff: @escaping @Sendable () -> Void) {
        let submit: @Sendable () -> Void = { lane.submit(callOff) }
        let isCancelled = state.withLock { state in
            state.callOff = submit
            return state.isCancelled
        }
        if isCancelled { submit() }
    }

    func cancel() {
        let callOff = state.withLock { state in
            state.isCancelled = true
            return state.callOff
        }
        callOff?()
    }
}
