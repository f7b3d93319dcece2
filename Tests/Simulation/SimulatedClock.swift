// SPDX-License-Identifier: Apache-2.0

package import Events
import Synchronization

/// Time that is moved by hand, backwards as well.
package final class SimulatedClock: Clock {
    private struct Time {
        var now = Timestamp(milliseconds: 1_700_000_000_000)
        var latest = Timestamp(milliseconds: 1_700_000_000_000)
    }

    private let time = Mutex(Time())

    package init() {}

    package func now() -> Timestamp { time.withLock { $0.now } }

    /// The latest that it ever was.
    package var latest: Timestamp { time.withLock { $0.latest } }

    package func advance(_ duration: Duration) { set { $0 + duration } }
    package func advance(to moment: Timestamp) { set { max($0, moment) } }

    private func set(_ next: (Timestamp) -> Timestamp) {
        time.withLock { time in
            time.now = next(time.now)
            time.latest = max(time.latest, time.now)
        }
    }
}
