// SPDX-License-Identifier: Apache-2.0

import Events
import Logging
import Metrics
import Synchronization

/// Counts what a client was refused before a request came of it, and logs each kind once in a while: a flood fills no disk.
final class Refusals: Sendable {
    enum Reason: String, CaseIterable {
        case connections
        case connectionsOfAddress = "connections-of-address"
        case slowHeader = "slow-header"
        case slowBody = "slow-body"
        case slowReader = "slow-reader"
        case chunkFlood = "chunk-flood"
        case malformed
        case headerTooLarge = "header-too-large"
        case foreignHost = "foreign-host"
        case tls
    }

    private struct Logged {
        var last: ContinuousClock.Instant?
        var kept = 0
    }

    private let counters: [Reason: Counter]
    private let open: Gauge
    private let logged = Mutex<[Reason: Logged]>([:])
    private let logger: Logger

    init(factory: any MetricsFactory, logger: Logger) {
        counters = Dictionary(
            uniqueKeysWithValues: Reason.allCases.map { reason in
                let counter = Counter(
                    label: "fairlead_http_refused_total", dimensions: [("reason", reason.rawValue)], factory: factory)
                counter.increment(by: Int64(0))
                return (reason, counter)
            })
        open = Gauge(label: "fairlead_http_connections", factory: factory)
        self.logger = logger
    }

    func opened(_ count: Int) { open.record(count) }

    /// - Parameter detail: of this one; nothing that the client sent.
    func count(_ reason: Reason, from peer: String, _ detail: String) {
        counters[reason]?.increment()
        let now = ContinuousClock.now
        let more: Int? = logged.withLock { logged in
            var entry = logged[reason] ?? Logged()
            defer { logged[reason] = entry }
            if let last = entry.last, now - last < Limits.refusalLogEvery {
                entry.kept += 1
                return nil
            }
            defer { entry = Logged(last: now) }
            return entry.kept
        }
        guard let more else { return }
        var metadata: Logger.Metadata = ["reason": "\(reason.rawValue)", "peer": "\(peer)", "detail": "\(detail)"]
        if more > 0 { metadata["others"] = "\(more)" }
        logger.warning("Client refused", metadata: metadata)
    }
}
