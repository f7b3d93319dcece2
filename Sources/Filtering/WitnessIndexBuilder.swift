// SPDX-License-Identifier: Apache-2.0

import Events

/// Chooses the keys each filter is filed under, and lays the index out.
///
/// Of the keys that follow from a filter those are taken that few filters share. A list that stays long all the same is
/// indexed once more by what its filters demand beside its key, and so on to a depth.
struct WitnessIndexBuilder {
    private(set) var entries: [WitnessIndex.Entry] = []
    private(set) var groups: [WitnessIndex.Run] = []
    private(set) var always: [Int32] = []
    private(set) var lengths: [Int] = []
    private(set) var postings: [Int32] = []
    private(set) var ranges: [WitnessIndex.Range] = []
    private(set) var slots: [WitnessIndex.Slot] = []
    private(set) var text: [UInt8] = []

    private let trees: [WitnessTree]
    private let keys: [WitnessKey]
    /// For each key the number of its source, and of sources how many ranges there are.
    private var sourceNumbers: [Int32] = []
    private var rangeCounts: [Int]
    /// For each key how many filters of the list at hand have it.
    private var counts: [Int]
    /// Whether a key, or all of a source, is decided for the list at hand.
    private var isKeyDecided: [Bool]
    private var isSourceDecided: [Bool]

    /// What stands under one key, to be put into the hash table.
    private struct Filed {
        var hash: UInt64
        var text: WitnessIndex.Run
        var filters: [Int32]
        var group: Int32 = -1
    }
    private var filed: [Filed] = []
    private var texts: [Int32: WitnessIndex.Run] = [:]

    /// A list that is too long.
    private struct Hot {
        var place: Int
        var decided: [Int32]
    }
    private var hot: [Hot] = []
    /// Filings that lists of lists may still cost, so that filters with many keys can't multiply them.
    private var budget: Int

    init(_ filters: [Filter?], _ program: Program) {
        var interned = WitnessKeys()
        trees = filters.map { $0.map { program.witnesses($0.root, false, &interned) } ?? .none }
        keys = interned.keys
        var numbers: [Program.Source: Int32] = [:]
        for key in keys {
            let next = Int32(numbers.count)
            let number = numbers[key.source] ?? next
            if number == next { numbers[key.source] = next }
            sourceNumbers.append(number)
        }
        rangeCounts = Array(repeating: 0, count: numbers.count)
        counts = Array(repeating: 0, count: keys.count)
        isKeyDecided = Array(repeating: false, count: keys.count)
        isSourceDecided = Array(repeating: false, count: numbers.count)
        budget = filters.count * Limits.filterIndexRefilingsMax
    }

    mutating func build() {
        let (rest, choices) = choose(trees.indices.map { Int32($0) }, isRoot: true)
        always = rest
        file(choices, decided: [])
        var next = 0
        while next < hot.count {
            split(hot[next])
            next += 1
        }
        freeze()
    }

    private mutating func split(_ list: Hot) {
        let filters = filed[list.place].filters
        guard budget >= filters.count else { return }
        decide(list.decided, true)
        defer { decide(list.decided, false) }
        let (rest, choices) = choose(filters, isRoot: false)
        guard choices.count >= Limits.filterIndexListMax / 2 else { return }
        budget -= choices.reduce(0) { $0 + $1.keys.count }
        filed[list.place].filters = rest
        filed[list.place].group = Int32(groups.count)
        file(choices, decided: list.decided)
    }

    private mutating func decide(_ decided: [Int32], _ value: Bool) {
        for key in decided {
            isKeyDecided[Int(key)] = value
            if keys[Int(key)].isExact { isSourceDecided[Int(sourceNumbers[Int(key)])] = value }
        }
    }

    // MARK: choosing

    private typealias Choice = (filter: Int32, keys: [Int32])

