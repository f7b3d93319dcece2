// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering

/// JSON as the brute-force evaluator sees it; it shares nothing with the matcher.
indirect enum JSON {
    case null
    case boolean(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([JSON])
    case object([(String, JSON)])

    var text: String {
        switch self {
        case .null: "null"
        case .boolean(let value): value ? "true" : "false"
        case .integer(let value): String(value)
        case .number(let value): "\(value)"
        case .string(let value): "\"\(value)\""
        case .array(let items): "[\(items.map(\.text).joined(separator: ", "))]"
        case .object(let members): "{\(members.map { "\"\($0.0)\": \($0.1.text)" }.joined(separator: ", "))}"
        }
    }
}

/// The specification, written down as directly as it goes.
struct BruteForce {
    var attributes: [String: AttributeValue]
    var data: JSON?
    var topic: String

    enum Value {
        case json(JSON)
        case attribute(AttributeValue)
    }

    /// nil is unknown.
    func evaluate(_ expression: Expression) -> Bool? {
        switch expression {
        case .constant(let value): return value
        case .not(let term): return evaluate(term).map { !$0 }
        case .and(let terms):
            let values = terms.map(evaluate)
            return values.contains(false) ? false : values.contains { $0 == nil } ? nil : true
        case .or(let terms):
            let values = terms.map(evaluate)
            return values.contains(true) ? true : values.contains { $0 == nil } ? nil : false
        case .predicate(let predicate): return evaluate(predicate)
        }
    }

    private func evaluate(_ predicate: Predicate) -> Bool? {
        switch predicate {
        case .cesql: fatalError("StrictTree has its own")
        case .exists(let path): return any(path, whereAbsent: false) { $0.map { !Self.isNull($0) } ?? false }
        case .isKind(let path, let kind): return any(path, whereAbsent: false) { Self.isOf(kind, $0) }
        case .compare(let left, let comparison, .literal(let literal)):
            return any(left) { compare($0, comparison, literal) }
        case .compare(let left, let comparison, let right):
            // A missing operand counts before an array without elements.
            if any(left, { _ in true }) == nil || any(right, { _ in true }) == nil,
                !hasElements(left) || !hasElements(right)
            {
                return nil
            }
            return any(left) { a in any(right) { b in compare(a, comparison, b) } }
        case .isIn(let operand, let list):
            return any(operand) { value in
                let verdicts = list.map { compare(value, .equal, $0) }
                return verdicts.contains(true) ? true : verdicts.contains { $0 == nil } ? nil : false
            }
        case .like(let operand, let pattern):
            return any(operand) {
                Self.text($0).map { Self.like(Array($0.unicodeScalars)[...], Array(pattern.unicodeScalars)[...]) }
            }
        case .affix(let operand, let affix, let wanted):
            return any(operand) { value in
                guard let text = Self.text(value) else { return nil }
                let (bytes, wanted) = (Array(text.utf8), Array(wanted.utf8))
                switch affix {
                case .startsWith: return bytes.starts(with: wanted)
                case .endsWith: return bytes.reversed().starts(with: wanted.reversed())
                case .contains:
                    guard bytes.count >= wanted.count else { return false }
                    return (0...bytes.count - wanted.count).contains { Array(bytes[$0..<$0 + wanted.count]) == wanted }
                }
            }
        }
    }

    /// False of a `[*]` path whose array is empty.
    private func hasElements(_ operand: Operand) -> Bool {
        switch operand {
        case .literal: true
        case .path(let path), .call(_, let path): values(path)?.isEmpty != true
        }
    }

    // MARK: values

    /// One value, or for `[*]` those of the elements; nil where the array isn't there.
    private func values(_ path: Path) -> [Value?]? {
        switch path {
        case .attribute(let name): return [attributes[name].map { .attribute($0) }]
        case .topic: return [.json(.string(topic))]
        case .received: return [.json(.integer(0))]
        case .data(let path):
            guard path.hasEvery else { return [resolve(data, path.steps[...]).map { .json($0) }] }
            return list(data, path.steps[...])
        }
    }

