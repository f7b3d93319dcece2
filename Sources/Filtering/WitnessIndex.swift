// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events

/// From an event's values to the filters that may be true of it: every filter that is true is among them.
///
/// A value is looked up as text, number or boolean, by its beginnings and ends of the lengths that occur, and among the
/// ranges of its path. Filters that nothing can be looked up for are asked of every event.
final class WitnessIndex: Sendable {
    /// One path, with what is filed under it.
    struct Entry {
        var source: Program.Source
        var hasText = false
        var hasNumbers = false
        var hasBooleans = false
        /// Runs of `lengths`, `postings` and `ranges`.
        var prefixes = Run()
        var suffixes = Run()
        var present = Run()
        var null = Run()
        var ranges = Run()
    }

    struct Run {
        var start = 0
        var count = 0
    }

    /// A place of the hash table.
    struct Slot {
        var hash: UInt64 = 0
        var text = Run()
        var postings = Run()
    }

    /// Sorted by `low`; `highest` is the largest `high` of the half of the array that this element is the middle of.
    struct Range {
        var low: Double
        var high: Double
        var highest: Double
        var filter: Int32
    }

    enum KeyClass: UInt64 { case text = 1, number, boolean, prefix, suffix }

    let entries: FrozenArray<Entry>
    let always: FrozenArray<Int32>
    let needsData: Bool
    private let lengths: FrozenArray<Int>
    private let postings: FrozenArray<Int32>
    private let ranges: FrozenArray<Range>
    private let slots: FrozenArray<Slot>
    private let text: FrozenArray<UInt8>
    private let mask: UInt64

    init(_ filters: [Filter?], _ program: Program) {
        var builder = Builder()
        var frequencies = Program.Frequencies()
        for filter in filters {
            if let filter { program.count(filter.root, false, &frequencies) }
        }
        for (number, filter) in filters.enumerated() {
            guard let filter, case .keys(let keys) = program.witness(filter.root, false, frequencies) else {
                builder.always.append(Int32(number))
                continue
            }
            for key in keys { builder.add(key, Int32(number)) }
        }
        builder.freeze()
        entries = FrozenArray(builder.entries)
        always = FrozenArray(builder.always)
        needsData = builder.entries.contains { $0.source.kind == .data }
        lengths = FrozenArray(builder.lengths)
        postings = FrozenArray(builder.postings)
        ranges = FrozenArray(builder.ranges)
        slots = FrozenArray(builder.slots)
        text = FrozenArray(builder.text)
        mask = UInt64(builder.slots.count - 1)
    }

    // MARK: looking up

    func visit(_ run: Run, _ body: (Int32) -> Void) {
        for place in run.start..<run.start + run.count { body(postings[place]) }
    }

    func visitText(_ entry: Int, _ value: UnsafeBufferPointer<UInt8>, _ body: (Int32) -> Void) {
        let compiled = entries.address(of: entry)
        if compiled.pointee.hasText { look(up: value, .text, entry, body) }
        for place in compiled.pointee.prefixes.start..<compiled.pointee.prefixes.start + compiled.pointee.prefixes.count
        {
            let length = lengths[place]
            guard length <= value.count else { break }
            look(up: UnsafeBufferPointer(rebasing: value[0..<length]), .prefix, entry, body)
        }
        for place in compiled.pointee.suffixes.start..<compiled.pointee.suffixes.start + compiled.pointee.suffixes.count
        {
            let length = lengths[place]
            guard length <= value.count else { break }
            look(up: UnsafeBufferPointer(rebasing: value[(value.count - length)...]), .suffix, entry, body)
        }
    }

    func visitNumber(_ entry: Int, _ number: Double, _ body: (Int32) -> Void) {
        let compiled = entries.address(of: entry)
        if compiled.pointee.hasNumbers {
            var bits = (number == 0 ? 0 : number).bitPattern
            withUnsafeBytes(of: &bits) { look(up: $0.assumingMemoryBound(to: UInt8.self), .number, entry, body) }
        }
        let run = compiled.pointee.ranges
        stab(run.start, run.start + run.count, number, body)
    }

    func visitBoolean(_ entry: Int, _ value: Bool, _ body: (Int32) -> Void) {
        guard entries.address(of: entry).pointee.hasBooleans else { return }
        var byte: UInt8 = value ? 1 : 0
        withUnsafeBytes(of: &byte) { look(up: $0.assumingMemoryBound(to: UInt8.self), .boolean, entry, body) }
    }

    private func stab(_ low: Int, _ high: Int, _ number: Double, _ body: (Int32) -> Void) {
        guard low < high else { return }
        let middle = (low + high) / 2
        let range = ranges.address(of: middle)
        guard range.pointee.highest >= number else { return }
        stab(low, middle, number, body)
        guard range.pointee.low <= number else { return }
        if range.pointee.high >= number { body(range.pointee.filter) }
        stab(middle + 1, high, number, body)
    }

    private func look(
        up value: UnsafeBufferPointer<UInt8>, _ kind: KeyClass, _ entry: Int, _ body: (Int32) -> Void
    ) {
        let hash = Self.hash(value, kind, entry)
        var place = hash & mask
        while true {
            let slot = slots.address(of: Int(place))
            if slot.pointee.hash == 0 { return }
            if slot.pointee.hash == hash, slot.pointee.text.count == value.count,
                value.isEmpty || equal(slot.pointee.text.start, value)
            {
                visit(slot.pointee.postings, body)
                return
            }
            place = (place + 1) & mask
        }
    }

