// SPDX-License-Identifier: Apache-2.0

import CFairlead
package import Events
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// Many filters, asked of one event at once. Immutable, so any number of threads may match with it, each with a
/// scratch of its own.
package final class Matcher: Sendable {
    let program: Program
    private let dataPaths: DataPaths?
    private let names: FrozenNames
    let tests: FrozenArray<Program.Test>
    private let decisions: FrozenArray<Program.Decision>
    private let entries: FrozenArray<Int32>
    let items: FrozenArray<Program.Constant>
    let text: FrozenArray<UInt8>
    let pattern: FrozenArray<UInt16>
    /// Where `specversion` is among the attributes. No record keeps it, as it has one value.
    private let version: Int?
    private static let versionText: StaticString = "1.0"
    private let id: UInt64
    /// nil where asking every filter costs no more.
    private let index: WitnessIndex?

    private static let ids = Atomic<UInt64>(0)

    /// Filter `n` is called `n` in ``match(_:_:_:)``; nil takes every event.
    package convenience init(_ filters: [Filter?]) {
        self.init(filters, isIndexed: filters.count > Self.unindexedMax)
    }

    /// Filters up to which asking all of them is cheaper than looking values up: at 5 the index cost a fifth more, at
    /// 10 half as much, on events of 377 bytes.
    private static let unindexedMax = 8

    /// As above, with the choice made: both ways give the same answers.
    package init(_ filters: [Filter?], isIndexed: Bool) {
        var program = Program(filters)
        dataPaths = program.dataPaths.isEmpty ? nil : DataPaths(program.dataPaths, countingElements: program.counting)
        names = FrozenNames(program.attributes)
        tests = FrozenArray(program.tests)
        decisions = FrozenArray(program.decisions)
        entries = FrozenArray(program.entries)
        items = FrozenArray(program.items)
        text = FrozenArray(program.text)
        pattern = FrozenArray(program.pattern)
        version = program.attributes.firstIndex(of: "specversion")
        index = isIndexed ? WitnessIndex(filters, program) : nil
        program.releaseCode()
        self.program = program
        id = Self.ids.wrappingAdd(1, ordering: .relaxed).newValue
    }

    /// How many filters there are.
    package var count: Int { entries.count }

    /// Filters that are asked of every event: the index has nothing to find them by.
    package var unindexedCount: Int { index?.always.count ?? count }

    package func makeScratch() -> MatchScratch { MatchScratch() }

    /// Calls `body` once with the place of each filter that is true of `record`, in no particular order.
    package func match(_ record: Record, _ scratch: MatchScratch, _ body: (Int) -> Void) {
        begin(record, scratch)
        guard let index else {
            scratch.tally.candidates += entries.count
            for filter in 0..<entries.count where holds(filter, record, scratch) { body(filter) }
            return
        }
        candidates(index, record, scratch) { filter in
            let filter = Int(filter)
            guard scratch.seen[filter] != scratch.stamp else { return }
            scratch.seen[filter] = scratch.stamp
            scratch.tally.candidates += 1
            if holds(filter, record, scratch) { body(filter) }
        }
    }

    /// How many filters ``match(_:_:_:)`` evaluates for `record`: what an event costs, without the machine's noise.
    package func candidateCount(_ record: Record, _ scratch: MatchScratch) -> Int {
        begin(record, scratch)
        guard let index else { return entries.count }
        var count = 0
        candidates(index, record, scratch) { filter in
            guard scratch.seen[Int(filter)] != scratch.stamp else { return }
            scratch.seen[Int(filter)] = scratch.stamp
            count += 1
        }
        return count
    }

    func isTrue(_ filter: Int, of record: Record, _ scratch: MatchScratch) -> Bool {
        begin(record, scratch)
        return holds(filter, record, scratch)
    }

    /// Reads the record's attributes; its data is left alone until a predicate asks.
    func begin(_ record: Record, _ scratch: MatchScratch) {
        scratch.prepare(for: id, slots: program.slotCount, tests: tests.count, filters: entries.count)
        scratch.stamp += 1
        scratch.hasData = false
        guard names.count > 0 else { return }
        let first = scratch.values + program.dataPaths.count
        first.update(repeating: fl_value(), count: names.count)
        if let version {
            first[version].kind = UInt8(FL_VALUE_STRING)
            first[version].length = UInt32(Self.versionText.utf8CodeUnitCount)
            first[version].bytes = Self.versionText.utf8Start
        }
        var at: UInt32 = 0
        var attribute = fl_attribute()
        var left = names.count
        while left > 0, fl_record_next_attribute(record.bytes, &at, &attribute) != 0 {
            guard let name = names.place(of: attribute.name) else { continue }
            left -= 1
            first[name].kind = UInt8(FL_VALUE_STRING)
            first[name].attribute_type = attribute.type
            first[name].length = UInt32(attribute.value.length)
            first[name].bytes = attribute.value.bytes
        }
    }

    private func holds(_ filter: Int, _ record: Record, _ scratch: MatchScratch) -> Bool {
        var at = entries[filter]
        while at >= 0 {
            let decision = decisions[Int(at)]
            let verdict = verdict(Int(decision.test), record, scratch)
            at = verdict == decision.wanted ? decision.onTrue : decision.onFalse
        }
        return at == Program.accept
    }

    /// What test `test` says of the record that ``begin(_:_:)`` was called with; worked out once an event.
    @inline(__always)
    func verdict(_ test: Int, _ record: Record, _ scratch: MatchScratch) -> Verdict {
        let kept = scratch.verdicts[test]
        if kept >> 2 == scratch.stamp { return Verdict(rawValue: UInt8(truncatingIfNeeded: kept & 3))! }
        let compiled = tests.address(of: test)
        if compiled.pointee.needsData, !scratch.hasData { extractData(record, scratch) }
        let verdict = evaluate(compiled, record, scratch)
        scratch.verdicts[test] = scratch.stamp << 2 | UInt64(verdict.rawValue)
        return verdict
    }

    func extractData(_ record: Record, _ scratch: MatchScratch) {
        scratch.hasData = true
        guard let dataPaths else { return }
        guard record.dataKind == UInt8(FL_DATA_JSON) else {
            scratch.tally.opaque += 1
            scratch.values.update(repeating: fl_value(), count: dataPaths.count)
            return
        }
        dataPaths.extract(from: record.data, with: scratch.reader, into: scratch.values)
    }
}

