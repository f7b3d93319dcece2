// SPDX-License-Identifier: Apache-2.0

import Events
import Glibc
package import NIOCore

/// What one client, and all together, may hold of the server's connections and time.
package struct ConnectionBounds: Sendable {
    package var total: Int
    package var perAddress: Int
    package var loopbackReserve: Int
    package var headerTime = Limits.headerTime
    package var bodyGrace = Limits.bodyGrace
    package var bodyBytesPerSecond = Limits.bodyBytesPerSecondMin
    package var requestTime = Limits.requestTime
    package var answerWindow = Limits.answerWindow
    package var answerBytesPerSecond = Limits.answerBytesPerSecondMin
    package var idle = Limits.connectionIdle
    package var look = Limits.connectionLook

    /// As many connections as the process may have files for.
    package init() {
        var files = rlimit()
        let isKnown = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files) == 0
        let open = isKnown ? Int(clamping: files.rlim_cur) : Limits.connectionsMax
        total = min(Limits.connectionsMax, max(open - Limits.openFilesReserve, open / 2))
        perAddress = max(1, total / Limits.connectionsPerAddressDivisor)
        loopbackReserve = min(Limits.loopbackConnectionsReserve, total / 2)
    }
}
