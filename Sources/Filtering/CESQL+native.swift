// SPDX-License-Identifier: Apache-2.0

extension CESQL {
    /// A native filter that is true of every event that this one takes, and of some more: what the index and the
    /// search for contradictions look at.
    var necessary: Expression {
        switch necessary(root) {
        case .constant(true): .and(present(root))
        case .and(let terms): .and(terms + present(root))
        case let term: .and([term] + present(root))
        }
    }

    /// Why no event can satisfy it, beyond what ``necessary`` shows.
    var contradiction: String? {
        switch root.type {
        case .string?: return "its value is a string, and only a boolean is true"
        case .integer?: return "its value is an integer, and only a boolean is true"
        case .boolean?, nil: break
        }
        guard attributes.isEmpty else { return nil }
        do throws(CESQLError) {
            return try Evaluation.constant(root) ? nil : "it is always false"
        } catch {
            return "it always ends in an \(error)"
        }
    }

    private func path(_ place: Int) -> Operand { .path(.attribute(attributes[place])) }

    /// What follows from `node` being true.
    private func necessary(_ node: Node) -> Expression {
        switch node {
        case .boolean(let value): return .constant(value)
        case .integer(let value): return .constant(value != 0)
        case .attribute(let place): return .predicate(.compare(path(place), .equal, .literal(.boolean(true))))
        case .exists(let place): return .predicate(.exists(.attribute(attributes[place])))
        case .not(.exists(let place)): return .not(.predicate(.exists(.attribute(attributes[place]))))
        case .not(.not(let term)): return necessary(term)
        case .connective(.and, let terms): return .and(terms.map(necessary))
        case .connective(.or, let terms): return .or(terms.map(necessary))
        case .compare(.attribute(let place), let comparison, let right):
            guard let literal = right.literal, right.type == .integer || !comparison.isOrdering else { break }
            return .predicate(.compare(path(place), comparison, .literal(literal)))
        case .compare(.integer(let value), let comparison, .attribute(let place)) where comparison.isOrdering:
            return .predicate(.compare(path(place), comparison.mirrored, .literal(.integer(Int64(value)))))
        case .like(.attribute(let place), let pattern): return .predicate(.like(path(place), pattern.text))
        case .isIn(.attribute(let place), let items):
            // The values take the attribute's type, so those that may be numbers or booleans can be written in many
            // ways.
            var list: [Literal] = []
            for case .string(let text, _) in items {
                let value = Value.text(text)
                guard (try? value.integer) == nil, (try? value.boolean) == nil else { break }
                list.append(.string(value.string))
            }
            guard list.count == items.count else { break }
            return .predicate(.isIn(path(place), list))
        default: break
        }
        return .constant(true)
    }

    /// The attributes that every evaluation of `node` comes to, and so must be there.
    private func present(_ node: Node) -> [Expression] {
        var places: [Int] = []
        evaluated(node, &places)
        return places.map { .predicate(.exists(.attribute(attributes[$0]))) }
    }

    private func evaluated(_ node: Node, _ places: inout [Int]) {
        switch node {
        case .string, .integer, .boolean, .exists: break
        case .attribute(let place): if !places.contains(place) { places.append(place) }
        case .not(let term), .negate(let term), .like(let term, _), .isIn(let term, _): evaluated(term, &places)
        case .arithmetic(let left, _, let right), .compare(let left, _, let right):
            evaluated(left, &places)
            evaluated(right, &places)
        case .connective(.xor, let terms), .call(_, let terms): for term in terms { evaluated(term, &places) }
        case .connective(.and, let terms), .connective(.or, let terms): evaluated(terms[0], &places)
        }
    }
}

extension CESQL.Node {
    fileprivate var literal: Literal? {
        switch self {
        case .string(let text, _): .string(String(decoding: text, as: UTF8.self))
        case .integer(let value): .integer(Int64(value))
        case .boolean(let value): .boolean(value)
        default: nil
        }
    }
}
