// SPDX-License-Identifier: Apache-2.0

/// A moment in wall-clock time, in milliseconds since 1970-01-01 UTC.
package struct Timestamp: Hashable, Comparable, Sendable, Codable {
    package var milliseconds: Int64

    package init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    package static let distantPast = Timestamp(milliseconds: .min)
    package static let distantFuture = Timestamp(milliseconds: .max)

    package static func < (a: Timestamp, b: Timestamp) -> Bool {
        a.milliseconds < b.milliseconds
    }

    /// Saturates, so that an absurd duration from a user never traps.
    package static func + (time: Timestamp, duration: Duration) -> Timestamp {
        let (sum, overflow) = time.milliseconds.addingReportingOverflow(duration.milliseconds)
        return overflow ? (duration < .zero ? .distantPast : .distantFuture) : Timestamp(milliseconds: sum)
    }

    package static func - (time: Timestamp, duration: Duration) -> Timestamp {
        let (sum, overflow) = time.milliseconds.subtractingReportingOverflow(duration.milliseconds)
        return overflow ? (duration < .zero ? .distantFuture : .distantPast) : Timestamp(milliseconds: sum)
    }

    package static func - (a: Timestamp, b: Timestamp) -> Duration {
        let (difference, overflow) = a.milliseconds.subtractingReportingOverflow(b.milliseconds)
        return .milliseconds(overflow ? (a < b ? .min : .max) : difference)
    }
}

extension Duration {
    /// Whole milliseconds, rounded towards zero, saturating.
    package var milliseconds: Int64 {
        let (seconds, fraction) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000)
        if overflow { return seconds < 0 ? .min : .max }
        let (sum, carried) = product.addingReportingOverflow(fraction / 1_000_000_000_000_000)
        return carried ? (seconds < 0 ? .min : .max) : sum
    }

    /// Seconds with their fraction, for metrics and for Lua.
    package var seconds: Double {
        let (seconds, fraction) = components
        return Double(seconds) + Double(fraction) * 1e-18
    }
}
