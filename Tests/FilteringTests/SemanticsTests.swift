// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering
import Testing

/// Each case is a filter, data and the verdict.
@Suite struct SemanticsTests {
    static let data = """
        {"total": 120, "half": 0.5, "big": 9007199254740993, "text": "Zoë", "digits": "42", "yes": true, "no": false,
         "nothing": null, "items": [{"sku": "A-1", "n": 1}, {"sku": "B-2"}, {"n": 3}], "tags": ["x", "y"], "empty": [],
         "nested": {"deep": {"est": 1}}, "with space": 1, "esc\\u0061ped": 2, "huge": 1e400, "grid": [[1, 2], [3]]}
        """

    @Test(arguments: [
        // Comparisons of the data: no coercion.
        ("data.total = 120", Verdict.isTrue), ("data.total = 120.0", .isTrue), ("data.total != 120", .isFalse),
        ("data.total >= 100", .isTrue), ("data.total < 100", .isFalse), ("100 <= data.total", .isTrue),
        ("data.total = '120'", .unknown), ("data.digits = 42", .unknown), ("data.digits = '42'", .isTrue),
        ("data.half > 0.4", .isTrue), ("data.big = 9007199254740993", .isTrue),
        ("data.big = 9007199254740992", .isFalse),
        ("data.yes", .isTrue), ("data.no", .isFalse), ("data.yes = 1", .unknown), ("data.total", .unknown),
        ("data.text = 'Zoë'", .isTrue), ("data.text < 'a'", .isTrue), ("data.text > \"a\"", .isFalse),
        // Missing, null and misfits are unknown.
        ("data.absent = 1", .unknown), ("data.absent != 1", .unknown), ("not data.absent = 1", .unknown),
        ("data.nothing = 1", .unknown), ("data.items = 1", .unknown), ("data.nested = 'x'", .unknown),
        ("data.huge > 1", .unknown), ("data.huge is number", .isTrue), ("data.total.deeper = 1", .unknown),
        // `exists` and `is` are total.
        ("exists data.total", .isTrue), ("exists data.absent", .isFalse), ("exists data.nothing", .isFalse),
        ("data.nothing is null", .isTrue), ("data.absent is null", .isFalse), ("data.absent is missing", .isTrue),
        ("data.nothing is missing", .isTrue), ("data.total is not missing", .isTrue), ("data.items is array", .isTrue),
        ("data.nested is object", .isTrue), ("data.text is not string", .isFalse), ("data.yes is boolean", .isTrue),
        ("data is object", .isTrue),
        // Kleene's logic.
        ("data.yes and data.absent", .unknown), ("data.no and data.absent", .isFalse),
        ("data.yes or data.absent", .isTrue),
        ("data.no or data.absent", .unknown), ("not (data.absent or data.yes)", .isFalse),
        ("not data.absent and data.no", .isFalse), ("true", .isTrue), ("false", .isFalse), ("not true", .isFalse),
        ("data.no or data.yes and data.yes", .isTrue), ("(data.yes or data.no) and data.no", .isFalse),
        ("data.absent != 'US'", .unknown), ("data.absent is missing or data.absent != 'US'", .isTrue),
        // Lists of values.
        ("data.total in (1, 120)", .isTrue), ("data.total in (1, 2)", .isFalse), ("data.total not in (1, 2)", .isTrue),
        ("data.text in ('a', 'Zoë')", .isTrue), ("data.absent in (1)", .unknown), ("data.absent not in (1)", .unknown),
        ("data.total in ('a')", .unknown),
        // Text.
        ("data.text like 'Z%'", .isTrue), ("data.text like 'Zo_'", .isTrue), ("data.text like 'Z_'", .isFalse),
        ("data.text like '%o%'", .isTrue), ("data.text not like 'x%'", .isTrue), ("data.total like '1%'", .unknown),
        ("data.text startswith 'Zo'", .isTrue), ("data.text endswith 'ë'", .isTrue),
        ("data.text contains 'oë'", .isTrue),
        ("data.text contains 'oe'", .isFalse), ("data.text not startswith 'Zo'", .isFalse),
        ("data.absent contains ''", .unknown),
        // Functions.
        ("lower(data.text) = 'zoë'", .isTrue), ("length(data.text) = 3", .isTrue), ("length(data.items) = 3", .isTrue),
        ("length(data.empty) = 0", .isTrue), ("length(data.total) = 3", .unknown), ("num(data.digits) >= 42", .isTrue),
        ("num(data.text) = 1", .unknown), ("str(data.total) = '120'", .isTrue), ("str(data.half) = '0.5'", .isTrue),
        ("str(data.yes) = 'true'", .isTrue), ("str(data.nested) = 'x'", .unknown),
        ("lower(data.total) = 'x'", .unknown),
        // Arrays: only `[*]` looks inside.
        ("data.items[*].sku = 'A-1'", .isTrue), ("data.items[*].sku = 'C-3'", .unknown),
        ("data.items[*].n = 3", .isTrue),
        ("data.tags[*] = 'y'", .isTrue), ("data.tags[*] = 'z'", .isFalse), ("not (data.tags[*] = 'z')", .isTrue),
        ("data.empty[*] = 1", .isFalse), ("not (data.empty[*] = 1)", .isTrue), ("data.absent[*] = 1", .unknown),
        ("data.total[*] = 1", .unknown), ("exists data.items[*].n", .isTrue), ("exists data.items[*].q", .isFalse),
        ("exists data.empty[*]", .isFalse), ("data.tags[*] in ('q', 'x')", .isTrue),
        ("data.tags[*] like 'x%'", .isTrue),
        ("data.grid[*][*] = 3", .isTrue), ("data.grid[*][1] = 2", .isTrue), ("data.grid[0][*] = 3", .isFalse),
        ("data.items[*].n < data.total", .isTrue), ("data.total > data.items[*].n", .isTrue),
        // Elements by number, and keys that need quotes.
        ("data.items[0].sku = 'A-1'", .isTrue), ("data.items[9].sku = 'A-1'", .unknown),
        ("data.tags[1] = 'y'", .isTrue),
        ("data['with space'] = 1", .isTrue), ("data.escaped = 2", .isTrue), ("data.nested['deep'].est = 1", .isTrue),
        // Two paths.
        ("data.total > data.half", .isTrue), ("data.text = data.digits", .isFalse),
        ("data.text = data.total", .unknown),
        ("data.yes = data.no", .isFalse), ("data.yes < data.no", .unknown), ("data.total = data.absent", .unknown),
        ("data.absent = data.empty[*]", .unknown), ("data.empty[*] = data.absent", .unknown),
        ("data.total = data.empty[*]", .isFalse), ("data.nothing = data.empty[*]", .unknown),
    ])
    func ofTheData(_ filter: String, _ expected: Verdict) throws {
        let filter = try Filter.parse(filter)
        let record = record(Self.data)
        #expect(filter.explain(record).verdict == expected, "\(filter)")
        #expect(filter.matches(record, nil) == (expected == .isTrue))
        let negated = Filter(.not(filter.root))
        #expect(negated.matches(record, nil) == (expected == .isFalse), "not (\(filter))")
    }

