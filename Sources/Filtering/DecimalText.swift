// SPDX-License-Identifier: Apache-2.0

import CFairlead

#if canImport(Glibc)
    import Glibc
#endif

/// Numbers written as text, as attributes have them.
package enum DecimalText {
    /// `[+-]digits[.digits][e[+-]digits]` as an integer where it is one that fits, else as a double; nil where `text`
    /// is anything else, or too large.
    static func number(_ text: UnsafeBufferPointer<UInt8>) -> fl_value? {
        var value = fl_value()
        var at = 0
        var isNegative = false
        if text.first == UInt8(ascii: "-") || text.first == UInt8(ascii: "+") {
            isNegative = text[0] == UInt8(ascii: "-")
            at = 1
        }
        let digits = at
        var integer: Int64 = 0
        var fits = true
        while at < text.count, FilterParser.isDigit(text[at]) {
            let (tens, overflow) = integer.multipliedReportingOverflow(by: 10)
            let digit = Int64(text[at] - UInt8(ascii: "0"))
            let (sum, carry) =
                isNegative ? tens.subtractingReportingOverflow(digit) : tens.addingReportingOverflow(digit)
            fits = fits && !overflow && !carry
            integer = sum
            at += 1
        }
        guard at > digits else { return nil }
        if at == text.count, fits {
            value.kind = UInt8(FL_VALUE_INTEGER)
            value.integer = integer
            return value
        }
        guard isFraction(text, at), text.count <= longest else { return nil }
        let number = withUnsafeTemporaryAllocation(byteCount: longest + 1, alignment: 1) { copy in
            copy.copyMemory(from: UnsafeRawBufferPointer(text))
            copy[text.count] = 0
            return strtod(copy.baseAddress!.assumingMemoryBound(to: CChar.self), nil)
        }
        guard number.isFinite else { return nil }
        value.kind = UInt8(FL_VALUE_NUMBER)
        value.number = number
        return value
    }

    /// A double has 17 significant digits; whoever writes this many means something else.
    private static let longest = 400

    private static func isFraction(_ text: UnsafeBufferPointer<UInt8>, _ start: Int) -> Bool {
        var at = start
        if at < text.count, text[at] == UInt8(ascii: ".") {
            at += 1
            let digits = at
            while at < text.count, FilterParser.isDigit(text[at]) { at += 1 }
            guard at > digits else { return false }
        }
        if at < text.count, text[at] | 0x20 == UInt8(ascii: "e") {
            at += 1
            if at < text.count, text[at] == UInt8(ascii: "-") || text[at] == UInt8(ascii: "+") { at += 1 }
            let digits = at
            while at < text.count, FilterParser.isDigit(text[at]) { at += 1 }
            guard at > digits else { return false }
        }
        return at == text.count
    }

    /// The shortest text that reads back as `number`; a whole number without its `.0`.
    package static func canonical(_ number: Double) -> String {
        if let whole = Int64(exactly: number) { return String(whole) }
        return number.description
    }
}