    private func equal(_ start: Int, _ value: UnsafeBufferPointer<UInt8>) -> Bool {
        let known = text.address(of: start)
        for place in 0..<value.count where known[place] != value[place] { return false }
        return true
    }

    /// A multiply-and-rotate hash of eight bytes at a time; never 0. Two keys of different kinds with equal bytes and
    /// an equal hash would only bring a candidate too many.
    static func hash(_ bytes: UnsafeBufferPointer<UInt8>, _ kind: KeyClass, _ entry: Int) -> UInt64 {
        let factor: UInt64 = 0x9E37_79B9_7F4A_7C15
        var hash = (UInt64(entry) << 3 | kind.rawValue) &* factor
        let raw = UnsafeRawBufferPointer(bytes)
        var at = 0
        while at + 8 <= raw.count {
            hash = (hash ^ raw.loadUnaligned(fromByteOffset: at, as: UInt64.self)) &* factor
            hash ^= hash >> 29
            at += 8
        }
        var rest: UInt64 = UInt64(raw.count) << 56
        var shift: UInt64 = 0
        while at < raw.count {
            rest |= UInt64(raw[at]) << shift
            shift += 8
            at += 1
        }
        hash = (hash ^ rest) &* factor
        return (hash ^ hash >> 32) | 1
    }
}

extension WitnessIndex {
    private struct Builder {
        var entries: [Entry] = []
        var always: [Int32] = []
        var lengths: [Int] = []
        var postings: [Int32] = []
        var ranges: [Range] = []
        var slots: [Slot] = []
        var text: [UInt8] = []

        private var places: [Program.Source: Int] = [:]
        private var filed: [[Int32]] = []
        private var hashed: [(hash: UInt64, text: Run, filed: Int)] = []
        private var known: [WitnessKey: Int] = [:]
        private var present: [Int: [Int32]] = [:]
        private var null: [Int: [Int32]] = [:]
        private var spans: [Int: [Range]] = [:]
        private var prefixes: [Int: Set<Int>] = [:]
        private var suffixes: [Int: Set<Int>] = [:]

        private mutating func entry(_ source: Program.Source) -> Int {
            if let place = places[source] { return place }
            places[source] = entries.count
            entries.append(Entry(source: source))
            return entries.count - 1
        }

        mutating func add(_ key: WitnessKey, _ filter: Int32) {
            switch key {
            case .text(let source, let bytes):
                let entry = entry(source)
                entries[entry].hasText = true
                file(key, bytes, .text, entry, filter)
            case .number(let source, let number):
                let entry = entry(source)
                entries[entry].hasNumbers = true
                file(key, withUnsafeBytes(of: number.bitPattern) { Array($0) }, .number, entry, filter)
            case .boolean(let source, let value):
                let entry = entry(source)
                entries[entry].hasBooleans = true
                file(key, [value ? 1 : 0], .boolean, entry, filter)
            case .prefix(let source, let bytes):
                let entry = entry(source)
                prefixes[entry, default: []].insert(bytes.count)
                file(key, bytes, .prefix, entry, filter)
            case .suffix(let source, let bytes):
                let entry = entry(source)
                suffixes[entry, default: []].insert(bytes.count)
                file(key, bytes, .suffix, entry, filter)
            case .range(let source, let low, let high):
                spans[entry(source), default: []].append(Range(low: low, high: high, highest: high, filter: filter))
            case .null(let source): null[entry(source), default: []].append(filter)
            case .present(let source): present[entry(source), default: []].append(filter)
            }
        }

        private mutating func file(
            _ key: WitnessKey, _ bytes: [UInt8], _ kind: KeyClass, _ entry: Int, _ filter: Int32
        ) {
            if let place = known[key] {
                filed[place].append(filter)
                return
            }
            known[key] = filed.count
            let hash = bytes.withUnsafeBufferPointer { WitnessIndex.hash($0, kind, entry) }
            hashed.append((hash, Run(start: text.count, count: bytes.count), filed.count))
            text += bytes
            filed.append([filter])
        }

        private mutating func post(_ filters: [Int32]) -> Run {
            defer { postings += filters }
            return Run(start: postings.count, count: filters.count)
        }

        mutating func freeze() {
            for entry in entries.indices {
                entries[entry].present = post(present[entry] ?? [])
                entries[entry].null = post(null[entry] ?? [])
                entries[entry].prefixes = Run(start: lengths.count, count: prefixes[entry]?.count ?? 0)
                lengths += (prefixes[entry] ?? []).sorted()
                entries[entry].suffixes = Run(start: lengths.count, count: suffixes[entry]?.count ?? 0)
                lengths += (suffixes[entry] ?? []).sorted()
                let sorted = (spans[entry] ?? []).sorted { $0.low < $1.low }
                entries[entry].ranges = Run(start: ranges.count, count: sorted.count)
                ranges += sorted
                _ = highest(entries[entry].ranges.start, ranges.count)
            }
            // At most half full, so that a search ends soon.
            var size = 2
            while size < hashed.count * 2 { size *= 2 }
            slots = Array(repeating: Slot(), count: size)
            for (hash, text, place) in hashed {
                var slot = Int(hash & UInt64(size - 1))
                while slots[slot].hash != 0 { slot = (slot + 1) & (size - 1) }
                slots[slot] = Slot(hash: hash, text: text, postings: post(filed[place]))
            }
        }

        private mutating func highest(_ low: Int, _ high: Int) -> Double {
            guard low < high else { return -.infinity }
            let middle = (low + high) / 2
            ranges[middle].highest = max(ranges[middle].high, highest(low, middle), highest(middle + 1, high))
            return ranges[middle].highest
        }
    }
}