    private func resolve(_ json: JSON?, _ steps: ArraySlice<DataPath.Step>) -> JSON? {
        guard let step = steps.first else { return json }
        switch (step, json) {
        case (.key(let key), .object(let members)?):
            return resolve(members.first { $0.0 == key }?.1, steps.dropFirst())
        case (.index(let index), .array(let items)?):
            return resolve(index < items.count ? items[index] : nil, steps.dropFirst())
        default: return nil
        }
    }

    private func list(_ json: JSON?, _ steps: ArraySlice<DataPath.Step>) -> [Value?]? {
        let place = steps.firstIndex(of: .every)!
        guard case .array(let items)? = resolve(json, steps[..<place]) else { return nil }
        let rest = steps[(place + 1)...]
        return items.flatMap { item -> [Value?] in
            if rest.contains(.every) { return list(item, rest) ?? [nil] }
            return [resolve(item, rest).map { .json($0) }]
        }
    }

    private func any(_ path: Path, whereAbsent: Bool?, _ test: (Value?) -> Bool?) -> Bool? {
        guard let values = values(path) else { return whereAbsent }
        let verdicts = values.map(test)
        return verdicts.contains(true) ? true : verdicts.contains { $0 == nil } ? nil : false
    }

    private func any(_ operand: Operand, _ test: (Value) -> Bool?) -> Bool? {
        switch operand {
        case .literal: return nil
        case .path(let path):
            return any(path, whereAbsent: nil) { $0.flatMap { Self.isNull($0) ? nil : test($0) } }
        case .call(let function, let path):
            return any(path, whereAbsent: nil) {
                $0.flatMap { Self.isNull($0) ? nil : Self.apply(function, $0).flatMap(test) }
            }
        }
    }

    private static func isNull(_ value: Value) -> Bool {
        if case .json(.null) = value { true } else { false }
    }

    private static func isOf(_ kind: ValueKind, _ value: Value?) -> Bool {
        switch (kind, value) {
        case (.missing, nil), (.missing, .json(.null)?), (.null, .json(.null)?), (.string, .json(.string)?),
            (.number, .json(.integer)?), (.number, .json(.number)?), (.boolean, .json(.boolean)?),
            (.array, .json(.array)?),
            (.object, .json(.object)?), (.string, .attribute?):
            true
        default: false
        }
    }

    private static func text(_ value: Value) -> String? {
        switch value {
        case .json(.string(let text)): text
        case .attribute(let value): value.canonical
        default: nil
        }
    }

    private static func apply(_ function: Function, _ value: Value) -> Value? {
        switch (function, value) {
        case (.lower, _): text(value).map { .json(.string($0.lowercased())) }
        case (.length, .json(.array(let items))): .json(.integer(Int64(items.count)))
        case (.length, _): text(value).map { .json(.integer(Int64($0.unicodeScalars.count))) }
        case (.num, .json(.integer)), (.num, .json(.number)): value
        case (.num, _): text(value).flatMap(number).map { .json($0) }
        case (.str, .json(.integer(let number))): .json(.string(String(number)))
        case (.str, .json(.boolean(let truth))): .json(.string(truth ? "true" : "false"))
        case (.str, .json(.number(let number))):
            .json(.string(number == number.rounded() ? String(Int64(number)) : "\(number)"))
        case (.str, _): text(value).map { .json(.string($0)) }
        }
    }

