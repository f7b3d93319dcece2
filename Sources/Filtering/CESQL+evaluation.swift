// SPDX-License-Identifier: Apache-2.0

import CFairlead

#if canImport(Glibc)
    import Glibc
#endif

/// Why an evaluation has no value. Which of several errors is met first decides; CESQL recommends to stop there.
enum CESQLError: Error, CustomStringConvertible {
    case missing(String)
    case cast(String, to: CESQL.ValueType)
    case divisionByZero
    case overflow
    case outOfRange(CESQLFunction, Int32)
    case notBoolean(CESQL.ValueType)

    var description: String {
        switch self {
        case .missing(let name): "error: there is no attribute \(name)"
        case .cast(let value, let type): "error: \(value) is no \(type.rawValue)"
        case .divisionByZero: "error: division by 0"
        case .overflow: "error: the result does not fit into 32 bits"
        case .outOfRange(let function, let value): "error: \(function.rawValue) can't use \(value)"
        case .notBoolean(let type): "error: the value is of type \(type.rawValue), not boolean"
        }
    }
}

extension CESQL {
    /// A string is a view of the event or of the filter where it can be.
    enum Value {
        case view(UnsafeBufferPointer<UInt8>)
        case text([UInt8])
        case integer(Int32)
        case boolean(Bool)

        var type: ValueType {
            switch self {
            case .view, .text: .string
            case .integer: .integer
            case .boolean: .boolean
            }
        }
    }

    /// One evaluation: where the event's attributes are.
    struct Evaluation {
        let names: [String]
        /// For each of `names` its place in `values`.
        let slots: [Int32]
        let values: UnsafePointer<fl_value>

        /// Of an expression without attributes.
        static func constant(_ root: Node) throws(CESQLError) -> Bool {
            let nothing = UnsafeMutablePointer<fl_value>.allocate(capacity: 1)
            nothing.initialize(to: fl_value())
            defer { nothing.deallocate() }
            return try Evaluation(names: [], slots: [], values: nothing).result(root)
        }

        /// True or false; what CESQL calls an error otherwise.
        func result(_ root: Node) throws(CESQLError) -> Bool {
            let value = try evaluate(root)
            guard case .boolean(let result) = value else { throw .notBoolean(value.type) }
            return result
        }

        private func evaluate(_ node: Node) throws(CESQLError) -> Value {
            switch node {
            case .string(let text, _): return .text(text)
            case .integer(let value): return .integer(value)
            case .boolean(let value): return .boolean(value)
            case .attribute(let place): return try attribute(place)
            case .exists(let place): return .boolean(Int(values[Int(slots[place])].kind) != FL_VALUE_MISSING)
            case .not(let term): return .boolean(try !boolean(term))
            case .negate(let term):
                let (value, overflow) = try Int32(0).subtractingReportingOverflow(integer(term))
                guard !overflow else { throw .overflow }
                return .integer(value)
            case .like(let left, let pattern):
                let text = try evaluate(left).text
                return .boolean(
                    text.withBytes { text in
                        pattern.compiled.withUnsafeBufferPointer { LikePattern.matches($0, text) }
                    })
            case .isIn(let left, let items):
                let value = try evaluate(left)
                for item in items where try Self.areEqual(value, evaluate(item).cast(to: value.type)) {
                    return .boolean(true)
                }
                return .boolean(false)
            case .arithmetic(let left, let sign, let right):
                return .integer(try Self.calculate(integer(left), sign, integer(right)))
            case .compare(let left, let comparison, let right):
                guard comparison.isOrdering else {
                    let (a, b) = (try evaluate(left), try evaluate(right))
                    return .boolean(try Self.areEqual(a.cast(to: b.type), b) == (comparison == .equal))
                }
                let (a, b) = (try integer(left), try integer(right))
                switch comparison {
                case .less: return .boolean(a < b)
                case .lessOrEqual: return .boolean(a <= b)
                case .greater: return .boolean(a > b)
                default: return .boolean(a >= b)
                }
            case .connective(let connective, let terms):
                var result = try boolean(terms[0])
                for term in terms.dropFirst() {
                    switch connective {
                    case .and:
                        guard result else { return .boolean(false) }
                        result = try boolean(term)
                    case .or:
                        guard !result else { return .boolean(true) }
                        result = try boolean(term)
                    case .xor: result = try boolean(term) != result
                    }
                }
                return .boolean(result)
            case .call(let function, let arguments): return try call(function, arguments)
            }
        }

        private func attribute(_ place: Int) throws(CESQLError) -> Value {
            let value = values[Int(slots[place])]
            guard Int(value.kind) == FL_VALUE_STRING else { throw .missing(names[place]) }
            let text = UnsafeBufferPointer(start: value.bytes, count: Int(value.length))
            switch Int(value.attribute_type) {
            case FL_ATTRIBUTE_BOOLEAN: return .boolean(try Value.view(text).boolean)
            case FL_ATTRIBUTE_INTEGER: return .integer(try Value.view(text).integer)
            default: return .view(text)
            }
        }

        private func integer(_ node: Node) throws(CESQLError) -> Int32 { try evaluate(node).integer }
        private func boolean(_ node: Node) throws(CESQLError) -> Bool { try evaluate(node).boolean }
        private func string(_ node: Node) throws(CESQLError) -> String { try evaluate(node).string }

