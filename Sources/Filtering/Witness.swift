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

    var source: Program.Source {
        switch self {
        case .text(let source, _), .number(let source, _), .boolean(let source, _), .prefix(let source, _),
            .suffix(let source, _), .range(let source, _, _), .null(let source), .present(let source):
            source
        }
    }

    /// Whether the key says all that there is to know of its source's value.
    var isExact: Bool {
        switch self {
        case .text, .number, .boolean, .null: !source.isList
        case .prefix, .suffix, .range, .present: false
        }
    }
}

/// The keys of one leaf of a filter.
enum Witness {
    /// No event can satisfy it otherwise; no keys at all means that none can.
    case keys([WitnessKey])
    /// Nothing that can be looked up follows from it.
    case none
}

/// What follows from a filter being true, over places in a ``WitnessKeys``. `not` has been pushed down to the leaves.
indirect enum WitnessTree {
    case none
    /// One of them holds.
    case keys([Int32])
    case and([WitnessTree])
    case or([WitnessTree])
}

/// Each key once.
struct WitnessKeys {
    private(set) var keys: [WitnessKey] = []
    private var places: [WitnessKey: Int32] = [:]

    mutating func place(of key: WitnessKey) -> Int32 {
        places.place(of: key) { keys.append(key) }
    }
}

extension Program {
    func witnesses(_ expression: Expression, _ isNegated: Bool, _ keys: inout WitnessKeys) -> WitnessTree {
        switch expression {
        case .constant(let value): return value == isNegated ? .keys([]) : .none
        case .not(let term): return witnesses(term, !isNegated, &keys)
        case .predicate(.cesql(let strict)): return isNegated ? .none : witnesses(strict.necessary, false, &keys)
        case .predicate(let predicate):
            guard case .keys(let found) = witness(predicate, isNegated) else { return .none }
            return .keys(found.map { keys.place(of: $0) })
        case .and(let terms), .or(let terms):
            let isAnd = if case .and = expression { !isNegated } else { isNegated }
            let parts = terms.map { witnesses($0, isNegated, &keys) }
            return isAnd ? .and(ranges(parts, &keys) + parts) : .or(parts)
        }
    }

    /// The bounds that the parts of an `and` put on one number, as one range. Elements of a `[*]` path may each meet
    /// one bound, so those stay apart.
    private func ranges(_ parts: [WitnessTree], _ keys: inout WitnessKeys) -> [WitnessTree] {
        var merged: [(source: Source, low: Double, high: Double, count: Int)] = []
        for case .keys(let found) in parts where found.count == 1 {
            guard case .range(let source, let low, let high) = keys.keys[Int(found[0])], !source.isList else {
                continue
            }
            if let place = merged.firstIndex(where: { $0.source == source }) {
                let known = merged[place]
                merged[place] = (source, max(low, known.low), min(high, known.high), known.count + 1)
            } else {
                merged.append((source, low, high, 1))
            }
        }
        return merged.compactMap { source, low, high, count in
            guard count > 1 else { return nil }
            return low <= high ? .keys([keys.place(of: .range(source, low, high))]) : .keys([])
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

extension Dictionary where Value == Int32 {
    /// The number of `key`; where it has none yet, the next one, after a call of `add`. It searches the table once,
    /// which with many filters is much of the time to build.
    mutating func place(of key: Key, _ add: () -> Void) -> Int32 {
        let next = Int32(count)
        func number(_ value: inout Int32?) -> Int32 {
            if let value { return value }
            value = next
            add()
            return next
        }
        return number(&self[key])
    }
}
