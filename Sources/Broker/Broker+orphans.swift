// SPDX-License-Identifier: Apache-2.0

package import Events
import Ledger
import Logging

/// Subscribers that are in no configuration any more. What they leave behind (positions, retries, state, dead letters) is
/// kept for ``Limits/orphanKept``, so that a block that was removed by mistake can come back.
extension Broker {
    package func orphans() async throws(Failure) -> [OrphanStatus] {
        try await blocking { () throws(Failure) in
            try self.engine.orphans().map { orphan in
                OrphanStatus(
                    name: orphan.name, since: orphan.since, until: orphan.since + Limits.orphanKept,
                    deferred: orphan.deferred, dead: orphan.dead, history: orphan.history)
            }
        }
    }

    /// Removes all that is known of an orphan.
    ///
    /// - Throws: `.conflict` where the subscriber runs, `.unknownSubscriber` where nothing is known of it.
    package func forget(_ subscriber: String) async throws(Failure) {
        let isRunning = await on { core in core.subscribers[subscriber] != nil }
        guard !isRunning else {
            throw Failure(
                .conflict,
                "subscriber \"\(subscriber)\" runs; remove its block from routes.conf and reload, then forget it")
        }
        let isGone = try await blocking { () throws(Failure) in
            try self.engine.purgeOrphan(subscriber, since: .distantFuture)
        }
        guard isGone else {
            throw Failure(
                .unknownSubscriber,
                "no subscriber \"\(subscriber)\" is known; `fairlead status` shows those there are, orphans too")
        }
        try await removeEndedImports()
        log.notice("Subscriber is forgotten", metadata: ["subscriber": "\(subscriber)"])
    }

    /// Forgets those that have been orphans since `moment` or before, and says so on `$alert`; true where there was one.
    /// Blocks.
    func purgeOrphans(since moment: Timestamp) -> Bool {
        var isPurged = false
        do {
            for orphan in try engine.orphans() where orphan.since <= moment {
                guard try engine.purgeOrphan(orphan.name, since: moment) else { continue }
                isPurged = true
                log.warning(
                    "What was kept of a removed subscriber is past its time and gone",
                    metadata: [
                        "subscriber": "\(orphan.name)", "deferred": "\(orphan.deferred)", "dead": "\(orphan.dead)",
                    ])
                perform { core in
                    core.alert(
                        "fairlead.subscriber.forgotten", subscriber: orphan.name,
                        ForgottenSubscriber(
                            subscriber: orphan.name, removed: RFC3339.format(orphan.since), deferred: orphan.deferred,
                            dead: orphan.dead, history: orphan.history))
                }
            }
        } catch {
            log.error("Orphans can't be purged, trying again", metadata: ["error": "\(error)"])
        }
        return isPurged
    }

    private struct ForgottenSubscriber: Encodable {
        var subscriber: String
        /// When it was no longer in the configuration.
        var removed: String
        var deferred: Int
        var dead: Int
        /// Runs of history that were not done.
        var history: Int
    }
}
