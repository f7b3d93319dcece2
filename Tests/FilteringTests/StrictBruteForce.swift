// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering
import Testing

/// CESQL as the specification tells it: every part has a value, and errors are collected beside it. It shares nothing
/// with the evaluator, which stops at the first error.
indirect enum StrictTree {
    case string(String)
    case integer(Int32)
    case boolean(Bool)
    case attribute(String)
    case exists(String)
    case not(StrictTree)
    case negate(StrictTree)
    case like(StrictTree, String, isNegated: Bool)
    case isIn(StrictTree, [StrictTree], isNegated: Bool)
    case binary(StrictTree, String, StrictTree)
    case call(String, [StrictTree])

    /// With parentheses around everything.
    var text: String {
        switch self {
        case .string(let text): "'\(text)'"
        case .integer(let value): "\(value)"
        case .boolean(let value): value ? "true" : "FALSE"
        case .attribute(let name): name
        case .exists(let name): "(exists \(name))"
        case .not(let term): "(NOT \(term.text))"
        case .negate(let term): "(- (\(term.text)))"
        case .like(let left, let pattern, let isNegated): "(\(left.text) \(isNegated ? "NOT " : "")LIKE '\(pattern)')"
        case .isIn(let left, let items, let isNegated):
            "(\(left.text) \(isNegated ? "NOT " : "")IN (\(items.map(\.text).joined(separator: ", "))))"
        case .call(let name, let arguments): "\(name)(\(arguments.map(\.text).joined(separator: ", ")))"
        case .binary(let left, let sign, let right): "(\(left.text) \(sign) \(right.text))"
        }
    }

    enum Value: Equatable {
        case string(String)
        case integer(Int32)
        case boolean(Bool)
    }

    struct Run {
        var attributes: [String: AttributeValue]
        var errors = 0

        mutating func value(_ tree: StrictTree) -> Value {
            switch tree {
            case .string(let text): return .string(text)
            case .integer(let value): return .integer(value)
            case .boolean(let value): return .boolean(value)
            case .attribute(let name):
                switch attributes[name] {
                case .string(let text)?: return .string(text)
                case .integer(let value)?: return .integer(value)
                case .boolean(let value)?: return .boolean(value)
                case nil:
                    errors += 1
                    return .boolean(false)
                }
            case .exists(let name): return .boolean(attributes[name] != nil)
            case .not(let term): return .boolean(!boolean(value(term)))
            case .negate(let term): return .integer(checked(-Int64(integer(value(term)))))
            case .like(let left, let pattern, let isNegated):
                let text = Array(string(value(left)).unicodeScalars)[...]
                return .boolean(BruteForce.like(text, Array(pattern.unicodeScalars)[...]) != isNegated)
            case .isIn(let left, let items, let isNegated):
                let wanted = value(left)
                for item in items {
                    let found = cast(value(item), like: wanted)
                    if found == wanted { return .boolean(!isNegated) }
                }
                return .boolean(isNegated)
            case .binary(let left, let sign, let right): return binary(left, sign, right)
            case .call(let name, let arguments): return call(name, arguments.map { value($0) })
            }
        }

        private mutating func binary(_ left: StrictTree, _ sign: String, _ right: StrictTree) -> Value {
            switch sign {
            case "AND": return .boolean(boolean(value(left)) ? boolean(value(right)) : false)
            case "OR": return .boolean(boolean(value(left)) ? true : boolean(value(right)))
            case "XOR":
                let (a, b) = (boolean(value(left)), boolean(value(right)))
                return .boolean(a && !b || !a && b)
            case "=", "!=":
                let (a, b) = (value(left), value(right))
                return .boolean((cast(a, like: b) == b) == (sign == "="))
            default: break
            }
            let (a, b) = (Int64(integer(value(left))), Int64(integer(value(right))))
            switch sign {
            case "<": return .boolean(a < b)
            case "<=": return .boolean(a <= b)
            case ">": return .boolean(a > b)
            case ">=": return .boolean(a >= b)
            case "+": return .integer(checked(a + b))
            case "-": return .integer(checked(a - b))
            case "*": return .integer(checked(a * b))
            default:
                if b == 0 {
                    errors += 1
                    return .integer(0)
                }
                return .integer(checked(sign == "/" ? a / b : a % b))
            }
        }

        private mutating func call(_ name: String, _ values: [Value]) -> Value {
            switch name {
            case "INT": return .integer(integer(values[0]))
            case "bool": return .boolean(boolean(values[0]))
            case "STRING": return .string(string(values[0]))
            case "LENGTH": return .integer(Int32(string(values[0]).unicodeScalars.count))
            case "UPPER": return .string(string(values[0]).uppercased())
            case "CONCAT": return .string(values.map(string).joined())
            case "ABS": return .integer(checked(abs(Int64(integer(values[0])))))
            default:
                let (text, count) = (Array(string(values[0]).unicodeScalars), Int(integer(values[1])))
                if count < 0 { errors += 1 }
                let part = count < 0 ? text[...] : name == "LEFT" ? text.prefix(count) : text.suffix(count)
                return .string(part.reduce(into: "") { $0.unicodeScalars.append($1) })
            }
        }

        private mutating func checked(_ number: Int64) -> Int32 {
            if let number = Int32(exactly: number) { return number }
            errors += 1
            return 0
        }

        private mutating func cast(_ value: Value, like type: Value) -> Value {
            switch type {
            case .string: .string(string(value))
            case .integer: .integer(integer(value))
            case .boolean: .boolean(boolean(value))
            }
        }

        private func string(_ value: Value) -> String {
            switch value {
            case .string(let text): text
            case .integer(let number): "\(number)"
            case .boolean(let truth): "\(truth)"
            }
        }

        private mutating func integer(_ value: Value) -> Int32 {
            switch value {
            case .integer(let number): return number
            case .boolean(let truth): return truth ? 1 : 0
            case .string(let text):
                if text.wholeMatch(of: /[+-]?[0-9]+/) != nil, let number = Int32(text) { return number }
                errors += 1
                return 0
            }
        }

        private mutating func boolean(_ value: Value) -> Bool {
            switch value {
            case .integer(let number): return number != 0
            case .boolean(let truth): return truth
            case .string(let text):
                if let truth = Bool(text.lowercased()) { return truth }
                errors += 1
                return false
            }
        }
    }

    /// nil where there was an error, or the value is no boolean.
    func verdict(_ attributes: [String: AttributeValue]) -> Bool? {
        var run = Run(attributes: attributes)
        let value = run.value(self)
        guard run.errors == 0, case .boolean(let result) = value else { return nil }
        return result
    }
}

