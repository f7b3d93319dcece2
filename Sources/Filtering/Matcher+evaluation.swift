// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events

#if canImport(Glibc)
    import Glibc
#endif

extension Matcher {
    func evaluate(_ test: UnsafePointer<Program.Test>, _ record: Record, _ scratch: MatchScratch) -> Verdict {
        if test.pointee.kind == .cesql {
            return (try? strict(test.pointee.start, scratch)).map(Verdict.init) ?? .unknown
        }
        let left = test.pointee.left
        var right = fl_value()
        if let source = test.pointee.right {
            right = applied(source, value(source, record, scratch), scratch.made.right)
        }
        // A missing operand makes the comparison unknown, even with no element to compare it with.
        if test.pointee.kind == .sources, Int(right.kind) == FL_VALUE_MISSING || Int(right.kind) == FL_VALUE_NULL {
            return .unknown
        }
        guard left.isList else {
            let value = value(left, record, scratch)
            return one(test, value, right, scratch)
        }
        let isTotal = test.pointee.kind == .exists || test.pointee.kind == .isKind
        let head = scratch.values[Int(left.slot)]
        guard head.kind == UInt8(FL_VALUE_ARRAY) else { return isTotal ? .isFalse : .unknown }
        let elements = scratch.reader.elements
        var result = Verdict.isFalse
        var place = head.next
        while place != 0 {
            let element = elements[Int(place)]
            switch one(test, element, right, scratch) {
            case .isTrue: return .isTrue
            case .unknown: result = .unknown
            case .isFalse: break
            }
            place = element.next
        }
        return result
    }

    func strict(_ place: Int, _ scratch: MatchScratch) throws(CESQLError) -> Bool {
        let compiled = program.strict[place]
        let evaluation = CESQL.Evaluation(
            names: compiled.filter.attributes, slots: compiled.slots, values: scratch.values)
        return try evaluation.result(compiled.filter.root)
    }

    func value(_ source: Program.Source, _ record: Record, _ scratch: MatchScratch) -> fl_value {
        switch source.kind {
        case .data, .attribute: return scratch.values[Int(source.slot)]
        case .topic: return scratch.topicName(record.topic)
        case .received:
            var value = fl_value()
            value.kind = UInt8(FL_VALUE_INTEGER)
            let (product, overflow) = record.time.milliseconds.multipliedReportingOverflow(by: 1_000)
            value.integer = overflow ? (record.time.milliseconds < 0 ? .min : .max) : product
            return value
        }
    }

    private func one(
        _ test: UnsafePointer<Program.Test>, _ raw: fl_value, _ right: fl_value, _ scratch: MatchScratch
    ) -> Verdict {
        let kind = Int(raw.kind)
        switch test.pointee.kind {
        case .exists: return Verdict(kind != FL_VALUE_MISSING && kind != FL_VALUE_NULL)
        case .isKind: return Verdict(Self.isOf(test.pointee.asked, kind))
        default: break
        }
        guard kind != FL_VALUE_MISSING, kind != FL_VALUE_NULL else { return .unknown }
        let verdict = present(test, raw, right, scratch)
        if verdict == .unknown { scratch.tally.mismatches += 1 }
        return verdict
    }