        /// Of one type.
        private static func areEqual(_ a: Value, _ b: Value) -> Bool {
            switch (a, b) {
            case (.integer(let a), .integer(let b)): a == b
            case (.boolean(let a), .boolean(let b)): a == b
            default:
                a.withBytes { a in
                    b.withBytes { b in
                        a.count == b.count && (a.isEmpty || memcmp(a.baseAddress!, b.baseAddress!, a.count) == 0)
                    }
                }
            }
        }

        private static func calculate(_ a: Int32, _ sign: Arithmetic, _ b: Int32) throws(CESQLError) -> Int32 {
            if b == 0, sign == .divide || sign == .remainder { throw .divisionByZero }
            let (value, overflow) =
                switch sign {
                case .add: a.addingReportingOverflow(b)
                case .subtract: a.subtractingReportingOverflow(b)
                case .multiply: a.multipliedReportingOverflow(by: b)
                case .divide: a.dividedReportingOverflow(by: b)
                // -2147483648 % -1 is reported as an overflow, and is 0.
                case .remainder: (a.remainderReportingOverflow(dividingBy: b).partialValue, false)
                }
            guard !overflow else { throw .overflow }
            return value
        }

        // MARK: functions

        /// Lengths and places count Unicode's scalar values, from 1.
        private func call(_ function: CESQLFunction, _ arguments: [Node]) throws(CESQLError) -> Value {
            switch function {
            case .int: return .integer(try integer(arguments[0]))
            case .bool: return .boolean(try boolean(arguments[0]))
            case .string: return try evaluate(arguments[0]).text
            case .length: return .integer(Int32(clamping: try string(arguments[0]).unicodeScalars.count))
            case .lower: return .text(Array(try string(arguments[0]).lowercased().utf8))
            case .upper: return .text(Array(try string(arguments[0]).uppercased().utf8))
            case .trim:
                let scalars = try string(arguments[0]).unicodeScalars
                let head = scalars.drop { $0.properties.isWhitespace }
                let end = head.lastIndex { !$0.properties.isWhitespace }.map { head.index(after: $0) }
                return .text(Array(String(head[head.startIndex..<(end ?? head.startIndex)]).utf8))
            case .left, .right:
                let scalars = try string(arguments[0]).unicodeScalars
                let count = try integer(arguments[1])
                guard count >= 0 else { throw .outOfRange(function, count) }
                let part = function == .left ? scalars.prefix(Int(count)) : scalars.suffix(Int(count))
                return .text(Array(String(part).utf8))
            case .substring:
                let scalars = Array(try string(arguments[0]).unicodeScalars)
                let place = try integer(arguments[1])
                let count = arguments.count > 2 ? try integer(arguments[2]) : Int32.max
                guard count >= 0 else { throw .outOfRange(function, count) }
                guard Int(place.magnitude) <= scalars.count else { throw .outOfRange(function, place) }
                guard place != 0 else { return .text([]) }
                let start = place > 0 ? Int(place) - 1 : scalars.count + Int(place)
                var part = String.UnicodeScalarView()
                part.append(contentsOf: scalars[start...].prefix(Int(count)))
                return .text(Array(String(part).utf8))
            case .concat, .concatWithSeparator:
                var parts: [String] = []
                for argument in arguments { parts.append(try string(argument)) }
                let separator = function == .concat ? "" : parts.removeFirst()
                return .text(Array(parts.joined(separator: separator).utf8))
            case .abs:
                let value = try integer(arguments[0])
                guard value != .min else { throw .overflow }
                return .integer(Swift.abs(value))
            }
        }
    }
}

extension CESQL.Value {
    func cast(to type: CESQL.ValueType) throws(CESQLError) -> CESQL.Value {
        switch type {
        case .string: text
        case .integer: .integer(try integer)
        case .boolean: .boolean(try boolean)
        }
    }

    /// Cast to a string, which always works.
    var text: CESQL.Value {
        switch self {
        case .view, .text: self
        case .integer(let value): .text(Array(String(value).utf8))
        case .boolean(let value): .text(Array((value ? "true" : "false").utf8))
        }
    }

    var string: String { text.withBytes { String(decoding: $0, as: UTF8.self) } }

    /// `[+-]digits` within 32 bits.
    var integer: Int32 {
        get throws(CESQLError) {
            switch self {
            case .integer(let value): return value
            case .boolean(let value): return value ? 1 : 0
            case .view, .text:
                let number = withBytes { bytes in DecimalText.number(bytes) }
                if let number, Int(number.kind) == FL_VALUE_INTEGER, let value = Int32(exactly: number.integer) {
                    return value
                }
                throw .cast(quoted(string), to: .integer)
            }
        }
    }

    /// `true` or `false` in any case.
    var boolean: Bool {
        get throws(CESQLError) {
            switch self {
            case .integer(let value): return value != 0
            case .boolean(let value): return value
            case .view, .text:
                if let value = withBytes(Matcher.boolean(named:)) { return value }
                throw .cast(quoted(string), to: .boolean)
            }
        }
    }

    /// Of a string; of others none.
    func withBytes<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
        switch self {
        case .view(let bytes): body(bytes)
        case .text(let bytes): bytes.withUnsafeBufferPointer(body)
        case .integer, .boolean: body(UnsafeBufferPointer(start: nil, count: 0))
        }
    }
}
