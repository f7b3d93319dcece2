// SPDX-License-Identifier: Apache-2.0

import Events

/// Numbers with their units, as words of routes.conf.
enum Quantity {
    enum Reading<Value> {
        case value(Value)
        /// A number, but without a unit.
        case noUnit
        case tooLarge
        /// Digits with something else behind them.
        case unknownUnit(String)
        case notNumeric
    }

    /// `1h30m`; units ms, s, m, h, d.
    static func duration(_ word: String) -> Reading<Duration> {
        let units: [String: Int64] = ["ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000]
        var rest = Substring(word)
        guard rest.first?.isNumber == true else { return .notNumeric }
        var sum: Int64 = 0
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && $0.isNumber || $0 == "_" || $0 == "." }
            rest = rest.dropFirst(digits.count)
            let unit = rest.prefix { $0.isLetter || $0 == "%" || $0 == "/" }
            rest = rest.dropFirst(unit.count)
            if unit.isEmpty {
                return digits.isEmpty ? .unknownUnit(String(rest)) : rest.isEmpty ? .noUnit : .notNumeric
            }
            guard !digits.isEmpty, let scale = units[String(unit)] else { return .unknownUnit(String(unit)) }
            guard let count = whole(digits) else { return digits.contains(".") ? .unknownUnit(".") : .tooLarge }
            let (product, overflow) = Int64(count).multipliedReportingOverflow(by: scale)
            let (total, carried) = sum.addingReportingOverflow(product)
            guard !overflow, !carried, total <= Limits.durationMax.milliseconds else { return .tooLarge }
            sum = total
        }
        return .value(.milliseconds(sum))
    }

    /// `16MiB`: KB, MB, GB, TB are powers of 1000; KiB, MiB, GiB, TiB of 1024.
    static func size(_ word: String) -> Reading<Int> {
        let units: [String: Int] = [
            "B": 1, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000, "TB": 1_000_000_000_000, "KiB": 1 << 10,
            "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
        ]
        return scaled(word, units)
    }

    static func percent(_ word: String) -> Reading<Int> {
        scaled(word, ["%": 1])
    }

    /// `50/s`, per s, m, h or d.
    static func rate(_ word: String) -> Reading<Rate> {
        let parts = word.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard word.first?.isNumber == true else { return .notNumeric }
        guard parts.count == 2 else { return whole(Substring(word)) == nil ? .unknownUnit("") : .noUnit }
        let units: [String: Duration] = [
            "s": .seconds(1), "m": .seconds(60), "h": .seconds(3_600), "d": .seconds(86_400),
        ]
        guard let per = units[String(parts[1])] else { return .unknownUnit("/\(parts[1])") }
        guard let count = whole(parts[0]) else { return parts[0].contains(".") ? .unknownUnit(".") : .tooLarge }
        return .value(Rate(count: count, per: per))
    }

    /// Digits, with `_` between them at will.
    static func whole<Text: StringProtocol>(_ text: Text) -> Int? {
        guard text.first?.isASCII == true, text.first?.isNumber == true, text.last != "_" else { return nil }
        return Int(String(text).filter { $0 != "_" })
    }

    private static func scaled(_ word: String, _ units: [String: Int]) -> Reading<Int> {
        let digits: Substring = word.prefix { $0.isASCII && $0.isNumber || $0 == "_" }
        guard !digits.isEmpty else { return .notNumeric }
        let unit = word.dropFirst(digits.count)
        if unit.isEmpty { return .noUnit }
        if unit.first == "." { return .unknownUnit(".") }
        guard let scale = units[String(unit)] else { return .unknownUnit(String(unit)) }
        guard let count = whole(digits) else { return .tooLarge }
        let (product, overflow) = count.multipliedReportingOverflow(by: scale)
        return overflow ? .tooLarge : .value(product)
    }
}
