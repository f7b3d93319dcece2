// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering
import Testing

/// The index: it leads to every filter that is true, and to few others.
@Suite struct IndexTests {
    private func found(_ matcher: Matcher, _ record: Record) -> [Int] {
        var found: [Int] = []
        matcher.match(record, matcher.makeScratch()) { found.append($0) }
        return found.sorted()
    }

    private func candidates(_ filters: [String], _ record: Record) throws -> Int {
        let matcher = Matcher(try filters.map { try Filter.parse($0) }, isIndexed: true)
        return matcher.candidateCount(record, matcher.makeScratch())
    }

    /// Each filter, its data, and whether the index leads to it.
    @Test(arguments: [
        ("data.a = 'x'", #"{"a": "x"}"#, true), ("data.a = 'x'", #"{"a": "y"}"#, false),
        ("data.a startswith 'xy'", #"{"a": "xyz"}"#, true), ("data.a startswith 'xy'", #"{"a": "x"}"#, false),
        ("data.a like 'xy%z'", #"{"a": "xya"}"#, true), ("data.a like 'xy%z'", #"{"a": "ayz"}"#, false),
        ("data.a endswith 'yz'", #"{"a": "xyz"}"#, true), ("data.a endswith 'yz'", #"{"a": "yzx"}"#, false),
        ("data.a > 5", #"{"a": 6}"#, true), ("data.a > 5", #"{"a": 4}"#, false), ("data.a > 5", #"{"a": "6"}"#, false),
        ("data.a >= 1 and data.a < 5", #"{"a": 3}"#, true), ("data.a >= 1 and data.a < 5", #"{"a": 7}"#, false),
        ("data.a >= 1 and data.a < 5", #"{"a": 0}"#, false), ("data.a > 5 and data.a < 1", #"{"a": 3}"#, false),
        ("data.a is null", #"{"a": null}"#, true), ("data.a is null", #"{"a": 1}"#, false),
        ("data.a is null", "{}", false), ("data.a[*] = 2", #"{"a": [1, 2]}"#, true),
        ("data.a[*] = 2", #"{"a": [1, 3]}"#, false), ("data.a[*].b > 2", #"{"a": [{"b": 1}, {"b": 3}]}"#, true),
        ("data.a[*].b > 2", #"{"a": [{"b": 1}]}"#, false), ("data.a[*] is null", #"{"a": [1, null]}"#, true),
        ("data.a[*] is null", #"{"a": [1]}"#, false), ("not (data.a = 1)", "{}", false),
        ("data.a contains 'x'", "{}", false), ("data.a = 1 or data.b = 2", #"{"b": 2}"#, true),
        ("data.a = 1 or data.b = 2", #"{"a": 2, "b": 1}"#, false), ("data.a is missing", #"{"a": 1}"#, true),
        ("cesql \"type = 'order.placed' AND LENGTH(type) > 99\"", "{}", true), ("cesql \"type = 'x'\"", "{}", false),
        ("cesql \"LENGTH(nothing) > 1\"", "{}", false), ("cesql \"NOT EXISTS type\"", "{}", true),
    ])
    func whatAFilterIsFiledUnder(_ filter: String, _ data: String, _ isLedTo: Bool) throws {
        #expect(try candidates([filter], record(data)) == (isLedTo ? 1 : 0))
    }

    @Test func aListThatManyShareIsIndexedByTheirOtherDemands() throws {
        let filters = (0..<2_000).map { "type = 't\($0 % 10)' and data.total >= \($0)" }
        #expect(try candidates(filters, record(#"{"total": 100}"#, type: "t3")) == 10)
        #expect(try candidates(filters, record(#"{"total": "100"}"#, type: "t3")) == 0)
        #expect(try candidates(filters, record(#"{"total": 100}"#, type: "t10")) == 0)
    }

    @Test func rangesThatDoNotHoldTheNumberAreNotVisited() throws {
        let filters = (0..<5_000).map { "data.total >= \($0 * 10) and data.total < \($0 * 10 + 10)" }
        #expect(try candidates(filters, record(#"{"total": 25005}"#)) == 1)
    }

    /// Few values and demands that all share, so that lists of lists are built.
    @Test func listsOfListsAgreeWithBruteForce() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = Generator(state: seed)
        let shared = try [
            "type = 'a'", "type in ('a', 'b', 'ab')", "count = 10", "flag = true", "type startswith 'a'",
            "data.a[*] = 1",
            "data.a = 1", "type endswith 'b'", "cesql \"type = 'a'\"", "type = 'a' or count = 10", "data.a is null",
        ].map { try Filter.parse($0).root }
        for round in 0..<5 {
            let filters = (0..<700).map { _ -> Filter in
                var terms = (0..<Int.random(in: 1...3, using: &random)).map { _ in random.pick(shared) }
                terms.append(random.expression(depth: 2))
                return Filter(random.chance(90) ? .and(terms) : .or(terms))
            }
            let plain = Matcher(filters, isIndexed: false)
            let indexed = Matcher(filters, isIndexed: true)
            var (looked, asked) = (0, 0)
            for _ in 0..<15 {
                var event = random.event()
                if random.chance(60) { event.attributes["type"] = .string(random.pick(["a", "ab", "b"])) }
                let record = event.record
                #expect(found(plain, record) == found(indexed, record), "seed \(seed), round \(round)")
                looked += indexed.candidateCount(record, indexed.makeScratch())
                asked += filters.count
            }
            #expect(looked < asked * 2 / 3, "seed \(seed), round \(round)")
        }
    }

    /// The text that a lookup was made of was overwritten by the functions of the filters it had led to.
    @Test func textThatIsLookedUpOutlivesTheFiltersAskedMeanwhile() throws {
        let filters = try [
            "lower(data.a) = 'abc' and lower(data.b) = 'x'", "lower(data.a) startswith 'ab'",
            "lower(data.a) endswith 'bc'",
        ].map { try Filter.parse($0) }
        let long = String(repeating: "y", count: 500)
        #expect(found(Matcher(filters, isIndexed: true), record(#"{"a": "ABC", "b": "\#(long)"}"#)) == [1, 2])
    }

    @Test func sameFiltersInOtherGenerationsStandAlone() throws {
        let scratch = MatchScratch()
        for count in [1, 500, 3, 80] {
            let filters = try (0..<count).map { try Filter.parse("type = 'order.placed' and data.n = \($0)") }
            let matcher = Matcher(filters, isIndexed: true)
            var found: [Int] = []
            matcher.match(record(#"{"n": 2}"#), scratch) { found.append($0) }
            #expect(found == (count > 2 ? [2] : []))
        }
    }
}
