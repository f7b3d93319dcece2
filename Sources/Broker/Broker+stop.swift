// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Events
import Ledger
import Logging
import Synchronization

extension Broker {
    struct Ending {
        var drain: Task<Void, Never>?
        var close: Task<Void, Never>?
        /// What is under way at the destinations is waited for.
        var destinations: [any Destination] = []
        var isHurried = false
    }

    /// Stops accepting and starting, and lets what is in flight finish within `deadline`; what has not finished then is
    /// given back, and delivered after the next start with its attempt not counted. Leases can still be settled. Asked a
    /// second time it waits for the first, whose deadline counts.
    package func drain(within deadline: Duration) async {
        let task = ending.withLock { ending in
            let task = ending.drain ?? Task { await self.finishDeliveries(within: deadline) }
            ending.drain = task
            return task
        }
        await task.value
    }

    private func finishDeliveries(within deadline: Duration) async {
        isDraining.store(true, ordering: .relaxed)
        let destinations = await on { core in core.drain() }
        let isHurried = ending.withLock { ending in
            ending.destinations = destinations
            return ending.isHurried
        }
        let deadline = isHurried ? .zero : deadline
        await withTaskGroup { group in
            group.addTask { await self.retired.end(within: deadline) }
            for destination in destinations {
                group.addTask { await destination.stop(.shutdown, deadline: deadline) }
            }
        }
    }

    /// Ends a drain at once: what is in flight is given back.
    package func hurry() async {
        let destinations = ending.withLock { ending in
            ending.isHurried = true
            return ending.destinations
        }
        await withTaskGroup { group in
            group.addTask { await self.retired.hurry() }
            for destination in destinations {
                group.addTask { await destination.stop(.shutdown, deadline: .zero) }
            }
        }
    }

    /// Drains, writes everything down and closes.
    package func stop(deadline: Duration) async {
        await drain(within: deadline)
        let task = ending.withLock { ending in
            let task = ending.close ?? Task { await self.close() }
            ending.close = task
            return task
        }
        await task.value
    }

    private func close() async {
        await on { core in core.flushAllPositions(core.clock.now()) }
        await thread.stop()
        await withCheckedContinuation { continuation in
            disk.async { [engine] in
                engine.close()
                continuation.resume()
            }
        }
    }

    /// Comes back once the broker's thread has taken one turn: it works.
    package func turn() async { await on { _ in } }

    /// Publishes what happened to the configuration on `$config`; it goes out through the outbox, as `$alert` does.
    package func announce(_ type: String, id: String, subject: String, _ data: some Encodable & Sendable) {
        let publication = Publication.system(
            .config, type: type, id: id, source: "/fairlead/config", subject: subject, data: data)
        let log = log
        engine.commit(LedgerChange(subscriber: "", publications: [publication])) { [thread] result in
            switch result {
            case .success: thread.post { core in core.drainOutbox() }
            case .failure(let failure):
                log.error("What happened to the configuration isn't on $config", metadata: ["error": "\(failure)"])
            }
        }
    }
}