    @Test(arguments: [
        ("type = 'order.placed'", Verdict.isTrue), ("type != 'order.placed'", .isFalse),
        ("TYPE = 'order.placed'", .isTrue),
        ("type startswith 'order.'", .isTrue), ("subject = 'vip'", .unknown), ("exists subject", .isFalse),
        ("subject is missing", .isTrue), ("attr['source'] = '/shop'", .isTrue), ("attr.id = 'e-1'", .isTrue),
        // An attribute takes the literal's type, however it was sent.
        ("count = 10", .isTrue), ("count = '10'", .isTrue), ("count > 9", .isTrue), ("count > '9'", .isTrue),
        ("count = true", .isTrue), ("textcount = 10", .isTrue), ("textcount < 9.5", .isFalse), ("flag = true", .isTrue),
        ("flag", .isTrue), ("flag = 1", .isTrue), ("flag = 'true'", .isTrue), ("loud = true", .isTrue),
        ("type = 1", .unknown),
        ("type = true", .unknown), ("type > 5", .unknown), ("count in (1, 10)", .isTrue),
        ("num(textcount) = 10", .isTrue),
        // Times order as instants.
        ("time > '2026-03-09T14:00:00+01:00'", .isTrue), ("time > '2026-03-09T16:05:00+01:00'", .isFalse),
        ("time = '2026-03-09T14:05:00Z'", .isTrue), ("time like '2026-%'", .isTrue),
        // Two attributes: `=` takes the right one's type, ordering is numeric.
        ("textcount = count", .isTrue), ("padded = count", .isTrue), ("count = padded", .isFalse),
        ("padded >= count", .isTrue),
        ("loud = flag", .isTrue), ("flag = loud", .isFalse), ("type < source", .unknown),
        // An attribute and the data: the attribute takes the data's type.
        ("count = data.ten", .isTrue), ("data.ten = padded", .isTrue), ("count = data.tentext", .isTrue),
        ("padded = data.tentext", .isFalse), ("flag = data.yes", .isTrue), ("count < data.ten", .isFalse),
        // What the broker knows.
        ("meta.topic = 'orders'", .isTrue), ("meta.topic startswith 'ord'", .isTrue),
        ("meta.topic = 'stock'", .isFalse),
        ("meta.received < '2000-01-01T00:00:00Z'", .isTrue), ("meta.received >= '1970-01-01T00:00:00Z'", .isTrue),
    ])
    func ofTheAttributes(_ filter: String, _ expected: Verdict) throws {
        let filter = try Filter.parse(filter)
        let record = record(
            #"{"ten": 10, "tentext": "10", "yes": true}"#,
            [
                ("count", .integer(10)), ("textcount", .string("10")), ("padded", .string("010")),
                ("flag", .boolean(true)),
                ("loud", .string("TRUE")), ("time", .string("2026-03-09T14:05:00Z")),
            ])
        #expect(filter.explain(record).verdict == expected, "\(filter)")
        #expect(filter.matches(record, nil) == (expected == .isTrue))
    }

