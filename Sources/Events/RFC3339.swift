// SPDX-License-Identifier: Apache-2.0

/// Timestamps as text (RFC 3339), which is what the `time` attribute holds.
package enum RFC3339 {
    /// nil where `text` is no RFC 3339 date-time. Digits past the millisecond are dropped; a leap second counts as
    /// the second after it.
    package static func parse(_ text: some Collection<UInt8>) -> Timestamp? {
        var rest = text[...]
        func digits(_ count: Int) -> Int? {
            var value = 0
            for _ in 0..<count {
                guard let byte = rest.popFirst(), (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else {
                    return nil
                }
                value = value * 10 + Int(byte - UInt8(ascii: "0"))
            }
            return value
        }
        func skip(_ allowed: Unicode.Scalar) -> Bool { rest.popFirst() == UInt8(ascii: allowed) }
        func skipT() -> Bool {
            let byte = rest.popFirst()
            return byte == UInt8(ascii: "T") || byte == UInt8(ascii: "t") || byte == UInt8(ascii: " ")
        }

        guard let year = digits(4), skip("-"), let month = digits(2), skip("-"), let day = digits(2), skipT(),
            let hour = digits(2), skip(":"), let minute = digits(2), skip(":"), let second = digits(2),
            (1...12).contains(month), day >= 1, day <= days(in: month, of: year),
            hour < 24, minute < 60, second <= 60
        else { return nil }

        var milliseconds = 0
        if rest.first == UInt8(ascii: ".") {
            rest.removeFirst()
            var scale = 100
            var count = 0
            while let byte = rest.first, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) {
                milliseconds += Int(byte - UInt8(ascii: "0")) * scale
                scale /= 10
                count += 1
                rest.removeFirst()
            }
            if count == 0 { return nil }
        }

        var zone = 0
        switch rest.popFirst() {
        case UInt8(ascii: "Z"), UInt8(ascii: "z"): break
        case .some(let sign) where sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-"):
            guard let hours = digits(2), skip(":"), let minutes = digits(2), hours < 24, minutes < 60 else {
                return nil
            }
            zone = (hours * 60 + minutes) * (sign == UInt8(ascii: "+") ? 60 : -60)
        default: return nil
        }
        guard rest.isEmpty else { return nil }

        let seconds = daysSince1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - zone
        return Timestamp(milliseconds: Int64(seconds) * 1_000 + Int64(milliseconds))
    }

    /// In UTC with milliseconds: `2026-03-09T14:05:00.000Z`. Years beyond 9999 and before 0 are shown as those.
    package static func format(_ time: Timestamp) -> String {
        let bounds: ClosedRange<Int64> = -62_167_219_200_000...253_402_300_799_999
        let time = min(max(time.milliseconds, bounds.lowerBound), bounds.upperBound)
        let days = Int((Double(time) / 86_400_000).rounded(.down))
        let rest = Int(time) - days * 86_400_000
        let (year, month, day) = date(daysSince1970: days)
        return String(unsafeUninitializedCapacity: 24) { text in
            var at = 0
            func put(_ value: Int, width: Int, then separator: Unicode.Scalar) {
                var value = value
                for place in stride(from: at + width - 1, through: at, by: -1) {
                    text[place] = UInt8(ascii: "0") + UInt8(value % 10)
                    value /= 10
                }
                text[at + width] = UInt8(ascii: separator)
                at += width + 1
            }
            put(year, width: 4, then: "-")
            put(month, width: 2, then: "-")
            put(day, width: 2, then: "T")
            put(rest / 3_600_000, width: 2, then: ":")
            put(rest / 60_000 % 60, width: 2, then: ":")
            put(rest / 1_000 % 60, width: 2, then: ".")
            put(rest % 1_000, width: 3, then: "Z")
            return at
        }
    }

    private static func days(in month: Int, of year: Int) -> Int {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// Years counted from March put the leap day last; 400 years have 146,097 days.
    private static func daysSince1970(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let y = month <= 2 ? year - 1 : year
        let era = (y >= 0 ? y : y - 399) / 400
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private static func date(daysSince1970: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = daysSince1970 + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }
}
