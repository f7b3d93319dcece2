// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events

extension Matcher {
    /// Calls `body` for each filter that the index leads to from this record; some more than once.
    func candidates(_ index: WitnessIndex, _ record: Record, _ scratch: MatchScratch, _ body: (Int32) -> Void) {
        for place in 0..<index.always.count { body(index.always[place]) }
        scratch.groups.removeAll(keepingCapacity: true)
        candidates(index, index.groups[0], record, scratch, body)
        while let group = scratch.groups.popLast() {
            candidates(index, index.groups[Int(group)], record, scratch, body)
        }
    }

    private func candidates(
        _ index: WitnessIndex, _ group: WitnessIndex.Run, _ record: Record, _ scratch: MatchScratch,
        _ body: (Int32) -> Void
    ) {
        for place in group.start..<group.start + group.count {
            let entry = index.entries.address(of: place)
            let source = entry.pointee.source
            if source.kind == .data, !scratch.hasData { extractData(record, scratch) }
            let value = value(source, record, scratch)
            guard source.isList else {
                if visit(index, place, source, value, scratch, body) { index.visit(entry.pointee.present, body) }
                continue
            }
            guard Int(value.kind) == FL_VALUE_ARRAY else { continue }
            index.visit(entry.pointee.present, body)
            var next = value.next
            while next != 0 {
                let element = scratch.reader.elements[Int(next)]
                _ = visit(index, place, source, element, scratch, body)
                next = element.next
            }
        }
    }

    /// Looks one value up; false where it is missing, null, or not what its function takes.
    private func visit(
        _ index: WitnessIndex, _ place: Int, _ source: Program.Source, _ raw: fl_value, _ scratch: MatchScratch,
        _ body: (Int32) -> Void
    ) -> Bool {
        if Int(raw.kind) == FL_VALUE_MISSING { return false }
        if Int(raw.kind) == FL_VALUE_NULL {
            index.visit(index.entries.address(of: place).pointee.null, body)
            return false
        }
        let value = applied(source, raw, scratch.lookedUp)
        let entry = index.entries.address(of: place)
        switch Int(value.kind) {
        case FL_VALUE_MISSING: return false
        case FL_VALUE_STRING:
            index.visitText(place, UnsafeBufferPointer(start: value.bytes, count: Int(value.length)), scratch, body)
            guard source.kind == .attribute, source.function == nil else { break }
            if entry.pointee.hasNumbers || entry.pointee.ranges.count > 0 {
                let number = Self.number(ofAttribute: value)
                if Int(number.kind) == FL_VALUE_INTEGER {
                    index.visitNumber(place, Double(number.integer), scratch, body)
                }
                if Int(number.kind) == FL_VALUE_NUMBER { index.visitNumber(place, number.number, scratch, body) }
            }
            if entry.pointee.hasBooleans, let truth = Self.boolean(value, true) {
                index.visitBoolean(place, truth, scratch, body)
            }
        case FL_VALUE_INTEGER: index.visitNumber(place, Double(value.integer), scratch, body)
        case FL_VALUE_NUMBER: index.visitNumber(place, value.number, scratch, body)
        case FL_VALUE_BOOLEAN: index.visitBoolean(place, value.integer != 0, scratch, body)
        default: break
        }
        return true
    }
}
