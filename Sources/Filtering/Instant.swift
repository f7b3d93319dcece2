// SPDX-License-Identifier: Apache-2.0

/// RFC 3339 date-times as numbers that order.
package enum Instant {
    /// Microseconds since 1970-01-01 UTC; nil where `bytes` is no RFC 3339 date-time. Further digits are dropped; a
    /// leap second counts as the second after.
    package static func microseconds(_ bytes: UnsafeBufferPointer<UInt8>) -> Int64? {
        func digits(_ start: Int, _ count: Int) -> Int64? {
            guard start + count <= bytes.count else { return nil }
            var value: Int64 = 0
            for byte in bytes[start..<start + count] {
                guard byte >= 0x30, byte <= 0x39 else { return nil }
                value = value * 10 + Int64(byte - 0x30)
            }
            return value
        }
        func at(_ place: Int, _ a: Unicode.Scalar, _ b: Unicode.Scalar? = nil) -> Bool {
            place < bytes.count
                && (bytes[place] == UInt8(ascii: a) || b.map { bytes[place] == UInt8(ascii: $0) } ?? false)
        }
        guard let year = digits(0, 4), at(4, "-"), let month = digits(5, 2), at(7, "-"), let day = digits(8, 2),
            at(10, "T", "t") || at(10, " "), let hour = digits(11, 2), at(13, ":"), let minute = digits(14, 2),
            at(16, ":"), let second = digits(17, 2), month >= 1, month <= 12, day >= 1,
            day <= days(in: month, of: year), hour <= 23, minute <= 59, second <= 60
        else { return nil }
        var place = 19
        var fraction: Int64 = 0
        if at(place, ".") {
            place += 1
            let start = place
            var unit: Int64 = 100_000
            while let digit = digits(place, 1) {
                fraction += digit * unit
                unit /= 10
                place += 1
            }
            guard place > start else { return nil }
        }
        var zone: Int64 = 0
        if at(place, "Z", "z") {
            place += 1
        } else {
            guard at(place, "+", "-"), let hours = digits(place + 1, 2), at(place + 3, ":"),
                let minutes = digits(place + 4, 2), hours <= 23, minutes <= 59
            else { return nil }
            zone = (hours * 60 + minutes) * (at(place, "-") ? -60 : 60)
            place += 6
        }
        guard place == bytes.count else { return nil }
        let seconds = daysSince1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - zone
        return seconds * 1_000_000 + fraction
    }

    package static func microseconds(_ text: String) -> Int64? {
        var text = text
        return text.withUTF8(microseconds)
    }

    private static func days(in month: Int64, of year: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// The proleptic Gregorian calendar, its year taken to begin in March so that the leap day comes last.
    private static func daysSince1970(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }
}
