// SPDX-License-Identifier: Apache-2.0

/// A filter in CloudEvents SQL 1.0 (github.com/cloudevents/spec, cesql), the dialect of other CloudEvents software.
/// It sees attributes only. Where its evaluation meets an error, or its value is no boolean, the event isn't taken.
///
///     cesql   = connective ;
///     connective = comparison { ("AND" | "OR" | "XOR") comparison } ;      (* one of the three; a mix is refused *)
///     comparison = sum { ("=" | "!=" | "<>" | "<" | "<=" | ">" | ">=") sum } ;
///     sum     = product { ("+" | "-") product } ;
///     product = test { ("*" | "/" | "%") test } ;
///     test    = unary { ["NOT"] "LIKE" string | ["NOT"] "IN" "(" connective { "," connective } ")" } ;
///     unary   = ("NOT" | "-") unary | primary ;
///     primary = "(" connective ")" | "EXISTS" attribute | function "(" [ connective { "," connective } ] ")"
///             | attribute | string | integer | "TRUE" | "FALSE" ;
///
/// The mix is refused because the specification's grammar and its prose read it differently. What differs from the
/// native dialect beyond that: `NOT a = b` is `(NOT a) = b`, and an error anywhere that evaluation comes to decides.
package struct CESQL: Hashable, Sendable {
    let root: Node
    /// The attributes it may look at, in lower case. ``Node/attribute(_:)`` counts in here.
    let attributes: [String]
    /// The canonical text, without quotes around it.
    let text: String

    init(_ root: Node, attributes: [String]) {
        self.root = root
        self.attributes = attributes
        text = root.canonical(attributes)
    }

    package static func == (a: CESQL, b: CESQL) -> Bool { a.text == b.text }
    package func hash(into hasher: inout Hasher) { hasher.combine(text) }

    enum ValueType: String { case string, integer, boolean }

    enum Connective: String { case and = "AND", or = "OR", xor = "XOR" }

    enum Arithmetic: String { case add = "+", subtract = "-", multiply = "*", divide = "/", remainder = "%" }

    struct Pattern {
        var text: String
        var compiled: [UInt16]
        var spelling: String
    }

    indirect enum Node: Sendable {
        /// `spelling` is the canonical text, which keeps the escapes of what was written.
        case string([UInt8], spelling: String)
        case integer(Int32)
        case boolean(Bool)
        case attribute(Int)
        case exists(Int)
        case not(Node)
        case negate(Node)
        case like(Node, Pattern)
        case isIn(Node, [Node])
        case arithmetic(Node, Arithmetic, Node)
        case compare(Node, Comparison, Node)
        /// Two terms or more; from left to right.
        case connective(Connective, [Node])
        case call(CESQLFunction, [Node])
    }
}

enum CESQLFunction: String, CaseIterable {
    case int = "INT"
    case bool = "BOOL"
    case string = "STRING"
    case length = "LENGTH"
    case lower = "LOWER"
    case upper = "UPPER"
    case trim = "TRIM"
    case left = "LEFT"
    case right = "RIGHT"
    case substring = "SUBSTRING"
    case concat = "CONCAT"
    case concatWithSeparator = "CONCAT_WS"
    case abs = "ABS"

    /// How many values it takes.
    var arity: ClosedRange<Int> {
        switch self {
        case .int, .bool, .string, .length, .lower, .upper, .trim, .abs: 1...1
        case .left, .right: 2...2
        case .substring: 2...3
        case .concat: 0...Int.max
        case .concatWithSeparator: 1...Int.max
        }
    }

    var result: CESQL.ValueType {
        switch self {
        case .int, .length, .abs: .integer
        case .bool: .boolean
        case .string, .lower, .upper, .trim, .left, .right, .substring, .concat, .concatWithSeparator: .string
        }
    }
}

extension CESQL.Node {
    /// nil where it depends on the event: an attribute's own.
    var type: CESQL.ValueType? {
        switch self {
        case .string: .string
        case .integer, .negate, .arithmetic: .integer
        case .boolean, .exists, .not, .like, .isIn, .compare, .connective: .boolean
        case .call(let function, _): function.result
        case .attribute: nil
        }
    }

    // MARK: text

    /// How tightly it holds together, from 0 (`AND`) to 6 (what needs no parentheses anywhere).
    private var tightness: Int {
        switch self {
        case .connective: 0
        case .compare: 1
        case .arithmetic(_, .add, _), .arithmetic(_, .subtract, _): 2
        case .arithmetic: 3
        case .like, .isIn: 4
        case .not(.like), .not(.isIn): 4
        case .not, .negate: 5
        case .string, .integer, .boolean, .attribute, .exists, .call: 6
        }
    }

    func canonical(_ names: [String]) -> String {
        func operand(_ node: CESQL.Node, _ least: Int) -> String {
            node.tightness < least ? "(\(node.canonical(names)))" : node.canonical(names)
        }
        func list(_ nodes: [CESQL.Node]) -> String { nodes.map { $0.canonical(names) }.joined(separator: ", ") }
        switch self {
        case .string(_, let spelling): return spelling
        case .integer(let value): return String(value)
        case .boolean(let value): return value ? "TRUE" : "FALSE"
        case .attribute(let place): return names[place]
        case .exists(let place): return "EXISTS \(names[place])"
        case .not(.like(let left, let pattern)): return "\(operand(left, 4)) NOT LIKE \(pattern.spelling)"
        case .not(.isIn(let left, let items)): return "\(operand(left, 4)) NOT IN (\(list(items)))"
        case .not(let term): return "NOT \(operand(term, 5))"
        // Without the space the sign would belong to a number.
        case .negate(let term): return "- \(operand(term, 5))"
        case .like(let left, let pattern): return "\(operand(left, 4)) LIKE \(pattern.spelling)"
        case .isIn(let left, let items): return "\(operand(left, 4)) IN (\(list(items)))"
        case .arithmetic(let left, let sign, let right):
            return "\(operand(left, tightness)) \(sign.rawValue) \(operand(right, tightness + 1))"
        case .compare(let left, let comparison, let right):
            return "\(operand(left, 1)) \(comparison.canonical) \(operand(right, 2))"
        case .connective(let connective, let terms):
            return terms.map { operand($0, 1) }.joined(separator: " \(connective.rawValue) ")
        case .call(let function, let arguments): return "\(function.rawValue)(\(list(arguments)))"
        }
    }
}
