// SPDX-License-Identifier: Apache-2.0

import Events

extension Broker {
    /// Changed subscribers that haven't proved themselves yet.
    package func probations() async -> [String: Probation] {
        await on { core in core.subscribers.compactMapValues(\.probation) }
    }

    /// Instead of going back, after ``ProbationReport/badReload`` asked for that: the subscriber pauses, and is reported.
    package func pauseChanged(_ subscriber: String, generation: Int, previous: Int?, obstacle: String) async {
        await on { core in
            core.pauseChanged(subscriber, generation: generation, previous: previous, obstacle: obstacle)
        }
    }
}
