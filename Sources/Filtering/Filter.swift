// SPDX-License-Identifier: Apache-2.0

package import Events

/// A `where` line: which events a subscriber takes. SQL's WHERE over an event's attributes (`type`, `subject`,
/// extensions), its JSON data (`data.order.total`) and what the broker knows of it (`meta.topic`, `meta.received`).
///
/// Every predicate is true, false or unknown; unknown where a value is missing, null or of a type that does not fit.
/// `and`, `or` and `not` are Kleene's. An event is taken only where the whole is true.
///
/// `cesql "…"` instead is a filter in the dialect of other CloudEvents software: ``CESQL``.
///
/// Equal filters have the same canonical text.
package struct Filter: Hashable, Sendable, CustomStringConvertible {
    package let root: Expression
    /// The canonical text: parsing it gives an equal filter.
    package let text: String

    package init(_ root: Expression) {
        self.root = root
        text = root.canonical
    }

    /// Parses a whole text as a filter.
    package static func parse(_ text: String) throws(FilterError) -> Filter {
        try parse(bytes: Array(text.utf8))
    }

    package static func parse(bytes: [UInt8]) throws(FilterError) -> Filter {
        var parser = FilterParser(bytes, from: 0, isStatement: false)
        return Filter(try parser.parse())
    }

    /// Whether this filter is true of `record`. For one-off use; a scratch kept from call to call saves compiling the
    /// filter again. Where many events pass, use a ``Matcher``.
    package func matches(_ record: Record, _ scratch: MatchScratch?) -> Bool {
        let scratch = scratch ?? MatchScratch()
        let matcher: Matcher
        if let (filter, kept) = scratch.oneOff, filter == self {
            matcher = kept
        } else {
            matcher = Matcher([self])
            scratch.oneOff = (self, matcher)
        }
        return matcher.isTrue(0, of: record, scratch)
    }

    package var description: String { text }
    package static func == (a: Filter, b: Filter) -> Bool { a.text == b.text }
    package func hash(into hasher: inout Hasher) { hasher.combine(text) }
}

package indirect enum Expression: Sendable {
    case constant(Bool)
    case and([Expression])
    case or([Expression])
    case not(Expression)
    case predicate(Predicate)
}

/// A leaf of a filter. What it compares has been checked: it can be evaluated on any event.
package enum Predicate: Hashable, Sendable {
    /// A bare path, which means `= true`, is a comparison with `true`.
    case compare(Operand, Comparison, Operand)
    case isIn(Operand, [Literal])
    /// SQL's pattern: `%` any run, `_` one character, `\%` and `\_` themselves.
    case like(Operand, String)
    case affix(Operand, Affix, String)
    case exists(Path)
    case isKind(Path, ValueKind)
    /// A whole filter in the strict dialect, which stands alone. Unknown where its evaluation ends in an error.
    case cesql(CESQL)
}

package enum Operand: Hashable, Sendable {
    case path(Path)
    case call(Function, Path)
    case literal(Literal)
}

package enum Path: Hashable, Sendable {
    /// In lower case.
    case attribute(String)
    case data(DataPath)
    case topic
    /// When the broker accepted the event.
    case received
}

package enum Literal: Hashable, Sendable {
    case string(String)
    case integer(Int64)
    case number(Double)
    case boolean(Bool)
}

package enum Comparison: UInt8, Sendable, BitwiseCopyable {
    case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual

    /// The comparison with its sides exchanged.
    var mirrored: Comparison {
        switch self {
        case .equal, .notEqual: self
        case .less: .greater
        case .lessOrEqual: .greaterOrEqual
        case .greater: .less
        case .greaterOrEqual: .lessOrEqual
        }
    }

    var isOrdering: Bool { self != .equal && self != .notEqual }
}

package enum Affix: UInt8, Sendable, BitwiseCopyable {
    case startsWith, endsWith, contains
}

package enum Function: String, Sendable, BitwiseCopyable, CaseIterable {
    case lower, length, num, str
}

package enum ValueKind: String, Sendable, BitwiseCopyable, CaseIterable {
    case missing, null, string, number, boolean, array, object
}

extension DataPath {
    package var hasEvery: Bool { steps.contains(.every) }
}

extension Path {
    var isList: Bool {
        if case .data(let path) = self { path.hasEvery } else { false }
    }
}

extension Operand {
    var path: Path? {
        switch self {
        case .path(let path), .call(_, let path): path
        case .literal: nil
        }
    }
}
