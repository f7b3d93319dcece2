// SPDX-License-Identifier: Apache-2.0

import Events
import Ledger

/// How much a broker keeps in memory for one subscriber, whatever its backlog. A server has those of ``Limits``; a
/// simulation has small ones, so that its short histories reach them.
///
/// Records held and asked for are never more than a window. Their bytes are at most twice a window's and one record's: what
/// is asked for is counted as one of the largest, but while it is read, what is live may come in.
package struct MemoryBounds: Sendable {
    /// Records held by the live lane, and their bytes.
    package var windowEvents = Limits.windowEvents
    package var windowBytes = Limits.windowBytes
    /// The same of each run of history.
    package var historyWindowEvents = Limits.historyWindowEvents
    package var historyWindowBytes = Limits.historyWindowBytes
    /// A record that was asked for and isn't there yet may be as large.
    package var recordBytes = Limits.eventBytesMax
    package var deferredMax = Limits.deferredMax
    package var scheduledMax = Limits.scheduledMax
    package var ledgerQueueMax = Limits.ledgerQueueMax
    package var pollersMax = Limits.pollersMax

    package init() {}
}