    /// Of a value that is there: unknown where it is of a kind that the test can't judge.
    private func present(
        _ test: UnsafePointer<Program.Test>, _ raw: fl_value, _ right: fl_value, _ scratch: MatchScratch
    ) -> Verdict {
        let left = test.pointee.left
        let value = applied(left, raw, scratch.made.left)
        let isAttribute = left.kind == .attribute && left.function == nil
        switch test.pointee.kind {
        case .constant:
            return compare(value, test.pointee.comparison, test.pointee.constant, isAttribute)
        case .sources:
            return compare(
                value, test.pointee.comparison, right, isAttribute,
                test.pointee.right.map { $0.kind == .attribute && $0.function == nil } ?? false)
        case .isIn:
            var result = Verdict.isFalse
            for item in items.run(test.pointee.start, test.pointee.count) {
                switch compare(value, .equal, item, isAttribute) {
                case .isTrue: return .isTrue
                case .unknown: result = .unknown
                case .isFalse: break
                }
            }
            return result
        case .like:
            guard let text = Self.text(value) else { return .unknown }
            return Verdict(LikePattern.matches(pattern.run(test.pointee.start, test.pointee.count), text))
        case .startsWith:
            guard let text = Self.text(value) else { return .unknown }
            let wanted = bytes(of: test.pointee.constant)
            return Verdict(
                text.count >= wanted.count && Self.areEqual(text.baseAddress, wanted.baseAddress, wanted.count))
        case .endsWith:
            guard let text = Self.text(value) else { return .unknown }
            let wanted = bytes(of: test.pointee.constant)
            guard text.count >= wanted.count else { return .isFalse }
            return Verdict(
                Self.areEqual(
                    text.baseAddress.map { $0 + (text.count - wanted.count) }, wanted.baseAddress, wanted.count))
        case .contains:
            guard let text = Self.text(value) else { return .unknown }
            let wanted = bytes(of: test.pointee.constant)
            guard wanted.count > 0 else { return .isTrue }
            return Verdict(Self.contains(text, wanted))
        case .exists, .isKind, .cesql: return .unknown
        }
    }

    private static func isOf(_ asked: ValueKind, _ kind: Int) -> Bool {
        switch asked {
        case .missing: kind == FL_VALUE_MISSING || kind == FL_VALUE_NULL
        case .null: kind == FL_VALUE_NULL
        case .string: kind == FL_VALUE_STRING
        case .number: kind == FL_VALUE_INTEGER || kind == FL_VALUE_NUMBER || kind == FL_VALUE_HUGE
        case .boolean: kind == FL_VALUE_BOOLEAN
        case .array: kind == FL_VALUE_ARRAY
        case .object: kind == FL_VALUE_OBJECT
        }
    }

    // MARK: text

    private func bytes(of constant: Program.Constant) -> UnsafeBufferPointer<UInt8> {
        text.run(constant.textStart, constant.textCount)
    }

    private static func text(_ value: fl_value) -> UnsafeBufferPointer<UInt8>? {
        guard Int(value.kind) == FL_VALUE_STRING else { return nil }
        return UnsafeBufferPointer(start: value.bytes, count: Int(value.length))
    }

    private static func areEqual(_ a: UnsafePointer<UInt8>?, _ b: UnsafePointer<UInt8>?, _ count: Int) -> Bool {
        guard count > 0, let a, let b else { return count == 0 }
        return memcmp(a, b, count) == 0
    }

    private static func contains(_ text: UnsafeBufferPointer<UInt8>, _ wanted: UnsafeBufferPointer<UInt8>) -> Bool {
        guard var at = text.baseAddress, text.count >= wanted.count else { return false }
        let last = at + (text.count - wanted.count)
        while at <= last, let found = memchr(at, Int32(wanted[0]), last - at + 1) {
            let start = found.assumingMemoryBound(to: UInt8.self)
            if memcmp(start, wanted.baseAddress!, wanted.count) == 0 { return true }
            at = UnsafePointer(start) + 1
        }
        return false
    }

    private func made(_ string: String, _ buffer: TextBuffer) -> fl_value { buffer.hold(string) }

    // MARK: functions

