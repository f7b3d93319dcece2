// SPDX-License-Identifier: Apache-2.0

import CFairlead

/// Something cheap to look up that must hold of every event a filter is true of. From a filter follows a set of which
/// at least one holds; the filter is filed under each, and asked only of events that one of them leads to.
enum WitnessKey: Hashable {
    case text(Program.Source, [UInt8])
    case number(Program.Source, Double)
    case boolean(Program.Source, Bool)
    case prefix(Program.Source, [UInt8])
    case suffix(Program.Source, [UInt8])
    /// A number from one bound to the other, both included.
    case range(Program.Source, Double, Double)
    case null(Program.Source)
    /// Present and not null; of a path with `[*]`, that its array is there.
    case present(Program.Source)

    /// What looking at one filter under such a key is worth: roughly how many events it lets through, relatively.
    var weight: Int {
        switch self {
        case .text, .number, .boolean, .null: 1
        case .prefix, .suffix: 4
        case .range(_, let low, let high): low.isFinite && high.isFinite ? 16 : 64
        case .present: 256
        }
    }
}

/// The keys of one filter, or of a part of it.
enum Witness {
    /// No event can satisfy it otherwise; no keys at all means that none can.
    case keys([WitnessKey])
    /// Nothing that can be looked up follows from it.
    case none
}

extension Program {
    /// How often each key occurs in the filters: of two keys the rarer one is the better.
    struct Frequencies {
        private var counts: [WitnessKey: Int] = [:]

        mutating func count(_ key: WitnessKey) { counts[key, default: 0] += 1 }
        func cost(_ keys: [WitnessKey]) -> Int { keys.reduce(0) { $0 + $1.weight * (counts[$1] ?? 1) } }
    }

    /// The keys of each leaf of `expression`, counted.
    func count(_ expression: Expression, _ isNegated: Bool, _ frequencies: inout Frequencies) {
        switch expression {
        case .constant: break
        case .and(let terms), .or(let terms): for term in terms { count(term, isNegated, &frequencies) }
        case .not(let term): count(term, !isNegated, &frequencies)
        case .predicate(.cesql(let strict)): if !isNegated { count(strict.necessary, false, &frequencies) }
        case .predicate(let predicate):
            if case .keys(let keys) = witness(predicate, isNegated) { for key in keys { frequencies.count(key) } }
        }
    }

    func witness(_ expression: Expression, _ isNegated: Bool, _ frequencies: Frequencies) -> Witness {
        switch expression {
        case .constant(let value): return value == isNegated ? .keys([]) : .none
        case .not(let term): return witness(term, !isNegated, frequencies)
        case .predicate(.cesql(let strict)):
            return isNegated ? .none : witness(strict.necessary, false, frequencies)
        case .predicate(let predicate): return witness(predicate, isNegated)
        case .and(let terms), .or(let terms):
            let isAnd = if case .and = expression { !isNegated } else { isNegated }
            let parts = terms.map { witness($0, isNegated, frequencies) }
            guard isAnd else {
                var all: Set<WitnessKey> = []
                for part in parts {
                    guard case .keys(let keys) = part else { return .none }
                    all.formUnion(keys)
                }
                return .keys(Array(all))
            }
            var best: (keys: [WitnessKey], cost: Int)?
            for case .keys(let keys) in ranges(parts) + parts {
                let cost = frequencies.cost(keys)
                if best.map({ cost < $0.cost }) ?? true { best = (keys, cost) }
            }
            return best.map { .keys($0.keys) } ?? .none
        }
    }

    /// The bounds that the parts of an `and` put on one number, as one range. Elements of a `[*]` path may each meet
    /// one bound, so those stay apart.
    private func ranges(_ parts: [Witness]) -> [Witness] {
        var merged: [Source: (low: Double, high: Double, count: Int)] = [:]
        for case .keys(let keys) in parts where keys.count == 1 {
            guard case .range(let source, let low, let high) = keys[0], !source.isList else { continue }
            let known = merged[source] ?? (-.infinity, .infinity, 0)
            merged[source] = (max(low, known.low), min(high, known.high), known.count + 1)
        }
        return merged.compactMap { source, range in
            guard range.count > 1 else { return nil }
            return range.low <= range.high ? .keys([.range(source, range.low, range.high)]) : .keys([])
        }
    }

    private func witness(_ predicate: Predicate, _ isNegated: Bool) -> Witness {
        if isNegated {
            switch predicate {
            case .exists, .isKind, .cesql: return .none
            default: return present(predicate)
            }
        }
        switch predicate {
        case .compare(let operand, let comparison, .literal(let literal)):
            return witness(source(operand), comparison, literal, operand)
        case .isIn(let operand, let list):
            var keys: [WitnessKey] = []
            for literal in list {
                guard case .keys(let more) = witness(source(operand), .equal, literal, operand) else { return .none }
                keys += more
            }
            return .keys(keys)
        case .like(let operand, let text):
            let start = LikePattern.compile(text).prefix { $0 < LikePattern.one }.map { UInt8(truncatingIfNeeded: $0) }
            return start.isEmpty ? present(predicate) : .keys([.prefix(source(operand), start)])
        case .affix(let operand, .startsWith, let text) where !text.isEmpty:
            return .keys([.prefix(source(operand), Array(text.utf8))])
        case .affix(let operand, .endsWith, let text) where !text.isEmpty:
            return .keys([.suffix(source(operand), Array(text.utf8))])
        case .isKind(let path, .null): return .keys([.null(source(.path(path)))])
        case .isKind(_, .missing), .cesql: return .none
        case .compare, .affix, .exists, .isKind: return present(predicate)
        }
    }

    private func present(_ predicate: Predicate) -> Witness {
        let operand: Operand =
            switch predicate {
            // Without the array of a `[*]` nothing is known; with an empty one the other side doesn't matter.
            case .compare(let left, _, let right): left.path == nil || right.path?.isList == true ? right : left
            case .isIn(let operand, _), .like(let operand, _), .affix(let operand, _, _): operand
            case .exists(let path), .isKind(let path, _): .path(path)
            case .cesql: .path(.topic)
            }
        let source = source(operand)
        return source.kind == .received ? .none : .keys([.present(source)])
    }

    private func witness(
        _ source: Source, _ comparison: Comparison, _ literal: Literal, _ operand: Operand
    ) -> Witness {
        guard source.kind != .received else { return .none }
        let number: Double? =
            switch literal {
            case .integer(let value): Double(value)
            case .number(let value): value
            case .string, .boolean: nil
            }
        switch comparison {
        case .equal:
            if let number { return .keys([.number(source, number == 0 ? 0 : number)]) }
            if case .boolean(let value) = literal { return .keys([.boolean(source, value)]) }
            if case .string(let text) = literal { return .keys([.text(source, Array(text.utf8))]) }
        case .greater, .greaterOrEqual:
            if let number { return .keys([.range(source, number, .infinity)]) }
        case .less, .lessOrEqual:
            if let number { return .keys([.range(source, -.infinity, number)]) }
        case .notEqual: break
        }
        return .keys([.present(source)])
    }
}
