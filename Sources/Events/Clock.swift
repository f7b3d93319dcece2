// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    import Glibc
#endif

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
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(milliseconds: Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000)
    }
    package func nanoseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
