// SPDX-License-Identifier: Apache-2.0

import CFairlead
package import Events

/// Why a filter takes an event or not.
package struct Explanation: Hashable, Sendable {
    package var verdict: Verdict
    /// In the order of the filter's text.
    package var leaves: [Leaf]

    package struct Leaf: Hashable, Sendable {
        /// The predicate's canonical text.
        package var text: String
        /// What its paths held, as `data.total = 120`; `missing` and `null` so named. Of CESQL also the error.
        package var values: [String]
        package var verdict: Verdict
    }
}

extension Filter {
    package func explain(_ record: Record) -> Explanation {
        let matcher = Matcher([self])
        let scratch = matcher.makeScratch()
        matcher.begin(record, scratch)
        matcher.extractData(record, scratch)
        var places: [Predicate: Int] = [:]
        for (place, predicate) in Program([self]).predicates.enumerated() { places[predicate] = place }
        var leaves: [Explanation.Leaf] = []
        func walk(_ expression: Expression) -> Verdict {
            switch expression {
            case .constant(let value): return Verdict(value)
            case .not(let term): return walk(term).negated
            case .and(let terms):
                return terms.map(walk).reduce(.isTrue) { $0 == .isFalse || $1 == .isFalse ? .isFalse : max($0, $1) }
            case .or(let terms):
                return terms.map(walk).reduce(.isFalse) { $0 == .isTrue || $1 == .isTrue ? .isTrue : max($0, $1) }
            case .predicate(let predicate):
                let test = matcher.tests[places[predicate]!]
                let verdict = matcher.verdict(places[predicate]!, record, scratch)
                var sources = [test.left] + (test.right.map { [$0] } ?? [])
                if case .cesql = predicate { sources = predicate.paths.map { matcher.program.source(.path($0)) } }
                var values = sources.map { matcher.shown($0, record, scratch) }
                if case .cesql = predicate {
                    do throws(CESQLError) { _ = try matcher.strict(test.start, scratch) } catch {
                        values.append("\(error)")
                    }
                }
                leaves.append(Explanation.Leaf(text: predicate.canonical, values: values, verdict: verdict))
                return verdict
            }
        }
        return Explanation(verdict: walk(root), leaves: leaves)
    }
}

/// The larger is the less certain: unknown wins over true in `and`, over false in `or`.
private func max(_ a: Verdict, _ b: Verdict) -> Verdict { a.rawValue > b.rawValue ? a : b }

extension Matcher {
    fileprivate func shown(_ source: Program.Source, _ record: Record, _ scratch: MatchScratch) -> String {
        switch source.kind {
        case .topic: return "meta.topic = \(quoted(record.topic.shownName))"
        case .received: return "meta.received = \(record.time.milliseconds) ms"
        case .attribute:
            let name = program.attributes[Int(source.slot) - program.dataPaths.count]
            return "\(Path.attribute(name).canonical) = \(Self.shown(scratch.values[Int(source.slot)]))"
        case .data:
            let path = program.dataPaths[Int(source.slot)].canonical
            var value = scratch.values[Int(source.slot)]
            guard source.isList, Int(value.kind) == FL_VALUE_ARRAY else { return "\(path) = \(Self.shown(value))" }
            var items: [String] = []
            while value.next != 0, items.count < Self.shownItemsMax {
                value = scratch.reader.elements[Int(value.next)]
                items.append(Self.shown(value))
            }
            return "\(path) = [\(items.joined(separator: ", "))\(value.next != 0 ? ", …" : "")]"
        }
    }

    private static let shownItemsMax = 20
    private static let shownBytesMax = 200

    private static func shown(_ value: fl_value) -> String {
        switch Int(value.kind) {
        case FL_VALUE_MISSING: return "missing"
        case FL_VALUE_NULL: return "null"
        case FL_VALUE_BOOLEAN: return value.integer != 0 ? "true" : "false"
        case FL_VALUE_INTEGER: return String(value.integer)
        case FL_VALUE_NUMBER: return DecimalText.canonical(value.number)
        case FL_VALUE_STRING:
            let bytes = UnsafeBufferPointer(start: value.bytes, count: Int(value.length))
            let text = String(decoding: bytes.prefix(shownBytesMax), as: UTF8.self)
            return quoted(text) + (bytes.count > shownBytesMax ? "…" : "")
        case FL_VALUE_ARRAY: return "an array"
        case FL_VALUE_OBJECT: return "an object"
        default: return "a number too large"
        }
    }
}