    /// `value` after the source's function; missing where the function has no answer, which makes predicates unknown.
    func applied(_ source: Program.Source, _ value: fl_value, _ buffer: TextBuffer) -> fl_value {
        guard let function = source.function else { return value }
        var result = fl_value()
        switch function {
        case .lower:
            guard let text = Self.text(value) else { return result }
            guard text.allSatisfy({ $0 < 0x80 }) else {
                return made(String(decoding: text, as: UTF8.self).lowercased(), buffer)
            }
            buffer.reserve(text.count)
            for (place, byte) in text.enumerated() {
                buffer.bytes[place] = byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
            }
            result = value
            result.bytes = UnsafePointer(buffer.bytes)
        case .length:
            switch Int(value.kind) {
            case FL_VALUE_STRING:
                result.kind = UInt8(FL_VALUE_INTEGER)
                result.integer = Self.text(value)!.reduce(into: Int64(0)) { $0 += $1 & 0xC0 == 0x80 ? 0 : 1 }
            case FL_VALUE_ARRAY:
                result.kind = UInt8(FL_VALUE_INTEGER)
                result.integer = Int64(value.length)
            default: break
            }
        case .num:
            switch Int(value.kind) {
            case FL_VALUE_STRING: result = DecimalText.number(Self.text(value)!) ?? result
            case FL_VALUE_INTEGER, FL_VALUE_NUMBER: result = value
            default: break
            }
        case .str:
            switch Int(value.kind) {
            case FL_VALUE_STRING: result = value
            case FL_VALUE_INTEGER: result = made(String(value.integer), buffer)
            case FL_VALUE_NUMBER: result = made(DecimalText.canonical(value.number), buffer)
            case FL_VALUE_BOOLEAN: result = made(value.integer != 0 ? "true" : "false", buffer)
            default: break
            }
        }
        return result
    }

    // MARK: comparing

    private func compare(
        _ value: fl_value, _ comparison: Comparison, _ constant: Program.Constant, _ isAttribute: Bool
    ) -> Verdict {
        switch Int(constant.kind) {
        case FL_VALUE_STRING:
            guard let text = Self.text(value) else { return .unknown }
            return Self.compare(text, comparison, bytes(of: constant))
        case FL_VALUE_BOOLEAN:
            guard let truth = Self.boolean(value, isAttribute) else { return .unknown }
            return Verdict((truth == (constant.integer != 0)) == (comparison == .equal))
        case FL_VALUE_INTEGER, FL_VALUE_NUMBER:
            let number = isAttribute ? Self.number(ofAttribute: value) : value
            return Self.compareNumbers(
                number, comparison, isInteger: Int(constant.kind) == FL_VALUE_INTEGER, constant.integer, constant.number
            )
        default:
            var instant: Int64?
            if Int(value.kind) == FL_VALUE_INTEGER {
                instant = value.integer
            } else if let text = Self.text(value) {
                instant = Instant.microseconds(text)
            }
            guard let instant else { return .unknown }
            return Self.ordered(instant, comparison, constant.integer)
        }
    }

    /// Two values of the event. An attribute takes the other side's type; between two attributes `=` takes the right
    /// one's, and ordering is numeric.
    private func compare(
        _ left: fl_value, _ comparison: Comparison, _ right: fl_value, _ leftIsAttribute: Bool, _ rightIsAttribute: Bool
    ) -> Verdict {
        guard Int(right.kind) != FL_VALUE_MISSING, Int(right.kind) != FL_VALUE_NULL,
            Int(left.kind) != FL_VALUE_MISSING
        else { return .unknown }
        if leftIsAttribute, rightIsAttribute {
            if comparison.isOrdering || Int(right.attribute_type) == FL_ATTRIBUTE_INTEGER {
                return Self.compareNumbers(
                    Self.number(ofAttribute: left), comparison, Self.number(ofAttribute: right))
            }
            if Int(right.attribute_type) == FL_ATTRIBUTE_BOOLEAN {
                return Self.compareBooleans(Self.boolean(left, true), comparison, Self.boolean(right, true))
            }
        }
        let kind = leftIsAttribute ? right.kind : left.kind
        switch Int(kind) {
        case FL_VALUE_STRING:
            guard let a = Self.text(left), let b = Self.text(right) else { return .unknown }
            return Self.compare(a, comparison, b)
        case FL_VALUE_BOOLEAN:
            guard !comparison.isOrdering else { return .unknown }
            return Self.compareBooleans(
                Self.boolean(left, leftIsAttribute), comparison, Self.boolean(right, rightIsAttribute))
        case FL_VALUE_INTEGER, FL_VALUE_NUMBER:
            return Self.compareNumbers(
                leftIsAttribute ? Self.number(ofAttribute: left) : left, comparison,
                rightIsAttribute ? Self.number(ofAttribute: right) : right)
        default: return .unknown
        }
    }

