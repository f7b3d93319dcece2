// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering
import Testing

@Suite struct ParserTests {
    @Test(arguments: [
        ("type='a'", "type = 'a'"), ("Type = \"a\" AND NOT Exists data.X", "type = 'a' and not exists data.X"),
        ("a = 1 or b = 2 and c = 3", "a = 1 or (b = 2 and c = 3)"),
        ("(a = 1 or b = 2) and c = 3", "(a = 1 or b = 2) and c = 3"),
        ("((a = 1))", "a = 1"), ("not a = 1", "not (a = 1)"), ("not not a", "not not a"), ("5 < data.x", "data.x > 5"),
        ("a <> 1", "a != 1"), ("data.x is missing", "not exists data.x"), ("data.x is not missing", "exists data.x"),
        ("data.x is not null", "not (data.x is null)"), ("data.x not in (1,2)", "not (data.x in (1, 2))"),
        ("attr['type'] = 'a'", "type = 'a'"), ("attr['in'] = 'a'", "attr['in'] = 'a'"),
        ("attr.0x = 'a'", "attr['0x'] = 'a'"),
        ("data['a b'][0][*].c-d = 1", "data['a b'][0][*].c-d = 1"), ("data.x = 'it''s'", "data.x = 'it''s'"),
        ("data.x = 'it\\'s'", "data.x = 'it''s'"), ("data.x = \"a\\b\"", "data.x = 'a\\b'"),
        ("data.x = \"\\'\"", "data.x = \"\\'\""),
        ("data.x = 1e3", "data.x = 1000.0"), ("data.x = -0.5", "data.x = -0.5"), ("data.flag", "data.flag"),
        ("data.flag = true", "data.flag"), ("data.flag = false", "data.flag = false"), ("true", "true"),
        ("data = 1", "data = 1"),
        ("lower( data.x ) = 'a'", "lower(data.x) = 'a'"), ("META.topic = 'o'", "meta.topic = 'o'"),
    ])
    func canonicalText(_ text: String, _ canonical: String) throws {
        let filter = try Filter.parse(text)
        #expect(filter.text == canonical)
        #expect(try Filter.parse(canonical).text == canonical)
    }

    @Test(arguments: [
        ("", 1, "a filter is missing"),
        ("type = ", 8, "expected a value or a path after `=`, found the end of the text"),
        ("type = 'a' data.x", 12, "expected `and` or `or`, found `data.x`"),
        ("(type = 'a'", 1, "this parenthesis is not closed"),
        ("data.x in ()", 12, "`in` needs a value"),
        ("data.x like data.y", 13, "expected a text in quotes after `like`, found `data.y`"),
        ("1 = 1", 1, "a comparison needs a path"), ("data.x = null", 10, "nothing equals null"),
        ("data.items[-1] = 1", 12, "an index is a number from 0 to 100000"),
        ("data. = 1", 6, "expected a key after `.`, found ` `"),
        ("meta.received = 'soon'", 17, "'soon' is not a time"),
        ("data.a[*] = data.b[*]", 13, "`[*]` on both sides of a comparison"),
        ("subject is number", 12, "an attribute is always text or missing"),
        ("data.x and", 11, "expected a predicate after `and`"),
        ("data.x = 'é' and data.y ==", 25, "`==` is not an operator"),
        ("data.x = 1e999", 10, "1e999 is too large for a number"),
        ("num(type) = 'a'", 13, "num(type) is a number, and 'a' is a string"), ("'a'", 1, "'a' is no predicate"),
    ])
    func refusals(_ text: String, _ column: Int, _ message: String) {
        let error = #expect(throws: FilterError.self) { try Filter.parse(text) }
        #expect(error?.message == message)
        #expect(error?.column == column)
        #expect(error?.line == 1)
    }

    @Test func theErrorShowsItsPlace() {
        let error = #expect(throws: FilterError.self) { try Filter.parse("type = 'a'\n\tand data.x == 1") }
        #expect(
            error?.description == """
                filter:2:13: `==` is not an operator
                \tand data.x == 1
                \t           ^^ write `=`
                """)
    }

    @Test func boundsAreKept() {
        func message(_ text: String) -> String? {
            #expect(throws: FilterError.self) { try Filter.parse(text) }?.message
        }
        #expect(
            message(String(repeating: "(", count: 33) + "a" + String(repeating: ")", count: 33))
                == "the filter nests deeper than 32")
        #expect(message(String(repeating: "not ", count: 100_000) + "a") == "the filter nests deeper than 32")
        #expect(
            message((0...256).map { "a\($0)" }.joined(separator: " or ")) == "the filter has more than 256 predicates")
        #expect(
            message("a in (\((0...1_000).map(String.init).joined(separator: ",")))") == "`in` has more than 1000 values"
        )
        #expect(
            message("data.x = '\(String(repeating: "x", count: 4_100))'")
                == "the filter is 4111 bytes; the limit is 4096")
    }

    @Test func randomTextNeverTraps() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = Generator(state: seed)
        let words = [
            "and", "or", "not", "(", ")", "data", ".", "a", "[*]", "[", "]", "=", "!=", "<", "'", "\"", "\\", "1", "-",
            "1e", "in", "like", "exists", "is", "null", ",", "lower(", "\n", "é", "meta.", "attr", "\0",
        ]
        var read = 0
        for _ in 0..<20_000 {
            let text = (0..<Int.random(in: 0...8, using: &random)).map { _ in words.randomElement(using: &random)! }
                .joined(separator: Bool.random(using: &random) ? " " : "")
            if let filter = try? Filter.parse(text) {
                read += 1
                #expect((try? Filter.parse(filter.text).text) == filter.text, "seed \(seed): \(text)")
            }
        }
        #expect(read > 100)
    }

    @Test func aScratchGoesFromMatcherToMatcher() throws {
        let first = Matcher([try Filter.parse("data.a = 1"), nil])
        let second = Matcher([try Filter.parse("data.b = 1"), try Filter.parse("type = 'order.placed'"), nil])
        let scratch = first.makeScratch()
        for _ in 0..<3 {
            var found: [Int] = []
            first.match(record(#"{"a": 1}"#), scratch) { found.append($0) }
            #expect(found == [0, 1])
            found = []
            second.match(record(#"{"a": 1}"#), scratch) { found.append($0) }
            #expect(found == [1, 2])
        }
    }
}