    private static func number(_ text: String) -> JSON? {
        guard text.wholeMatch(of: /[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?/) != nil else { return nil }
        return Int64(text).map { .integer($0) } ?? Double(text).flatMap { $0.isFinite ? .number($0) : nil }
    }

    // MARK: comparing

    private func compare(_ value: Value, _ comparison: Comparison, _ literal: Literal) -> Bool? {
        let right: JSON =
            switch literal {
            case .string(let text): .string(text)
            case .integer(let number): .integer(number)
            case .number(let number): .number(number)
            case .boolean(let truth): .boolean(truth)
            }
        guard case .attribute(let attribute) = value else { return compare(value, comparison, .json(right)) }
        var wanted = right
        if comparison.isOrdering, case .string(let text) = right { wanted = .integer(Int64(text)!) }
        return Self.cast(attribute, like: wanted).flatMap { Self.compare($0, comparison, wanted) }
    }

    private func compare(_ a: Value, _ comparison: Comparison, _ b: Value) -> Bool? {
        switch (a, b) {
        case (.json(let a), .json(let b)): return Self.compare(a, comparison, b)
        case (.attribute(let a), .json(let b)): return Self.cast(a, like: b).flatMap { Self.compare($0, comparison, b) }
        case (.json(let a), .attribute(let b)): return Self.cast(b, like: a).flatMap { Self.compare(a, comparison, $0) }
        case (.attribute(let a), .attribute(let b)):
            var type: JSON = comparison.isOrdering ? .integer(0) : .string("")
            if !comparison.isOrdering, case .integer = b { type = .integer(0) }
            if !comparison.isOrdering, case .boolean = b { type = .boolean(true) }
            guard let a = Self.cast(a, like: type), let b = Self.cast(b, like: type) else { return nil }
            return Self.compare(a, comparison, b)
        }
    }

    private static func cast(_ attribute: AttributeValue, like type: JSON) -> JSON? {
        let text = attribute.canonical
        switch type {
        case .string: return .string(text)
        case .integer, .number:
            if let number = number(text) { return number }
            return text.lowercased() == "true" ? .integer(1) : text.lowercased() == "false" ? .integer(0) : nil
        case .boolean:
            if let truth = Bool(text.lowercased()) { return .boolean(truth) }
            if case .integer(let number)? = number(text) { return .boolean(number != 0) }
            return nil
        default: return nil
        }
    }

    private static func compare(_ a: JSON, _ comparison: Comparison, _ b: JSON) -> Bool? {
        func ordered<T: Comparable>(_ a: T, _ b: T) -> Bool {
            switch comparison {
            case .equal: a == b
            case .notEqual: a != b
            case .less: a < b
            case .lessOrEqual: a <= b
            case .greater: a > b
            case .greaterOrEqual: a >= b
            }
        }
        switch (a, b) {
        case (.string(let a), .string(let b)):
            let bytes = (Array(a.utf8), Array(b.utf8))
            return ordered(bytes.0.lexicographicallyPrecedes(bytes.1) ? -1 : bytes.0 == bytes.1 ? 0 : 1, 0)
        case (.integer(let a), .integer(let b)): return ordered(a, b)
        case (.integer(let a), .number(let b)): return ordered(Double(a), b)
        case (.number(let a), .integer(let b)): return ordered(a, Double(b))
        case (.number(let a), .number(let b)): return ordered(a, b)
        case (.boolean(let a), .boolean(let b)) where !comparison.isOrdering: return (a == b) == (comparison == .equal)
        default: return nil
        }
    }

    static func like(_ text: ArraySlice<Unicode.Scalar>, _ pattern: ArraySlice<Unicode.Scalar>) -> Bool {
        guard let first = pattern.first else { return text.isEmpty }
        let rest = pattern.dropFirst()
        switch first {
        case "%": return like(text, rest) || !text.isEmpty && like(text.dropFirst(), pattern)
        case "_": return !text.isEmpty && like(text.dropFirst(), rest)
        case "\\" where rest.first == "%" || rest.first == "_":
            return text.first == rest.first && like(text.dropFirst(), rest.dropFirst())
        default: return text.first == first && like(text.dropFirst(), rest)
        }
    }
}

extension Comparison {
    var isOrdering: Bool { self != .equal && self != .notEqual }
}
