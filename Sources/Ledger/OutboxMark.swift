// SPDX-License-Identifier: Apache-2.0

package import Events

/// What tells where to look for the record of an outbox row.
package struct OutboxMark: Hashable, Sendable {
    package var id: UInt64
    /// See ``LedgerChange/topicEnds``.
    package var topicEnd: Offset
}
