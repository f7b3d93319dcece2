// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events

/// From an event's values to the filters that may be true of it: every filter that is true is among them.
///
/// A value is looked up as text, number or boolean, by its beginnings and ends of the lengths that occur, and among the
/// ranges of its path. Filters that nothing can be looked up for are asked of every event.
///
/// A key that very many filters share leads to few of them and to a group: an index of the others by what they demand
/// beside the key.
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
        /// Where more filters under this key are found, by a second value; -1 is nowhere.
        var group: Int32 = -1
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
    /// Runs of `entries`. The first is where every event starts.
    let groups: FrozenArray<Run>
    private let lengths: FrozenArray<Int>
    private let postings: FrozenArray<Int32>
    private let ranges: FrozenArray<Range>
    private let slots: FrozenArray<Slot>
    private let text: FrozenArray<UInt8>
    private let mask: UInt64

    init(_ filters: [Filter?], _ program: Program) {
        var builder = WitnessIndexBuilder(filters, program)
        builder.build()
        entries = FrozenArray(builder.entries)
        groups = FrozenArray(builder.groups)
        always = FrozenArray(builder.always)
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

    func visitText(_ entry: Int, _ value: UnsafeBufferPointer<UInt8>, _ scratch: MatchScratch, _ body: (Int32) -> Void)
    {
        let compiled = entries.address(of: entry)
        if compiled.pointee.hasText { look(up: value, .text, entry, scratch, body) }
        for place in compiled.pointee.prefixes.start..<compiled.pointee.prefixes.start + compiled.pointee.prefixes.count
        {
            let length = lengths[place]
            guard length <= value.count else { break }
            look(up: UnsafeBufferPointer(rebasing: value[0..<length]), .prefix, entry, scratch, body)
        }
        for place in compiled.pointee.suffixes.start..<compiled.pointee.suffixes.start + compiled.pointee.suffixes.count
        {
            let length = lengths[place]
            guard length <= value.count else { break }
            look(up: UnsafeBufferPointer(rebasing: value[(value.count - length)...]), .suffix, entry, scratch, body)
        }
    }

    func visitNumber(_ entry: Int, _ number: Double, _ scratch: MatchScratch, _ body: (Int32) -> Void) {
        let compiled = entries.address(of: entry)
        if compiled.pointee.hasNumbers {
            var bits = (number == 0 ? 0 : number).bitPattern
            withUnsafeBytes(of: &bits) {
                look(up: $0.assumingMemoryBound(to: UInt8.self), .number, entry, scratch, body)
            }
        }
        let run = compiled.pointee.ranges
        stab(run.start, run.start + run.count, number, body)
    }

    func visitBoolean(_ entry: Int, _ value: Bool, _ scratch: MatchScratch, _ body: (Int32) -> Void) {
        guard entries.address(of: entry).pointee.hasBooleans else { return }
        var byte: UInt8 = value ? 1 : 0
        withUnsafeBytes(of: &byte) { look(up: $0.assumingMemoryBound(to: UInt8.self), .boolean, entry, scratch, body) }
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
        up value: UnsafeBufferPointer<UInt8>, _ kind: KeyClass, _ entry: Int, _ scratch: MatchScratch,
        _ body: (Int32) -> Void
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
                if slot.pointee.group >= 0 { scratch.groups.append(slot.pointee.group) }
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