    private static func compareBooleans(_ a: Bool?, _ comparison: Comparison, _ b: Bool?) -> Verdict {
        guard let a, let b else { return .unknown }
        return Verdict((a == b) == (comparison == .equal))
    }

    private static func compareNumbers(_ a: fl_value, _ comparison: Comparison, _ b: fl_value) -> Verdict {
        switch Int(b.kind) {
        case FL_VALUE_INTEGER: compareNumbers(a, comparison, isInteger: true, b.integer, Double(b.integer))
        case FL_VALUE_NUMBER: compareNumbers(a, comparison, isInteger: false, 0, b.number)
        default: .unknown
        }
    }

    /// Exact between integers; else as doubles.
    private static func compareNumbers(
        _ a: fl_value, _ comparison: Comparison, isInteger: Bool, _ integer: Int64, _ number: Double
    ) -> Verdict {
        switch Int(a.kind) {
        case FL_VALUE_INTEGER:
            isInteger ? ordered(a.integer, comparison, integer) : ordered(Double(a.integer), comparison, number)
        case FL_VALUE_NUMBER: ordered(a.number, comparison, number)
        default: .unknown
        }
    }

    private static func ordered<Value: Comparable>(_ a: Value, _ comparison: Comparison, _ b: Value) -> Verdict {
        switch comparison {
        case .equal: Verdict(a == b)
        case .notEqual: Verdict(a != b)
        case .less: Verdict(a < b)
        case .lessOrEqual: Verdict(a <= b)
        case .greater: Verdict(a > b)
        case .greaterOrEqual: Verdict(a >= b)
        }
    }

    private static func compare(
        _ a: UnsafeBufferPointer<UInt8>, _ comparison: Comparison, _ b: UnsafeBufferPointer<UInt8>
    ) -> Verdict {
        guard comparison.isOrdering else {
            let isEqual = a.count == b.count && areEqual(a.baseAddress, b.baseAddress, a.count)
            return Verdict(isEqual == (comparison == .equal))
        }
        let common = min(a.count, b.count)
        var order = common > 0 ? Int(memcmp(a.baseAddress!, b.baseAddress!, common)) : 0
        if order == 0 { order = a.count - b.count }
        return ordered(order, comparison, 0)
    }

    // MARK: attributes

    /// `true` and `false` in any case; integers other than 0.
    static func boolean(_ value: fl_value, _ isAttribute: Bool) -> Bool? {
        if Int(value.kind) == FL_VALUE_BOOLEAN { return value.integer != 0 }
        guard isAttribute, let text = text(value) else { return nil }
        if let truth = boolean(named: text) { return truth }
        guard let number = DecimalText.number(text), Int(number.kind) == FL_VALUE_INTEGER else { return nil }
        return number.integer != 0
    }

    /// Decimal text; a boolean's canonical text as 1 and 0.
    static func number(ofAttribute value: fl_value) -> fl_value {
        guard let text = text(value) else { return value }
        if let number = DecimalText.number(text) { return number }
        var result = fl_value()
        if let truth = boolean(named: text) {
            result.kind = UInt8(FL_VALUE_INTEGER)
            result.integer = truth ? 1 : 0
        }
        return result
    }

    /// `true` and `false` in any case.
    static func boolean(named text: UnsafeBufferPointer<UInt8>) -> Bool? {
        isWord("true", text) ? true : isWord("false", text) ? false : nil
    }

    private static func isWord(_ word: StaticString, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
        guard text.count == word.utf8CodeUnitCount else { return false }
        for place in 0..<text.count where text[place] | 0x20 != word.utf8Start[place] { return false }
        return true
    }
}