extension Generator {
    mutating func strictTree(depth: Int) -> StrictTree {
        guard depth > 0, chance(80) else { return strictLeaf() }
        switch Int.random(in: 0..<13, using: &self) {
        case 0...3:
            return .binary(
                strictTree(depth: depth - 1), pick(["AND", "OR", "AND", "OR", "XOR"]), strictTree(depth: depth - 1))
        case 4...6: return .binary(strictLeaf(), pick(["=", "=", "!=", "<", "<=", ">", ">="]), strictLeaf())
        case 7:
            return .binary(strictTree(depth: depth - 1), pick(["=", "+", "-", "*", "/", "%", "<"]), strictLeaf())
        case 8: return chance(80) ? .not(strictTree(depth: depth - 1)) : .negate(strictTree(depth: depth - 1))
        case 9:
            return .like(strictLeaf(), pick(["a%", "%b", "_", "1_", "t%e", "%", "x\\_y", ""]), isNegated: chance(40))
        case 10:
            return .isIn(
                strictLeaf(), (0..<Int.random(in: 1...3, using: &self)).map { _ in strictLeaf() }, isNegated: chance(40)
            )
        case 11:
            let name = pick(["INT", "bool", "STRING", "LENGTH", "UPPER", "CONCAT", "ABS", "LEFT", "RIGHT"])
            let count = name == "LEFT" || name == "RIGHT" || name == "CONCAT" ? 2 : 1
            let call = StrictTree.call(name, (0..<count).map { _ in strictTree(depth: depth - 2) })
            return chance(70) ? .binary(call, "=", strictLeaf()) : call
        default: return .exists(pick(["subject", "count", "flag", "type"]))
        }
    }

    private mutating func strictLeaf() -> StrictTree {
        switch Int.random(in: 0..<9, using: &self) {
        case 0...4: .attribute(pick(["type", "subject", "count", "flag", "type", "specversion"]))
        case 5, 6: .string(pick(["a", "ab", "10", "010", "true", "TRUE", "é", "", "-1", "1.0"]))
        case 7: .integer(pick([0, 1, 10, -1, 2, .max, .min]))
        default: .boolean(chance(50))
        }
    }
}

@Suite struct StrictDifferentialTests {
    @Test func cesqlAgreesWithTheSpecificationSpelledOut() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = Generator(state: seed)
        var verdicts: [Bool?: Int] = [:]
        for round in 0..<60 {
            let trees = (0..<40).map { _ in random.strictTree(depth: 3) }
            let filters = try trees.map { try CESQLTests.filter($0.text) }
            let plain = Matcher(filters, isIndexed: false)
            let indexed = Matcher(filters, isIndexed: true)
            let (scratch, other) = (plain.makeScratch(), indexed.makeScratch())
            for _ in 0..<25 {
                let event = random.event()
                let record = event.record
                let wanted = trees.map { $0.verdict(event.attributes) }
                for verdict in wanted { verdicts[verdict, default: 0] += 1 }
                let expected = Set(wanted.indices.filter { wanted[$0] == true })
                var found: [Int] = []
                plain.match(record, scratch) { found.append($0) }
                var led: [Int] = []
                indexed.match(record, other) { led.append($0) }
                #expect(found.count == Set(found).count && led.count == Set(led).count, "seed \(seed), round \(round)")
                for place in Set(found).symmetricDifference(expected).union(Set(led).symmetricDifference(expected)) {
                    Issue.record(
                        "seed \(seed), round \(round): \(trees[place].text) on \(event.attributes) should be \(String(describing: wanted[place]))"
                    )
                }
            }
            for (tree, filter) in zip(trees, filters) {
                let event = random.event()
                let verdict: Verdict = tree.verdict(event.attributes).map { $0 ? .isTrue : .isFalse } ?? .unknown
                #expect(filter.explain(event.record).verdict == verdict, "seed \(seed), round \(round): \(tree.text)")
                #expect(try Filter.parse(filter.text) == filter, "seed \(seed), round \(round): \(tree.text)")
                if verdict == .isTrue {
                    #expect(filter.contradiction == nil, "seed \(seed), round \(round): \(filter)")
                }
            }
        }
        for verdict in [true, false, nil] { #expect(verdicts[verdict, default: 0] > 3_000, "\(verdicts)") }
    }
}
