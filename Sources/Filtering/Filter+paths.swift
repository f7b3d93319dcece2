// SPDX-License-Identifier: Apache-2.0

package import Events

extension Filter {
    /// Every path into the data that the filter looks at.
    package func collectDataPaths(into paths: inout Set<DataPath>) {
        root.forEachPredicate { predicate in
            for path in predicate.paths {
                if case .data(let path) = path { paths.insert(path) }
            }
        }
    }

    /// Why no event can satisfy the filter, where that is plain to see: a constant, or two demands of one value that
    /// exclude each other. nil says nothing.
    package var contradiction: String? { root.contradiction }
}

extension Expression {
    func forEachPredicate(_ body: (Predicate) -> Void) {
        switch self {
        case .constant: break
        case .and(let terms), .or(let terms): for term in terms { term.forEachPredicate(body) }
        case .not(let term): term.forEachPredicate(body)
        case .predicate(let predicate): body(predicate)
        }
    }

    fileprivate var contradiction: String? {
        switch self {
        case .constant(false): return "it is `false`"
        case .not(.constant(true)): return "it is `not true`"
        case .or(let terms):
            let reasons = terms.map(\.contradiction)
            return reasons.allSatisfy { $0 != nil } ? reasons.first ?? nil : nil
        case .and(let terms):
            for term in terms {
                if let reason = term.contradiction { return reason }
            }
            for (place, first) in terms.enumerated() {
                for second in terms[(place + 1)...] where first.excludes(second) {
                    return "`\(first.canonical)` and `\(second.canonical)` exclude each other"
                }
            }
            return nil
        case .predicate(.cesql(let strict)): return strict.contradiction ?? strict.necessary.contradiction
        default: return nil
        }
    }

    private func excludes(_ other: Expression) -> Bool {
        switch (self, other) {
        case (.not(.predicate(let a)), .predicate(let b)), (.predicate(let a), .not(.predicate(let b))):
            if a == b { return true }
            // A missing value is true of no comparison.
            if case .exists(let path) = a, case .not = self { return b.paths.contains(path) && b.isUnknownWhereMissing }
            if case .exists(let path) = b, case .not = other {
                return a.paths.contains(path) && a.isUnknownWhereMissing
            }
            return false
        case (.predicate(let a), .predicate(let b)): return a.excludes(b)
        default: return false
        }
    }
}

extension Predicate {
    var paths: [Path] {
        switch self {
        case .compare(let left, _, let right): [left.path, right.path].compactMap { $0 }
        case .isIn(let operand, _), .like(let operand, _), .affix(let operand, _, _): [operand.path].compactMap { $0 }
        case .exists(let path), .isKind(let path, _): [path]
        case .cesql(let strict): strict.attributes.map { .attribute($0) }
        }
    }

    fileprivate var isUnknownWhereMissing: Bool {
        switch self {
        case .exists, .isKind, .cesql: false
        default: true
        }
    }

    /// Whether both can't hold: two values of one path, or a range with nothing in it.
    fileprivate func excludes(_ other: Predicate) -> Bool {
        guard let mine = demand, let theirs = other.demand, mine.operand == theirs.operand,
            mine.operand.path?.isList == false
        else { return false }
        if mine.comparison == .equal { return !theirs.allows(mine.literal) }
        if theirs.comparison == .equal { return !mine.allows(theirs.literal) }
        guard let a = mine.literal.magnitude, let b = theirs.literal.magnitude else { return false }
        switch (mine.isLowerBound, theirs.isLowerBound) {
        case (true, false): return a > b || a == b && (mine.isStrict || theirs.isStrict)
        case (false, true): return b > a || a == b && (mine.isStrict || theirs.isStrict)
        default: return false
        }
    }

    private struct Demand {
        var operand: Operand
        var comparison: Comparison
        var literal: Literal

        var isLowerBound: Bool? {
            switch comparison {
            case .greater, .greaterOrEqual: true
            case .less, .lessOrEqual: false
            default: nil
            }
        }
        var isStrict: Bool { comparison == .less || comparison == .greater }

        /// True where in doubt: an attribute may be read as text and as a number.
        func allows(_ value: Literal) -> Bool {
            switch (literal, value) {
            case (.string(let bound), .string(let value)):
                switch comparison {
                case .equal: return value == bound
                case .notEqual: return value != bound
                default: return true
                }
            case (.boolean(let bound), .boolean(let value)):
                return comparison == .equal ? value == bound : comparison == .notEqual ? value != bound : true
            default:
                guard let bound = literal.magnitude, let value = value.magnitude else { return true }
                switch comparison {
                case .equal: return value == bound
                case .notEqual: return value != bound
                case .less: return value < bound
                case .lessOrEqual: return value <= bound
                case .greater: return value > bound
                case .greaterOrEqual: return value >= bound
                }
            }
        }
    }

    private var demand: Demand? {
        guard case .compare(let operand, let comparison, .literal(let literal)) = self else { return nil }
        return Demand(operand: operand, comparison: comparison, literal: literal)
    }
}

extension Literal {
    fileprivate var magnitude: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        case .string, .boolean: nil
        }
    }
}