/// An array that is read without a check or a reference count, by whoever keeps its bounds.
final class FrozenArray<Element: BitwiseCopyable>: @unchecked Sendable {
    private let elements: UnsafeMutableBufferPointer<Element>

    init(_ array: [Element]) {
        elements = .allocate(capacity: array.count)
        _ = elements.initialize(from: array)
    }

    deinit {
        elements.deallocate()
    }

    var count: Int { elements.count }
    subscript(index: Int) -> Element { elements[index] }
    func address(of index: Int) -> UnsafePointer<Element> { UnsafePointer(elements.baseAddress! + index) }
    func run(_ start: Int, _ count: Int) -> UnsafeBufferPointer<Element> {
        UnsafeBufferPointer(rebasing: UnsafeBufferPointer(elements)[start..<start + count])
    }
}

/// The attributes that filters ask for, found by their bytes.
final class FrozenNames: Sendable {
    private let text: FrozenArray<UInt8>
    private let bounds: FrozenArray<Int>
    let count: Int

    init(_ names: [String]) {
        text = FrozenArray(names.flatMap { Array($0.utf8) })
        bounds = FrozenArray(names.reduce(into: [0]) { $0.append($0.last! + $1.utf8.count) })
        count = names.count
    }

    func place(of name: fl_span) -> Int? {
        for place in 0..<count {
            let start = bounds[place]
            guard bounds[place + 1] - start == name.length else { continue }
            if memcmp(text.address(of: start), name.bytes, name.length) == 0 { return place }
        }
        return nil
    }
}
