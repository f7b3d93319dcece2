// SPDX-License-Identifier: Apache-2.0

import Events
import Synchronization

/// Destinations that a reload has replaced, until they have ended: each goes on with what it has begun, at most for
/// ``Limits/stopDeadline``.
final class RetiredDestinations: Sendable {
    private struct Entry {
        var generation: Int
        var destinations: [(any Destination, StopReason)]
        var end: Task<Void, Never>
    }

    private struct State {
        var entries: [Int: Entry] = [:]
        var last = 0
    }

    private let state = Mutex(State())

    /// The generations of which something is still under way, the oldest first.
    var generations: [Int] { state.withLock { Set($0.entries.values.map(\.generation)) }.sorted() }

    /// Stops them in the background. `generation` is the one that they were part of last.
    func add(_ destinations: [(any Destination, StopReason)], of generation: Int) {
        guard !destinations.isEmpty else { return }
        state.withLock { state in
            state.last += 1
            let number = state.last
            let end = Task {
                await Self.stop(destinations, within: Limits.stopDeadline)
                self.state.withLock { $0.entries[number] = nil }
            }
            state.entries[number] = Entry(generation: generation, destinations: destinations, end: end)
        }
    }

    /// Gives back at once what they have begun, and waits until nothing of them runs.
    func hurry() async { await end(within: .zero) }

    /// Waits until nothing of them runs, for `deadline` at most: what is left then is given back.
    func end(within deadline: Duration) async {
        let entries = state.withLock { Array($0.entries.values) }
        await Self.stop(entries.flatMap(\.destinations), within: deadline)
        for entry in entries { await entry.end.value }
    }

    private static func stop(_ destinations: [(any Destination, StopReason)], within deadline: Duration) async {
        await withTaskGroup { group in
            for (destination, reason) in destinations {
                group.addTask { await destination.stop(reason, deadline: deadline) }
            }
        }
    }
}
