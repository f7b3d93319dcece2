// SPDX-License-Identifier: Apache-2.0

import CoreMetrics
import Events
import Logging
import Routes
import Synchronization

extension BrokerCore {
    /// Moves events that handlers published from the ledger's outbox to the journal, in order. They are in the ledger
    /// durably by now; each record carries its row's number, so that a crash between the append and the row's
    /// removal is seen at the next start, and the event isn't appended twice.
    package func drainOutbox() {
        guard !isOutboxBusy else { return }
        isOutboxBusy = true
        perform { [engine, post] in
            let rows = Result { () throws(Failure) in try engine.outbox(limit: Limits.outboxBatch) }
            post { core in core.publishOutbox(rows) }
        }
    }

    private func publishOutbox(_ rows: Result<[OutboxEvent], Failure>) {
        switch rows {
        case .failure(let failure):
            log.error("The outbox can't be read, trying again", metadata: ["error": "\(failure)"])
            isOutboxBusy = false
            retryOutbox()
        case .success(let rows) where rows.isEmpty:
            isOutboxBusy = false
        case .success(let rows):
            metrics.outbox.increment(by: rows.count)
            let byTopic = Dictionary(grouping: rows, by: \.topic)
            let appends = Countdown(byTopic.count) { [post] isComplete in
                post { core in
                    core.isOutboxBusy = false
                    if isComplete { core.drainOutbox() } else { core.retryOutbox() }
                }
            }
            for (name, rows) in byTopic {
                let topic = Topic.named(name)
                var builder = RecordBatchBuilder(
                    topic: topic, key: keyExtractor(of: topic), capacity: rows.reduce(0) { $0 + $1.byteCount })
                for row in rows { builder.append(row.event, outbox: row.id) }
                engine.append(builder.finish()) { [engine] result in
                    switch result {
                    case .success:
                        engine.removeOutbox(rows.map(\.id))
                        appends.finish(succeeded: true)
                    case .failure:
                        appends.finish(succeeded: false)
                    }
                }
            }
        }
    }

    /// Calls `done` when the last of several appends has ended; with true, where all succeeded.
    private final class Countdown: Sendable {
        private let state: Mutex<(left: Int, succeeded: Bool)>
        private let done: @Sendable (Bool) -> Void

        init(_ count: Int, done: @escaping @Sendable (Bool) -> Void) {
            state = Mutex((count, true))
            self.done = done
        }

        func finish(succeeded: Bool) {
            let now = state.withLock { state in
                state.left -= 1
                state.succeeded = state.succeeded && succeeded
                return state
            }
            if now.left == 0 { done(now.succeeded) }
        }
    }

    private func retryOutbox() {
        outboxAt = clock.now() + Limits.readRetryDelay
    }

    func keyExtractor(of topic: Topic) -> (any KeyExtractor)? {
        generation?.table.topics.first { $0.name == topic.shownName }?.keyExtractor
    }
}
