// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering
import Testing

/// The strict dialect: cases of our own for each sentence of CESQL 1.0.
@Suite struct CESQLTests {
    static func filter(_ expression: String) throws(FilterError) -> Filter {
        try Filter.parse("cesql \(QuotedText.quote(expression))")
    }

    static let record = FilteringTests.record(
        #"{"total": 1}"#,
        [
            ("subject", .string("Größe")), ("count", .integer(10)), ("text", .string("10")), ("padded", .string("010")),
            ("flag", .boolean(true)), ("loud", .string("TRUE")), ("off", .boolean(false)), ("0x", .string("odd")),
            ("price", .string("1.5")), ("path", .string("a_b%c")),
        ])

    @Test(
        arguments: [
            // Lexis.
            ("TRUE", Verdict.isTrue), ("false", .isFalse), ("tRuE", .isTrue), ("TYPE = 'order.placed'", .isTrue),
            ("type\t=\r\n'order.placed'", .isTrue), ("0x = 'odd'", .isTrue), ("count = +10", .isTrue),
            ("'it\\'s' = \"it's\"", .isTrue), ("'a\\\"b' = 'a\\\"b'", .isTrue), ("LENGTH('a\\nb') = 4", .isTrue),
            ("4 - 1 = 3", .isTrue), ("4 - -1 = 5", .isTrue), ("4 +1 = 5", nil), ("-2147483648 < 0", .isTrue),
            // Precedence: sign and NOT, LIKE and IN, products, sums, comparisons, connectives.
            ("2 + 3 * 4 = 14", .isTrue), ("(2 + 3) * 4 = 20", .isTrue), ("10 - 3 - 2 = 5", .isTrue),
            ("20 / 2 / 5 = 2", .isTrue), ("-(count) = -10", .isTrue), ("- count = -10", .isTrue),
            ("NOT flag = off", .isTrue), ("NOT (flag = off)", .isTrue), ("NOT type = 'x'", .unknown),
            ("NOT EXISTS nothing", .isTrue), ("NOT flag OR flag", .isTrue), ("1 < 2 = TRUE", .isTrue),
            ("NOT 'x' LIKE 'x'", .unknown), ("NOT TRUE LIKE 'f%'", .isTrue), ("TRUE = 'a' LIKE 'a'", .isTrue),
            // `=` casts the left value to the type of the right one.
            ("TRUE = 'TRUE'", .isFalse), ("'TRUE' = TRUE", .isTrue), ("TRUE = 'true'", .isTrue), ("'10' = 10", .isTrue),
            ("10 = '10'", .isTrue), ("10 = '010'", .isFalse), ("'010' = 10", .isTrue), ("'x' = 10", .unknown),
            ("'x' = TRUE", .unknown), ("2 = TRUE", .isTrue), ("0 = FALSE", .isTrue), ("TRUE = 1", .isTrue),
            ("count = '10'", .isTrue), ("'010' = count", .isTrue), ("count = text", .isTrue), ("text = count", .isTrue),
            ("padded = text", .isFalse), ("padded = count", .isTrue), ("count = padded", .isFalse),
            ("flag = 'true'", .isTrue), ("loud = flag", .isTrue), ("flag = loud", .isFalse), ("type != 'x'", .isTrue),
            ("type <> 'order.placed'", .isFalse), ("'1.5' = 1", .unknown), ("'2147483648' = 1", .unknown),
            // Ordering is of integers alone.
            ("count > 9", .isTrue), ("text >= '10'", .isTrue), ("'b' > 'a'", .unknown), ("flag > off", .isTrue),
            ("price < 2", .unknown), ("padded <= 10", .isTrue), ("9 < count", .isTrue),
            // Arithmetic.
            ("7 / 2 = 3", .isTrue), ("-7 / 2 = -3", .isTrue), ("-7 % 2 = -1", .isTrue), ("7 % -2 = 1", .isTrue),
            ("1 / 0 = 0", .unknown), ("1 % 0 = 0", .unknown), ("2147483647 + 1 = 0", .unknown),
            ("-(-2147483648) = 0", .unknown), ("-2147483648 % -1 = 0", .isTrue), ("'3' * '4' = 12", .isTrue),
            ("TRUE + TRUE = 2", .isTrue),
            // Connectives: the left decides first.
            ("TRUE AND FALSE", .isFalse), ("TRUE XOR FALSE", .isTrue), ("TRUE XOR TRUE", .isFalse),
            ("TRUE XOR TRUE XOR TRUE", .isTrue), ("FALSE AND nothing = 'a'", .isFalse),
            ("nothing = 'a' AND FALSE", .unknown), ("type = 'order.placed' OR nothing = 'a'", .isTrue),
            ("nothing = 'a' OR type = 'order.placed'", .unknown), ("TRUE XOR nothing", .unknown),
            ("1 AND 'true'", .isTrue),
            ("flag AND 'yes'", .unknown),
            // A missing attribute is an error, except to EXISTS.
            ("nothing", .unknown), ("nothing = ''", .unknown), ("nothing != 'a'", .unknown), ("NOT nothing", .unknown),
            ("EXISTS subject", .isTrue), ("EXISTS nothing", .isFalse), ("EXISTS id AND EXISTS SOURCE", .isTrue),
            ("EXISTS type AND EXISTS specversion", .isTrue), ("specversion = '1.0'", .isTrue),
            // A result that is no boolean passes nothing.
            ("type", .unknown), ("count", .unknown), ("loud", .unknown), ("flag", .isTrue), ("off", .isFalse),
            ("1", .unknown), ("'true'", .unknown), ("BOOL('true')", .isTrue),
            // LIKE.
            ("type LIKE 'order%'", .isTrue), ("type NOT LIKE 'order%'", .isFalse), ("subject LIKE 'Gr__e'", .isTrue),
            ("subject LIKE 'gr%'", .isFalse), ("path LIKE 'a\\_b\\%c'", .isTrue),
            ("type LIKE 'order\\_placed'", .isFalse),
            ("count LIKE '1_'", .isTrue), ("flag LIKE 'tr%'", .isTrue), ("'' LIKE ''", .isTrue),
            // IN casts to the type of what is looked for.
            ("count IN (1, 10)", .isTrue), ("count IN ('010')", .isTrue), ("text IN ('010')", .isFalse),
            ("text IN (10)", .isTrue), ("type NOT IN ('a', 'b')", .isTrue), ("count IN (10, 'x')", .isTrue),
            ("count IN ('x', 10)", .unknown), ("TRUE IN (FALSE, 1 = 1)", .isTrue), ("nothing IN ('a')", .unknown),
            // Functions.
            ("INT('12') = 12", .isTrue), ("INT('x') = 0", .unknown), ("STRING(TRUE) = 'true'", .isTrue),
            ("STRING(1) = '1'", .isTrue), ("length(subject) = 5", .isTrue), ("LOWER('AbÄ') = 'abä'", .isTrue),
            ("UPPER('abä') = 'ABÄ'", .isTrue), ("TRIM('  a b ') = 'a b'", .isTrue), ("TRIM('  ') = ''", .isTrue),
            ("LEFT(subject, 3) = 'Grö'", .isTrue), ("RIGHT(subject, 2) = 'ße'", .isTrue),
            ("LEFT('ab', 9) = 'ab'", .isTrue),
            ("LEFT('ab', -1) = 'ab'", .unknown), ("SUBSTRING('abcd', 2) = 'bcd'", .isTrue),
            ("SUBSTRING('abcd', -2) = 'cd'", .isTrue), ("SUBSTRING('abcd', 2, 2) = 'bc'", .isTrue),
            ("SUBSTRING('abcd', 0) = ''", .isTrue), ("SUBSTRING('abcd', 5) = ''", .unknown),
            ("SUBSTRING('abcd', 1, -1) = ''", .unknown), ("SUBSTRING('abcd', 3, 9) = 'cd'", .isTrue),
            ("CONCAT('a', 1, TRUE) = 'a1true'", .isTrue), ("CONCAT() = ''", .isTrue),
            ("CONCAT_WS('-', 'a', 'b') = 'a-b'", .isTrue), ("CONCAT_WS('-') = ''", .isTrue), ("ABS(-5) = 5", .isTrue),
            ("ABS(-2147483648) = 2147483647", .unknown),
        ] as [(String, Verdict?)])
    func ofAnEvent(_ expression: String, _ expected: Verdict?) throws {
        guard let expected else {
            #expect(throws: FilterError.self) { try Self.filter(expression) }
            return
        }
        let filter = try Self.filter(expression)
        #expect(filter.explain(Self.record).verdict == expected, "\(expression)")
        #expect(filter.matches(Self.record, nil) == (expected == .isTrue))
        var found: [Int] = []
        let indexed = Matcher([filter, nil], isIndexed: true)
        indexed.match(Self.record, indexed.makeScratch()) { found.append($0) }
        #expect(found.contains(0) == (expected == .isTrue), "with the index")
        #expect(try Filter.parse(filter.text) == filter)
    }

