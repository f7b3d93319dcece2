// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    import Glibc
#endif
import Synchronization

/// Where the time comes from. Everything that asks for the time takes one of these, so that a test or a simulation
/// can move it. The real one is read in one place: ``SystemClock``.
package protocol Clock: Sendable {
    func now() -> Timestamp
    /// Nanoseconds of a clock that is never set, for measuring how long something takes.
    func nanoseconds() -> Int64
}

extension Clock {
    package func nanoseconds() -> Int64 { now().milliseconds * 1_000_000 }
}

package struct SystemClock: Clock {
    package init() {}

    package func now() -> Timestamp {
        Timestamp(milliseconds: reading(of: CLOCK_REALTIME) / 1_000_000)
    }

    package func nanoseconds() -> Int64 { reading(of: CLOCK_MONOTONIC) }
}

/// The wall clock, except that it never goes back. Where that one is set back, this one goes on from where it was, at the
/// pace of the machine's own time, until the wall clock has caught up or the process ends. What waits for a moment waits
/// by this clock: by the wall clock, a retry that is due in a second would wait for an hour when it is set back an hour.
package final class SteadyClock: Clock {
    /// Wall time less time since the machine started, the largest there was, in nanoseconds.
    private let lead = Atomic(Int64.min)
    /// How far behind it the wall clock was when that was last reported.
    private let reported = Atomic(Int64(0))
    private let wall: @Sendable () -> Int64
    private let machine: @Sendable () -> Int64
    private let onSetBack: @Sendable (Duration) -> Void

    /// - Parameter onSetBack: called from whatever asks for the time, once for each time that the wall clock was set back
    ///   by more than ``Limits/clockSlackNanoseconds``, with how far it is behind.
    package convenience init(onSetBack: @escaping @Sendable (Duration) -> Void) {
        self.init(
            wall: { reading(of: CLOCK_REALTIME) }, machine: { reading(of: CLOCK_BOOTTIME) }, onSetBack: onSetBack)
    }

    package init(
        wall: @escaping @Sendable () -> Int64, machine: @escaping @Sendable () -> Int64,
        onSetBack: @escaping @Sendable (Duration) -> Void
    ) {
        self.wall = wall
        self.machine = machine
        self.onSetBack = onSetBack
    }

    package func now() -> Timestamp {
        // In this order: a pause between the two makes the lead seem smaller, which the next call mends.
        let wall = wall()
        let machine = machine()
        let lead = self.lead.max(wall - machine, ordering: .relaxed).newValue
        let behind = lead - (wall - machine)
        if behind > Limits.clockSlackNanoseconds {
            report(behind)
        } else if reported.load(ordering: .relaxed) > 0 {
            reported.store(0, ordering: .relaxed)
        }
        return Timestamp(milliseconds: (machine + lead) / 1_000_000)
    }

    package func nanoseconds() -> Int64 { reading(of: CLOCK_MONOTONIC) }

    private func report(_ behind: Int64) {
        let before = reported.load(ordering: .relaxed)
        guard behind > before + Limits.clockSlackNanoseconds,
            reported.compareExchange(expected: before, desired: behind, ordering: .relaxed).exchanged
        else { return }
        onSetBack(.nanoseconds(behind))
    }
}

private func reading(of clock: clockid_t) -> Int64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}
