// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering
import Testing

/// Each way in which the native dialect means to differ from CESQL: the same event, asked in both.
@Suite struct DialectTests {
    static let record = FilteringTests.record(
        #"{"total": 1.5}"#,
        [
            ("count", .integer(10)), ("padded", .string("010")), ("price", .string("1.5")), ("flag", .boolean(true)),
            ("time", .string("2026-03-09T14:05:00Z")),
        ])

    private func native(_ text: String) throws -> Verdict { try Filter.parse(text).explain(Self.record).verdict }
    private func strict(_ text: String) throws -> Verdict { try CESQLTests.filter(text).explain(Self.record).verdict }

    @Test func anOrWithAMissingLeftSideCanPass() throws {
        #expect(try native("nothing = 'a' or type = 'order.placed'") == .isTrue)
        #expect(try strict("nothing = 'a' OR type = 'order.placed'") == .unknown)
        #expect(try native("type = 'order.placed' or nothing = 'a'") == .isTrue)
        #expect(try strict("type = 'order.placed' OR nothing = 'a'") == .isTrue)
    }

    @Test func anAndWithAMissingLeftSideIsFalseWhereTheRightIs() throws {
        #expect(try native("nothing = 'a' and type = 'x'") == .isFalse)
        #expect(try native("not (nothing = 'a' and type = 'x')") == .isTrue)
        #expect(try strict("NOT (nothing = 'a' AND type = 'x')") == .unknown)
    }

    @Test func aMissingAttributeEqualsNothingInBoth() throws {
        #expect(try native("nothing != 'a'") == .unknown)
        #expect(try strict("nothing != 'a'") == .unknown)
        #expect(try native("nothing is missing or nothing != 'a'") == .isTrue)
        #expect(try strict("NOT EXISTS nothing OR nothing != 'a'") == .isTrue)
    }

    @Test func notTakesTheWholeComparison() throws {
        #expect(try native("not flag = false") == .isTrue)
        #expect(try Filter.parse("not flag = false").text == "not (flag = false)")
        #expect(try native("not type = 'x'") == .isTrue)
        #expect(try strict("NOT type = 'x'") == .unknown, "it casts type to a boolean first")
        #expect(try strict("NOT (type = 'x')") == .isTrue)
    }

    @Test func andBindsTighterThanOr() throws {
        #expect(try native("false and true or true") == .isTrue)
        #expect(try native("true or true and false") == .isTrue)
        #expect(throws: FilterError.self) { try self.strict("FALSE AND TRUE OR TRUE") }
        #expect(try strict("FALSE AND (TRUE OR TRUE)") == .isFalse)
    }

    @Test func anAttributeTakesTheTypeOfTheLiteralOnEitherSide() throws {
        #expect(try native("'010' = count") == .isFalse)
        #expect(try native("count = '010'") == .isFalse)
        #expect(try strict("'010' = count") == .isTrue, "the left value takes the right one's type")
        #expect(try strict("count = '010'") == .isFalse)
    }

    @Test func booleansAreWordsInAnyCaseOrNumbers() throws {
        #expect(try native("price = true") == .unknown)
        #expect(try strict("price = TRUE") == .unknown)
        #expect(try native("padded = true") == .isTrue, "the text of a number other than 0")
        #expect(try strict("padded = TRUE") == .unknown, "only `true` and `false` are cast")
    }

    @Test func aListTakesTheTypeOfItsValues() throws {
        #expect(try native("count in ('010')") == .isFalse)
        #expect(try strict("count IN ('010')") == .isTrue, "the values take the attribute's type")
    }

    @Test func aListHasValuesOfOneKind() throws {
        #expect(throws: FilterError.self) { try self.native("count in (10, 'a')") }
        #expect(try strict("count IN (10, 'a')") == .isTrue)
    }

    @Test func thereAreDecimals() throws {
        #expect(try native("price < 2.5") == .isTrue)
        #expect(throws: FilterError.self) { try self.strict("price < 2.5") }
        #expect(try strict("price < 3") == .unknown)
        #expect(try native("count < 3000000000") == .isTrue)
        #expect(throws: FilterError.self) { try self.strict("count < 3000000000") }
    }

    @Test func timesOrder() throws {
        #expect(try native("time >= '2026-03-09T15:00:00+01:00'") == .isTrue)
        #expect(try strict("time >= '2026-03-09T15:00:00+01:00'") == .unknown)
    }

    @Test func thereIsData() throws {
        #expect(try native("data.total > 1") == .isTrue)
        #expect(throws: FilterError.self) { try self.strict("data.total > 1") }
    }

    @Test func textOfAnAttributeHasNoOrder() throws {
        #expect(throws: FilterError.self) { try self.native("type > 'a'") }
        #expect(try strict("type > 'a'") == .unknown)
    }

    @Test func thereIsNoArithmetic() throws {
        #expect(throws: FilterError.self) { try self.native("count + 1 = 11") }
        #expect(try strict("count + 1 = 11") == .isTrue)
    }

    @Test func aConstantIsComparedWithAPathOnly() throws {
        #expect(throws: FilterError.self) { try self.native("1 = 1") }
        #expect(try strict("1 = 1") == .isTrue)
    }

    @Test func aStringDoublesItsDelimiter() throws {
        #expect(try native("type != 'it''s'") == .isTrue)
        #expect(throws: FilterError.self) { try self.strict("type != 'it''s'") }
        #expect(try native(#"type != 'it\'s'"#) == .isTrue)
        #expect(try strict(#"type != 'it\'s'"#) == .isTrue)
    }

    @Test(arguments: [
        ("a or b and c", [FilterWarning.Kind.mixedConnectives]), ("a or (b and c)", []), ("a and b and c", []),
        ("not a = 1", [.looseNot]), ("not a in (1)", [.looseNot]), ("not subject like 'a'", [.looseNot]),
        ("not (a = 1)", []), ("not a", []), ("not exists a", []), ("a not in (1)", []),
        ("not (not a = 1)", [.looseNot]), ("a = b", [.attributeTypes]), ("b = type", []),
        ("type = b", [.attributeTypes]),
        ("a < b", []), ("num(a) = num(b)", []), ("a = data.b", []),
    ])
    func whatMayBeReadOtherwiseIsSaid(_ text: String, _ kinds: [FilterWarning.Kind]) throws {
        var parser = FilterParser(Array(text.utf8), from: 0, isStatement: false)
        _ = try parser.parse()
        #expect(parser.warnings.map(\.kind) == kinds)
    }

    @Test func attributesCompareAlikeHoweverTheEventWasSent() throws {
        for event in [
            FilteringTests.record(nil, [("count", .integer(10)), ("flag", .boolean(true))]),
            FilteringTests.record(nil, [("count", .string("10")), ("flag", .string("true"))]),
        ] {
            for text in [
                "count = 10", "count = '10'", "count > 9.5", "count in (10)", "flag", "flag = 'true'", "flag = 1",
            ] {
                #expect(try Filter.parse(text).matches(event, nil), "\(text)")
            }
        }
    }
}