    @Test(arguments: [
        ("", 8, "a CESQL expression is missing"), ("type = ", 15, "expected a value, found the end of the text"),
        ("4 -1 = 3", 10, "expected an operator or the end of the text, found `-1`"),
        ("2147483648 = 1", 8, "2147483648 is no CESQL integer"),
        ("type = 'a", 15, "this text has no closing quote"), ("(type = 'a'", 8, "this parenthesis is not closed"),
        ("type LIKE subject", 18, "expected a text in quotes after LIKE, found `subject`"),
        ("type IN ()", 16, "IN needs a value"), ("type NOT = 'a'", 17, "expected LIKE or IN after NOT, found `=`"),
        ("EXISTS 'a'", 15, "expected an attribute after EXISTS, found `'a'`"),
        ("data.total = 1", 12, "expected an operator or the end of the text, found `.`"),
        ("order_id = 1", 8, "`order_id` can't be an attribute, whose names have letters and digits only"),
        ("FOO(type) = 'a'", 8, "unknown function `FOO`"), ("LEFT(type) = 'a'", 8, "LEFT takes 2 values, found 1"),
        ("CONCAT_WS() = ''", 8, "CONCAT_WS takes 1 or more values, found 0"),
        ("a = 1 AND b = 2 OR c = 3", 24, "AND and OR are mixed without parentheses"),
        ("a XOR b AND c", 16, "XOR and AND are mixed without parentheses"),
        ("type = = 'a'", 15, "expected a value, found `=`"), ("type == 'a'", 14, "expected a value, found `=`"),
        ("!flag", 8, "expected a value, found `!`"), ("CONCAT('a' 'b') = 'ab'", 19, "expected `,` or `)`, found `'b'`"),
    ])
    func refusals(_ expression: String, _ column: Int, _ message: String) {
        let error = #expect(throws: FilterError.self) { try Self.filter(expression) }
        #expect(error?.message == message)
        #expect(error?.column == column)
    }

