// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events

/// Filters compiled for evaluation: equal predicates are one, and each filter is a chain of decisions over them.
///
/// A value's place ("slot") in a ``MatchScratch``: first the data paths, then the attributes, then topic and time.
struct Program {
    /// A value of the event, with the function applied to it.
    struct Source: Hashable {
        enum Kind: UInt8 { case data, attribute, topic, received }
        var slot: Int32
        var kind: Kind
        var function: Function?
        /// A path with `[*]`.
        var isList: Bool
    }

    /// A literal, or a run of literals in `items`.
    struct Constant {
        var kind: Int32 = 0
        var integer: Int64 = 0
        var number: Double = 0
        /// A run of bytes in `text`.
        var textStart = 0
        var textCount = 0
    }

    struct Test {
        enum Kind: UInt8 { case constant, sources, isIn, like, startsWith, endsWith, contains, exists, isKind, cesql }
        var kind: Kind
        var comparison: Comparison = .equal
        /// The `FL_VALUE_*` that `isKind` asks for; numbers have three.
        var asked: ValueKind = .missing
        var left: Source
        var right: Source?
        var constant = Constant()
        /// `isIn`: a run of `items`. `like`: a run of `pattern`. `cesql`: a place in `strict`.
        var start = 0
        var count = 0
        var needsData: Bool
    }

    /// A CESQL filter, and the slot of each of its attributes.
    struct Strict {
        var filter: CESQL
        var slots: [Int32]
    }

    /// Goes to `onTrue` where the predicate's verdict is `wanted`, else to `onFalse`. Negation has been pushed down to
    /// here (Kleene's logic keeps De Morgan), so two values are enough above.
    struct Decision {
        var test: Int32
        var wanted: Verdict
        var onTrue: Int32
        var onFalse: Int32
    }

    static let accept: Int32 = -1
    static let reject: Int32 = -2

    private(set) var dataPaths: [DataPath] = []
    private(set) var counting: Set<Int> = []
    private(set) var attributes: [String] = []
    private(set) var tests: [Test] = []
    private(set) var predicates: [Predicate] = []
    private(set) var decisions: [Decision] = []
    private(set) var items: [Constant] = []
    private(set) var text: [UInt8] = []
    private(set) var pattern: [UInt16] = []
    private(set) var strict: [Strict] = []
    /// Where each filter starts; `accept` where it takes everything.
    private(set) var entries: [Int32] = []

    private var dataSlots: [DataPath: Int] = [:]
    private var attributeSlots: [String: Int] = [:]
    private var known: [Predicate: Int32] = [:]

    init(_ filters: [Filter?]) {
        // Slots of attributes come after those of the data, so all paths are gathered first.
        for filter in filters {
            if let filter { gather(filter.root) }
        }
        for filter in filters {
            entries.append(filter.map { compile($0.root, false, Self.accept, Self.reject) } ?? Self.accept)
        }
    }

    /// Lets go of what a matcher has frozen copies of, and of what only compiling needs.
    mutating func releaseCode() {
        (tests, predicates, decisions, entries) = ([], [], [], [])
        (items, text, pattern, known) = ([], [], [], [:])
    }

    var topicSlot: Int { dataPaths.count + attributes.count }
    var receivedSlot: Int { topicSlot + 1 }
    var slotCount: Int { receivedSlot + 1 }

    private mutating func gather(_ expression: Expression) {
        switch expression {
        case .constant: break
        case .and(let terms), .or(let terms): for term in terms { gather(term) }
        case .not(let term): gather(term)
        case .predicate(let predicate):
            switch predicate {
            case .compare(let left, _, let right):
                gather(left)
                gather(right)
            case .isIn(let operand, _), .like(let operand, _), .affix(let operand, _, _): gather(operand)
            case .exists(let path), .isKind(let path, _): gather(.path(path))
            case .cesql(let strict): for name in strict.attributes { gather(.path(.attribute(name))) }
            }
        }
    }

    private mutating func gather(_ operand: Operand) {
        switch operand.path {
        case .data(let path):
            let slot = dataSlots[path] ?? dataPaths.count
            if slot == dataPaths.count {
                dataSlots[path] = slot
                dataPaths.append(path)
            }
            if case .call(.length, _) = operand { counting.insert(slot) }
        case .attribute(let name):
            guard attributeSlots[name] == nil else { return }
            attributeSlots[name] = attributes.count
            attributes.append(name)
        case .topic, .received, nil: break
        }
    }

    // MARK: decisions

    private mutating func compile(
        _ expression: Expression, _ isNegated: Bool, _ onTrue: Int32, _ onFalse: Int32
    ) -> Int32 {
        switch expression {
        case .constant(let value): return value != isNegated ? onTrue : onFalse
        case .not(let term): return compile(term, !isNegated, onTrue, onFalse)
        case .and(let terms), .or(let terms):
            let isAnd = if case .and = expression { !isNegated } else { isNegated }
            var next = isAnd ? onTrue : onFalse
            for term in terms.reversed() {
                next = isAnd ? compile(term, isNegated, next, onFalse) : compile(term, isNegated, onTrue, next)
            }
            return next
        case .predicate(let predicate):
            decisions.append(
                Decision(
                    test: test(predicate), wanted: isNegated ? .isFalse : .isTrue, onTrue: onTrue, onFalse: onFalse))
            return Int32(decisions.count - 1)
        }
    }

