// SPDX-License-Identifier: Apache-2.0

import Events
import Ledger
import Synchronization

/// Answers that wait for the ledger, but not for ever: while its disk is full, clients still get their leases, which then
/// last as long as the process.
extension BrokerCore {
    /// `answer` is called once: when `change` is written, with what came of it; or, where the ledger's disk fails, after
    /// ``Limits/leaseWriteWait``.
    func commit(_ change: LedgerChange, answering answer: @escaping @Sendable (Result<Void, Failure>) -> Void) {
        let once = Once(answer)
        engine.commit(change) { result in once.call(result.map { _ in () }) }
        guard !once.isDone else { return }
        let due = clock.now() + Limits.leaseWriteWait
        lateAnswers.append((due, once))
        if answersAt == nil { answersAt = due }
    }

    func answerLate(_ now: Timestamp) {
        let isFailing = engine.isFailing
        lateAnswers.removeAll { due, once in
            if due <= now, isFailing { once.call(.success(())) }
            return once.isDone
        }
        answersAt = lateAnswers.isEmpty ? nil : now + Limits.leaseWriteWait
    }

    final class Once: Sendable {
        private let answer: Mutex<(@Sendable (Result<Void, Failure>) -> Void)?>

        init(_ answer: @escaping @Sendable (Result<Void, Failure>) -> Void) {
            self.answer = Mutex(answer)
        }

        var isDone: Bool { answer.withLock { $0 == nil } }

        func call(_ result: Result<Void, Failure>) {
            let waiting = answer.withLock { answer in
                defer { answer = nil }
                return answer
            }
            waiting?(result)
        }
    }
}