    @Test func theCaretStandsWhereItWasWrittenDespiteEscapes() {
        let error = #expect(throws: FilterError.self) {
            try Filter.parse(#"cesql "type = \"a\u{62}\" and  ? = 1""#)
        }
        #expect(
            error?.description == """
                filter:1:32: expected a value, found `?`
                cesql "type = \\"a\\u{62}\\" and  ? = 1"
                                               ^
                """)
    }

    @Test(arguments: [
        ("cesql 'TRUE'", 7, "a CESQL filter stands in double quotes"),
        (#"cesql "TRUE" and a = 1"#, 14, "a CESQL filter stands alone, found `and`"),
        (#"a = 1 and cesql "TRUE""#, 17, "expected `and` or `or`, found `\"`"),
        (#"cesql "TRUE"#, 7, "this text has no closing quote"), (#"cesql "a = '\q'""#, 13, "unknown escape `\\q`"),
    ])
    func itsQuotesAreRead(_ text: String, _ column: Int, _ message: String) {
        let error = #expect(throws: FilterError.self) { try Filter.parse(text) }
        #expect(error?.message == message)
        #expect(error?.column == column)
    }

    @Test func anAttributeMayBeCalledCesql() throws {
        #expect(try Filter.parse("cesql = 'a'").text == "cesql = 'a'")
    }

    @Test(arguments: [
        ("type='a'  and  not exists subject", "type = 'a' AND NOT EXISTS subject"),
        ("((type = \"a\"))", "type = 'a'"), ("a not in (1,2)", "a NOT IN (1, 2)"), ("not (a in (1))", "a NOT IN (1)"),
        ("not a in ('true')", "NOT a IN ('true')"), ("(a and b) and c", "a AND b AND c"),
        ("(a and b) or c", "(a AND b) OR c"), ("a <> 1", "a != 1"), ("(a + b) * 2 - 1 = 0", "(a + b) * 2 - 1 = 0"),
        ("a - (b - c) = 0", "a - (b - c) = 0"), ("- 5 < a", "- 5 < a"),
        ("concat_ws('-',a)='x'", "CONCAT_WS('-', a) = 'x'"),
        ("a = 'it\\'s'", "a = 'it\\'s'"), ("(a = b) = c", "a = b = c"), ("a = (b = c)", "a = (b = c)"),
    ])
    func canonicalText(_ expression: String, _ canonical: String) throws {
        let filter = try Self.filter(expression)
        let again = try Filter.parse(filter.text)
        #expect(again.text == filter.text)
        #expect(try filter == Self.filter(canonical))
        let escaped = canonical.replacing("\\", with: "\\\\")
        #expect(filter.text == "cesql \"\(escaped)\"")
    }

    @Test(
        arguments: [
            ("type = 'a' AND type = 'b'", "`type = 'a'` and `type = 'b'` exclude each other"),
            ("subject = 'a' AND NOT EXISTS subject", "`subject = 'a'` and `not exists subject` exclude each other"),
            ("LENGTH(type)", "its value is an integer, and only a boolean is true"),
            ("'true'", "its value is a string, and only a boolean is true"), ("1 = 2", "it is always false"),
            ("1 / 0 = 0", "it always ends in an error: division by 0"), ("FALSE AND EXISTS a", "it is `false`"),
            ("type = 'a' OR type = 'b'", nil), ("count = '010' AND count = 10", nil),
        ] as [(String, String?)])
    func contradictions(_ expression: String, _ reason: String?) throws {
        #expect(try Self.filter(expression).contradiction == reason)
    }

    @Test func itSeesNoData() throws {
        var paths: Set<DataPath> = []
        try Self.filter("total = 1 AND EXISTS type").collectDataPaths(into: &paths)
        #expect(paths.isEmpty)
    }

    @Test func anExplanationNamesTheAttributesAndTheError() throws {
        let leaves = try Self.filter("type = 'order.placed' AND nothing = 'a'").explain(Self.record).leaves
        #expect(leaves.map(\.text) == ["cesql \"type = 'order.placed' AND nothing = 'a'\""])
        #expect(leaves[0].verdict == .unknown)
        #expect(
            leaves[0].values == [
                "type = 'order.placed'", "nothing = missing", "error: there is no attribute nothing",
            ])
    }

    @Test func nestingIsNoDeeperInTheCanonicalText() throws {
        for text in ["- ", "NOT ", "- NOT "] {
            let deep = String(repeating: text, count: 32 / (text.count > 4 ? 2 : 1)) + "count"
            let filter = try Self.filter(deep)
            #expect(try Filter.parse(filter.text) == filter)
        }
    }

    @Test func randomTextNeverTraps() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = Generator(state: seed)
        let words = [
            "AND", "or", "XOR", "NOT", "(", ")", ",", "a", "0x", "type", "=", "!=", "<>", "<", "'", "\\", "'x'", "\\'",
            "1",
            "-", "+", "-1", "*", "/", "%", "IN", "LIKE", "'a%'", "EXISTS", "TRUE", "ABS(", "LEFT", "CONCAT(", "é", "\0",
            ".",
            "2147483648",
        ]
        var read = 0
        for _ in 0..<20_000 {
            let text = (0..<Int.random(in: 0...9, using: &random)).map { _ in random.pick(words) }
                .joined(separator: random.chance(70) ? " " : "")
            guard let filter = try? Self.filter(text) else { continue }
            read += 1
            _ = filter.matches(Self.record, nil)
            _ = filter.contradiction
            #expect((try? Filter.parse(filter.text)) == filter, "seed \(seed): \(text)")
        }
        #expect(read > 100)
    }

    @Test func boundsAreKept() {
        func message(_ expression: String) -> String? {
            #expect(throws: FilterError.self) { try Self.filter(expression) }?.message
        }
        #expect(
            message(String(repeating: "(", count: 33) + "a" + String(repeating: ")", count: 33))
                == "the filter nests deeper than 32")
        #expect(message(String(repeating: "NOT ", count: 10_000) + "a") == "the filter nests deeper than 32")
        #expect(message(String(repeating: "ABS(", count: 10_000)) == "the filter nests deeper than 32")
        let longest = "1" + String(repeating: " + 1", count: 255) + " = 256"
        #expect((try? Self.filter(longest))?.matches(Self.record, nil) == true)
        #expect(
            message("1" + String(repeating: " + 1", count: 257) + " = 1")
                == "the filter has more than 256 operators")
        #expect(message("a IN (\((0...1_000).map { "\($0)" }.joined(separator: ",")))") == "more than 1000 values")
        #expect(
            message("type = '\(String(repeating: "x", count: 4_100))'") == "the filter is 4117 bytes; the limit is 4096"
        )
    }
}
