// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering
import Testing

/// Random filters and events: the matcher, with and without its index, against the brute-force evaluator.
@Suite struct DifferentialTests {
    @Test func theMatcherAgreesWithBruteForce() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = Generator(state: seed)
        var verdicts: [Bool?: Int] = [:]
        for round in 0..<40 {
            let filters = (0..<60).map { _ in Filter(random.expression(depth: 3)) }
            let plain = Matcher(filters, isIndexed: false)
            let indexed = Matcher(filters, isIndexed: true)
            let scratch = plain.makeScratch()
            let other = indexed.makeScratch()
            for _ in 0..<25 {
                let event = random.event()
                let record = event.record
                let wanted = filters.map { event.evaluate($0.root) }
                for verdict in wanted { verdicts[verdict, default: 0] += 1 }
                let expected = Set(wanted.indices.filter { wanted[$0] == true })
                var found: [Int] = []
                plain.match(record, scratch) { found.append($0) }
                #expect(Set(found) == expected && found.count == expected.count, "seed \(seed), round \(round)")
                var led: [Int] = []
                indexed.match(record, other) { led.append($0) }
                #expect(led.count == Set(led).count, "seed \(seed), round \(round)")
                for place in Set(led).symmetricDifference(expected) {
                    Issue.record(
                        "seed \(seed), round \(round): \(filters[place]) on \(event.attributes) \(event.data?.text ?? "-") should be \(String(describing: wanted[place]))"
                    )
                }
            }
        }
        // The generator is worth something only while each verdict is common.
        for verdict in [true, false, nil] { #expect(verdicts[verdict, default: 0] > 3_000, "\(verdicts)") }
    }

    @Test func explanationsAgreeWithBruteForceOnAllThreeVerdicts() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = Generator(state: seed)
        for round in 0..<1_500 {
            let filter = Filter(random.expression(depth: 3))
            let event = random.event()
            let wanted: Verdict = event.evaluate(filter.root).map { $0 ? .isTrue : .isFalse } ?? .unknown
            #expect(filter.explain(event.record).verdict == wanted, "seed \(seed), round \(round): \(filter)")
            if wanted == .isTrue { #expect(filter.contradiction == nil, "seed \(seed), round \(round): \(filter)") }
        }
    }

    /// What a filter takes depends on itself alone: not on its neighbours, their number or their order.
    @Test func neighboursAndOrderChangeNothing() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = Generator(state: seed)
        for round in 0..<20 {
            let filters = (0..<30).map { _ in Filter(random.expression(depth: 3)) }
            let others = (0..<Int.random(in: 1...200, using: &random)).map { _ in Filter(random.expression(depth: 2)) }
            let order = (0..<filters.count + others.count).shuffled(using: &random)
            let mixed = order.map { $0 < filters.count ? filters[$0] : others[$0 - filters.count] }
            let (alone, among) = (Matcher(filters, isIndexed: true), Matcher(mixed, isIndexed: true))
            let (scratch, other) = (alone.makeScratch(), among.makeScratch())
            for _ in 0..<20 {
                let record = random.event().record
                var found: Set<Int> = []
                alone.match(record, scratch) { found.insert($0) }
                var mixedIn: Set<Int> = []
                among.match(record, other) { if order[$0] < filters.count { mixedIn.insert(order[$0]) } }
                #expect(found == mixedIn, "seed \(seed), round \(round)")
            }
        }
    }

    @Test func canonicalTextReadsBackAsTheSameFilter() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = Generator(state: seed)
        for round in 0..<2_000 {
            let filter = Filter(random.expression(depth: 4))
            let again = try Filter.parse(filter.text)
            #expect(again.text == filter.text, "seed \(seed), round \(round)")
        }
    }

    @Test func doubleNegationAndDeMorganHold() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = Generator(state: seed)
        for round in 0..<400 {
            let (a, b) = (random.expression(depth: 2), random.expression(depth: 2))
            let record = random.event().record
            func verdict(_ expression: Expression) -> Verdict { Filter(expression).explain(record).verdict }
            func takes(_ expression: Expression) -> Bool { Filter(expression).matches(record, nil) }
            let comment: Comment = "seed \(seed), round \(round)"
            #expect(verdict(.not(.not(a))) == verdict(a), comment)
            #expect(verdict(.not(.and([a, b]))) == verdict(.or([.not(a), .not(b)])), comment)
            #expect(verdict(.not(.or([a, b]))) == verdict(.and([.not(a), .not(b)])), comment)
            #expect(takes(.not(.and([a, b]))) == takes(.or([.not(a), .not(b)])), comment)
            #expect(takes(.not(.or([a, b]))) == takes(.and([.not(a), .not(b)])), comment)
            #expect(takes(.not(.not(a))) == takes(a), comment)
        }
    }

    @Test func bytesThatAreNoJSONNeverCrash() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = Generator(state: seed)
        let filters = (0..<60).map { _ in Filter(random.expression(depth: 3)) }
        let matcher = Matcher(filters)
        let scratch = matcher.makeScratch()
        for _ in 0..<3_000 {
            var bytes = Array((random.event().data?.text ?? "{}").utf8)
            for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes.remove(at: at)
                case 1: bytes[at] = UInt8.random(in: .min ... .max, using: &random)
                default: bytes.removeSubrange(at...)
                }
            }
            var builder = RecordBatchBuilder(topic: .named("orders"), key: nil, capacity: 512)
            builder.append(Event(id: "1", source: "s", type: "a", data: .json(bytes)))
            matcher.match(builder.finish()[0], scratch) { #expect($0 < filters.count) }
        }
    }
}

