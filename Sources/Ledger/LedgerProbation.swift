// SPDX-License-Identifier: Apache-2.0

/// A change of a subscriber that hasn't proved itself yet.
package struct LedgerProbation: Hashable, Codable, Sendable {
    /// The generation that changed it.
    package var generation: Int
    package var fingerprint: String
    /// The generation whose block and plugin it goes back to; nil where there is nothing to go back to.
    package var previous: Int?

    package init(generation: Int, fingerprint: String, previous: Int?) {
        self.generation = generation
        self.fingerprint = fingerprint
        self.previous = previous
    }
}