    /// The keys of each filter, and the filters that have none.
    private mutating func choose(_ filters: [Int32], isRoot: Bool) -> (rest: [Int32], choices: [Choice]) {
        for filter in filters { count(trees[Int(filter)], 1) }
        defer { for filter in filters { count(trees[Int(filter)], -1) } }
        var rest: [Int32] = []
        var choices: [Choice] = []
        for filter in filters {
            if let (keys, _) = best(trees[Int(filter)], isRoot) {
                choices.append((filter, keys.count > 1 ? Array(Set(keys)).sorted() : keys))
            } else {
                rest.append(filter)
            }
        }
        return (rest, choices)
    }

    private mutating func count(_ tree: WitnessTree, _ step: Int) {
        switch tree {
        case .none: break
        case .keys(let found):
            for key in found {
                counts[Int(key)] += step
                if case .range = keys[Int(key)] { rangeCounts[Int(sourceNumbers[Int(key)])] += step }
            }
        case .and(let terms), .or(let terms): for term in terms { count(term, step) }
        }
    }

    private func best(_ tree: WitnessTree, _ isRoot: Bool) -> (keys: [Int32], cost: Int)? {
        switch tree {
        case .none: return nil
        case .keys(let found):
            var cost = 0
            for key in found {
                // Of a key that is decided nothing more follows.
                if isKeyDecided[Int(key)] || isSourceDecided[Int(sourceNumbers[Int(key)])] { return nil }
                if !isRoot, case .present = keys[Int(key)] { return nil }
                cost += self.cost(of: Int(key))
            }
            return (found, cost)
        case .and(let terms):
            var best: (keys: [Int32], cost: Int)?
            for term in terms {
                guard let found = self.best(term, isRoot), best.map({ found.cost < $0.cost }) ?? true else { continue }
                best = found
            }
            return best
        case .or(let terms):
            var all: (keys: [Int32], cost: Int) = ([], 0)
            for term in terms {
                guard let found = best(term, isRoot) else { return nil }
                all.keys += found.keys
                all.cost += found.cost
            }
            return all
        }
    }

    /// Roughly the filters that an event meets along with one that is filed under the key.
    private func cost(of key: Int) -> Int {
        switch keys[key] {
        case .text, .number, .boolean, .null: counts[key]
        case .prefix, .suffix: 4 * counts[key]
        case .range(_, let low, let high):
            low.isFinite && high.isFinite
                ? max(16, rangeCounts[Int(sourceNumbers[key])] / 16)
                : max(64, rangeCounts[Int(sourceNumbers[key])] / 2)
        case .present: 256 * counts[key]
        }
    }

    // MARK: filing

    /// Appends a group that leads to the chosen filters.
    private mutating func file(_ choices: [Choice], decided: [Int32]) {
        let start = entries.count
        var places: [Int32: Int] = [:]
        var known: [Int32: Int] = [:]
        var lists = Lists()
        let firstFiled = filed.count
        var filedKeys: [Int32] = []
        for (filter, chosen) in choices {
            for key in chosen {
                let number = sourceNumbers[Int(key)]
                let entry: Int
                if let place = places[number] {
                    entry = place
                } else {
                    entry = entries.count
                    places[number] = entry
                    entries.append(WitnessIndex.Entry(source: keys[Int(key)].source))
                }
                switch keys[Int(key)] {
                case .range(_, let low, let high):
                    lists.ranges[entry, default: []].append(
                        WitnessIndex.Range(low: low, high: high, highest: high, filter: filter))
                    continue
                case .null:
                    lists.null[entry, default: []].append(filter)
                    continue
                case .present:
                    lists.present[entry, default: []].append(filter)
                    continue
                case .text, .number, .boolean, .prefix, .suffix: break
                }
                if let place = known[key] {
                    filed[place].filters.append(filter)
                    continue
                }
                known[key] = filed.count
                filedKeys.append(key)
                let (text, kind) = hashedText(key)
                switch kind {
                case .text: entries[entry].hasText = true
                case .number: entries[entry].hasNumbers = true
                case .boolean: entries[entry].hasBooleans = true
                case .prefix: lists.prefixes[entry, default: []].insert(text.count)
                case .suffix: lists.suffixes[entry, default: []].insert(text.count)
                }
                let hash = self.text.withUnsafeBufferPointer {
                    WitnessIndex.hash(
                        UnsafeBufferPointer(rebasing: $0[text.start..<text.start + text.count]), kind, entry)
                }
                filed.append(Filed(hash: hash, text: text, filters: [filter]))
            }
        }
        lay(lists, start..<entries.count)
        groups.append(WitnessIndex.Run(start: start, count: entries.count - start))
        guard decided.count < Limits.filterIndexDepthMax else { return }
        for (place, key) in zip(firstFiled..., filedKeys) where filed[place].filters.count > Limits.filterIndexListMax {
            hot.append(Hot(place: place, decided: decided + [key]))
        }
    }