    @Test(arguments: [
        "{}", "[1,2]", "5", "null", "\"text\"", "{\"a\":", "", "nonsense", "{\"a\" 1}", "[", "\"", "{\"a\":1}}}", "tru",
    ])
    func oddDataIsMissingAndNeverACrash(_ data: String) throws {
        let record = record(data)
        #expect(try !Filter.parse("data.a.b = 1 or data.items[*].x = 1 or data[7] = 1").matches(record, nil))
        #expect(try Filter.parse("data.a.b is missing").matches(record, nil))
    }

    @Test func aRootThatIsNoObjectCanBeAskedForToo() throws {
        #expect(try Filter.parse("data = 5").matches(record("5"), nil))
        #expect(try Filter.parse("data[1] = 'b'").matches(record(#"["a","b"]"#), nil))
        #expect(try Filter.parse("data[*] = 'b'").matches(record(#"["a","b"]"#), nil))
        #expect(try Filter.parse("data is null").matches(record("null"), nil))
    }

    @Test func ofEqualKeysTheFirstCounts() throws {
        #expect(try Filter.parse("data.a = 1").matches(record(#"{"a": 1, "a": 2}"#), nil))
        #expect(try Filter.parse("data.a = 1 and data.b = 3").matches(record(#"{"a": 1, "\u0061": 2, "b": 3}"#), nil))
    }

    @Test func withoutJSONThereIsNoData() throws {
        var builder = RecordBatchBuilder(topic: .named("orders"), key: nil, capacity: 64)
        builder.append(Event(id: "1", source: "s", type: "t", data: .text(Array(#"{"a":1}"#.utf8))))
        #expect(try !Filter.parse("data.a = 1").matches(builder.finish()[0], nil))
        #expect(try Filter.parse("data.a is missing").matches(record(nil), nil))
    }

    @Test func anExplanationNamesEachValue() throws {
        let filter = try Filter.parse(
            "type = 'order.placed' and (data.total >= 100 or exists data.vip) and data.tags[*] = 'b'")
        let explanation = filter.explain(record(#"{"total": 50, "tags": ["a", "b"]}"#))
        #expect(explanation.verdict == .isFalse)
        #expect(
            explanation.leaves.map { [$0.text, $0.values.joined(separator: "; "), $0.verdict.text] } == [
                ["type = 'order.placed'", "type = 'order.placed'", "true"],
                ["data.total >= 100", "data.total = 50", "false"],
                ["exists data.vip", "data.vip = missing", "false"],
                ["data.tags[*] = 'b'", "data.tags[*] = ['a', 'b']", "true"],
            ])
    }
}