/// Few names and few values, so that they meet.
struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func pick<T>(_ items: [T]) -> T { items.randomElement(using: &self)! }
    mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }

    // MARK: events

    mutating func event() -> BruteForce {
        var attributes: [String: AttributeValue] = [
            "id": .string("1"), "source": .string("s"), "type": .string(word()), "specversion": .string("1.0"),
        ]
        for name in ["subject", "count", "flag"] where chance(60) {
            attributes[name] = pick([
                .string(word()), .string("10"), .string("TRUE"), .integer(10), .integer(0), .boolean(true),
                .string("1.5"),
            ])
        }
        return BruteForce(
            attributes: attributes, data: chance(90) ? object(depth: 2) : nil, topic: pick(["orders", "stock"]))
    }

    private mutating func word() -> String { pick(["a", "ab", "abc", "b", "ba", "Ab", "é", "10", "", "x_y", "true"]) }

    private mutating func object(depth: Int) -> JSON {
        .object(["a", "b", "c", "k\u{e9}y"].compactMap { key in chance(75) ? (key, json(depth: depth)) : nil })
    }

    private mutating func json(depth: Int) -> JSON {
        switch Int.random(in: 0..<(depth > 0 ? 11 : 7), using: &self) {
        case 0: .null
        case 1: .boolean(chance(50))
        case 2, 3: .integer(pick([0, 1, 2, 3, 10, -1, 9_007_199_254_740_993]))
        case 4: .number(pick([0.5, 1.5, 2.5, -3.25]))
        case 5, 6: .string(word())
        case 7, 8: .array((0..<Int.random(in: 0...3, using: &self)).map { _ in json(depth: depth - 1) })
        default: object(depth: depth - 1)
        }
    }

    // MARK: filters

    mutating func expression(depth: Int) -> Expression {
        guard depth > 0, chance(65) else { return leaf() }
        let count = Int.random(in: 2...3, using: &self)
        switch Int.random(in: 0..<5, using: &self) {
        case 0: return .not(expression(depth: depth - 1))
        case 1, 2: return .and(terms(count, depth) { if case .and = $0 { false } else { true } })
        default: return .or(terms(count, depth) { if case .or = $0 { false } else { true } })
        }
    }

    /// The parser flattens `and` in `and`, so such are not made.
    private mutating func terms(_ count: Int, _ depth: Int, _ isGood: (Expression) -> Bool) -> [Expression] {
        (0..<count).map { _ in
            var term = expression(depth: depth - 1)
            while !isGood(term) { term = expression(depth: depth - 1) }
            return term
        }
    }

    private mutating func leaf() -> Expression {
        while true {
            // The parser is the judge of what may be compared.
            let text = leafText()
            if let filter = try? Filter.parse(text) { return filter.root }
        }
    }

    private mutating func path() -> String {
        var path = "data"
        for _ in 0..<Int.random(in: 1...3, using: &self) {
            path += pick([".a", ".b", ".c", ".a", ".b", "['k\u{e9}y']", "[0]", "[1]", "[*]", "[*]"])
        }
        return chance(20) ? pick(["type", "subject", "count", "flag", "meta.topic", "specversion"]) : path
    }

    private mutating func operand() -> String {
        let path = path()
        return chance(20) ? pick(["lower", "length", "num", "str"]) + "(\(path))" : path
    }

    private mutating func literal() -> String {
        pick([
            "0", "1", "2", "10", "1.5", "-1", "9007199254740993", "true", "false", "'\(word())'", "'\(word())'",
            "'\(word())'",
        ])
    }

    private mutating func leafText() -> String {
        let comparison = pick(["=", "=", "!=", "<", "<=", ">", ">="])
        switch Int.random(in: 0..<12, using: &self) {
        case 0...3: return "\(operand()) \(comparison) \(literal())"
        case 4: return "\(operand()) \(comparison) \(operand())"
        case 5:
            return
                "\(operand()) \(pick(["in", "not in"])) (\((0..<Int.random(in: 1...3, using: &self)).map { _ in literal() }.joined(separator: ", ")))"
        case 6:
            return
                "\(operand()) \(pick(["like", "not like"])) '\(pick(["a%", "%b", "_", "a_c", "%", "%a%", "x\\_y", ""]))'"
        case 7, 8: return "\(operand()) \(pick(["startswith", "endswith", "contains", "not startswith"])) '\(word())'"
        case 9: return "exists \(path())"
        case 10:
            return
                "\(path()) \(pick(["is", "is not"])) \(pick(["missing", "null", "string", "number", "boolean", "array", "object"]))"
        default: return path()
        }
    }
}

extension BruteForce {
    var record: Record {
        var builder = RecordBatchBuilder(topic: .named(topic), key: nil, capacity: 512)
        let others = attributes.filter { !["id", "source", "type", "specversion"].contains($0.key) }.map {
            Event.Attribute($0.key, $0.value)
        }
        builder.append(
            Event(
                id: attributes["id"]!.canonical, source: attributes["source"]!.canonical,
                type: attributes["type"]!.canonical, attributes: others,
                data: data.map { .json(Array($0.text.utf8)) } ?? .none))
        return builder.finish()[0]
    }
}