    private mutating func test(_ predicate: Predicate) -> Int32 {
        var isNew = false
        let place = known.place(of: predicate) { isNew = true }
        guard isNew else { return place }
        predicates.append(predicate)
        tests.append(compile(predicate))
        return place
    }

    private mutating func compile(_ predicate: Predicate) -> Test {
        switch predicate {
        case .compare(let left, let comparison, .literal(let literal)):
            let source = source(left)
            var test = Test(kind: .constant, comparison: comparison, left: source, needsData: source.kind == .data)
            test.constant = constant(literal, comparedWith: left, comparison)
            return test
        case .compare(let left, let comparison, let right):
            var (first, second, comparison) = (source(left), source(right), comparison)
            if second.isList { (first, second, comparison) = (second, first, comparison.mirrored) }
            return Test(
                kind: .sources, comparison: comparison, left: first, right: second,
                needsData: first.kind == .data || second.kind == .data)
        case .isIn(let operand, let list):
            let source = source(operand)
            let start = items.count
            for item in list {
                let item = constant(item, comparedWith: operand, .equal)
                items.append(item)
            }
            return Test(
                kind: .isIn, left: source, start: start, count: list.count, needsData: source.kind == .data)
        case .like(let operand, let text):
            let source = source(operand)
            let compiled = LikePattern.compile(text)
            let start = pattern.count
            pattern += compiled
            return Test(kind: .like, left: source, start: start, count: compiled.count, needsData: source.kind == .data)
        case .affix(let operand, let affix, let text):
            let source = source(operand)
            let kind: Test.Kind =
                switch affix {
                case .startsWith: .startsWith
                case .endsWith: .endsWith
                case .contains: .contains
                }
            var test = Test(kind: kind, left: source, needsData: source.kind == .data)
            test.constant = constant(.string(text), comparedWith: operand, .equal)
            return test
        case .exists(let path):
            let source = source(.path(path))
            return Test(kind: .exists, left: source, needsData: source.kind == .data)
        case .isKind(let path, let kind):
            let source = source(.path(path))
            return Test(kind: .isKind, asked: kind, left: source, needsData: source.kind == .data)
        case .cesql(let filter):
            let slots = filter.attributes.map { source(.path(.attribute($0))).slot }
            strict.append(Strict(filter: filter, slots: slots))
            return Test(kind: .cesql, left: source(.path(.topic)), start: strict.count - 1, count: 1, needsData: false)
        }
    }

    func source(_ operand: Operand) -> Source {
        let function: Function? = if case .call(let function, _) = operand { function } else { nil }
        switch operand.path {
        case .data(let path):
            return Source(
                slot: Int32(dataSlots[path]!), kind: .data, function: function, isList: path.hasEvery)
        case .attribute(let name):
            let slot = Int32(dataPaths.count + attributeSlots[name]!)
            return Source(slot: slot, kind: .attribute, function: function, isList: false)
        case .received:
            return Source(slot: Int32(receivedSlot), kind: .received, function: nil, isList: false)
        case .topic, nil:
            return Source(slot: Int32(topicSlot), kind: .topic, function: function, isList: false)
        }
    }

    private mutating func constant(
        _ literal: Literal, comparedWith operand: Operand, _ comparison: Comparison
    ) -> Constant {
        var constant = Constant()
        switch literal {
        case .boolean(let value):
            constant.kind = Int32(FL_VALUE_BOOLEAN)
            constant.integer = value ? 1 : 0
        case .integer(let value):
            constant.kind = Int32(FL_VALUE_INTEGER)
            constant.integer = value
            constant.number = Double(value)
        case .number(let value):
            constant.kind = Int32(FL_VALUE_NUMBER)
            constant.number = value
        case .string(let value):
            switch operand {
            case .path(.received):
                constant.kind = Self.instant
                constant.integer = Instant.microseconds(value)!
                return constant
            case .path(.attribute(let name)) where comparison.isOrdering:
                if FilterParser.timeAttributes.contains(name) {
                    constant.kind = Self.instant
                    constant.integer = Instant.microseconds(value)!
                } else {
                    constant.kind = Int32(FL_VALUE_INTEGER)
                    constant.integer = Int64(value)!
                    constant.number = Double(constant.integer)
                }
                return constant
            default: break
            }
            constant.kind = Int32(FL_VALUE_STRING)
            constant.textStart = text.count
            text += Array(value.utf8)
            constant.textCount = text.count - constant.textStart
        }
        return constant
    }

    /// A ``Constant``'s kind beside `FL_VALUE_*`: microseconds since 1970 to compare with a timestamp.
    static let instant: Int32 = 100
}