    private struct Lists {
        var present: [Int: [Int32]] = [:]
        var null: [Int: [Int32]] = [:]
        var ranges: [Int: [WitnessIndex.Range]] = [:]
        var prefixes: [Int: Set<Int>] = [:]
        var suffixes: [Int: Set<Int>] = [:]
    }

    private mutating func hashedText(_ key: Int32) -> (WitnessIndex.Run, WitnessIndex.KeyClass) {
        let (bytes, kind): ([UInt8], WitnessIndex.KeyClass) =
            switch keys[Int(key)] {
            case .text(_, let bytes): (bytes, .text)
            case .number(_, let number): (withUnsafeBytes(of: number.bitPattern) { Array($0) }, .number)
            case .boolean(_, let value): ([value ? 1 : 0], .boolean)
            case .prefix(_, let bytes): (bytes, .prefix)
            case .suffix(_, let bytes): (bytes, .suffix)
            case .range, .null, .present: preconditionFailure("only what is looked up by its bytes is hashed")
            }
        if let run = texts[key] { return (run, kind) }
        let run = WitnessIndex.Run(start: text.count, count: bytes.count)
        text += bytes
        texts[key] = run
        return (run, kind)
    }

    private mutating func lay(_ lists: Lists, _ group: Range<Int>) {
        for entry in group {
            entries[entry].present = post(lists.present[entry] ?? [])
            entries[entry].null = post(lists.null[entry] ?? [])
            entries[entry].prefixes = lay(lists.prefixes[entry] ?? [])
            entries[entry].suffixes = lay(lists.suffixes[entry] ?? [])
            let sorted = (lists.ranges[entry] ?? []).sorted { $0.low < $1.low }
            entries[entry].ranges = WitnessIndex.Run(start: ranges.count, count: sorted.count)
            ranges += sorted
            _ = highest(entries[entry].ranges.start, ranges.count)
        }
    }

    private mutating func lay(_ found: Set<Int>) -> WitnessIndex.Run {
        defer { lengths += found.sorted() }
        return WitnessIndex.Run(start: lengths.count, count: found.count)
    }

    private mutating func post(_ filters: [Int32]) -> WitnessIndex.Run {
        defer { postings += filters }
        return WitnessIndex.Run(start: postings.count, count: filters.count)
    }

    private mutating func highest(_ low: Int, _ high: Int) -> Double {
        guard low < high else { return -.infinity }
        let middle = (low + high) / 2
        ranges[middle].highest = max(ranges[middle].high, highest(low, middle), highest(middle + 1, high))
        return ranges[middle].highest
    }

    private mutating func freeze() {
        // At most half full, so that a search ends soon.
        var size = 2
        while size < filed.count * 2 { size *= 2 }
        slots = Array(repeating: WitnessIndex.Slot(), count: size)
        for list in filed {
            var slot = Int(list.hash & UInt64(size - 1))
            while slots[slot].hash != 0 { slot = (slot + 1) & (size - 1) }
            slots[slot] = WitnessIndex.Slot(
                hash: list.hash, text: list.text, postings: post(list.filters), group: list.group)
        }
    }
}
