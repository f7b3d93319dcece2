// SPDX-License-Identifier: Apache-2.0

/// Durations as people write them: a number and its unit, `500ms`, `30s`, `2m`, `1h`, `7d`.
package enum DurationText {
    private static let units: [(name: String, milliseconds: Int64)] = [
        ("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
    ]

    /// nil where it has no unit, is negative, or would not fit.
    package static func parse(_ text: some StringProtocol) -> Duration? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard let value = Int64(digits), let unit = units.first(where: { $0.name == text.dropFirst(digits.count) })
        else { return nil }
        let (milliseconds, overflow) = value.multipliedReportingOverflow(by: unit.milliseconds)
        return overflow ? nil : .milliseconds(milliseconds)
    }

    /// In the largest unit that leaves nothing over; what is below a millisecond is dropped.
    package static func format(_ duration: Duration) -> String {
        let milliseconds = duration.milliseconds
        let unit = milliseconds == 0 ? units[1] : units.last { milliseconds % $0.milliseconds == 0 }!
        return "\(milliseconds / unit.milliseconds)\(unit.name)"
    }
}
