// SPDX-License-Identifier: Apache-2.0

import Events
import Testing

@testable import Scripting

@Suite(.timeLimit(.minutes(1)))
struct EventTests {
    private func expectAck(
        _ body: String, _ event: Event = .order("{}"), attempt: Int = 1, replay: Bool = false,
        _ location: SourceLocation = #_sourceLocation
    ) async throws {
        let harness = try await Harness("return function(event, ctx) \(body) end")
        let settlement = await harness.run([event], attempt: attempt, replay: replay)[0]
        #expect(settlement.outcome == .ack, sourceLocation: location)
    }

    @Test func everyFieldCanBeRead() async throws {
        var event = Event.order(#"{"n": 1}"#, id: "e-9")
        event.attributes = [
            .init("subject", .string("s")), .init("time", .string("2023-11-14T22:13:20.25+01:00")),
            .init("urgent", .boolean(true)), .init("weight", .integer(-5)), .init("tenant", .string("acme")),
        ]
        try await expectAck(
            """
            assert(event.id == "e-9") assert(event.type == "order.placed") assert(event.source == "/shop")
            assert(event.subject == "s") assert(event.topic == "orders") assert(event.key == nil)
            assert(math.type(event.offset) == "integer" and event.offset == 0)
            assert(event.attempt == 3) assert(event.replay == true)
            assert(event.urgent == true) assert(event.weight == -5) assert(event.tenant == "acme")
            assert(event.nothing == nil)
            assert(event.time == 1699996400.25, event.time)
            assert(event.data.n == 1)
            local seen = {}
            for name, value in pairs(event) do seen[name] = value end
            assert(seen.id == "e-9" and seen.tenant == "acme" and seen.data.n == 1 and seen.offset == 0)
            """, event, attempt: 3, replay: true)
    }

    @Test func aTimeThatIsNoTimestampIsTheRecordsTime() async throws {
        try await expectAck("assert(event.time == 1700000000.5)")
    }

    @Test func dataIsDecodedWithItsTypes() async throws {
        try await expectAck(
            """
            local d = event.data
            assert(math.type(d.int) == "integer" and d.int == 9007199254740993)
            assert(math.type(d.min) == "integer" and d.min == math.mininteger)
            assert(math.type(d.float) == "float" and d.float == 1.5)
            assert(math.type(d.whole) == "float")
            assert(d.null == ctx.null and d.null ~= nil and d.missing == nil)
            assert(d.yes == true and d.no == false)
            assert(d.list[3] == "z" and #d.list == 3)
            assert(d.text == "zażółć")
            assert(rawequal(event.data, d))
            """,
            .order(
                #"{"int": 9007199254740993, "min": -9223372036854775808, "float": 1.5, "whole": 2.0, "null": null, "#
                    + #""yes": true, "no": false, "list": ["x", "y", "z"], "text": "za\u017c\u00f3\u0142\u0107"}"#))
    }

    @Test func numbersBeyondInt64BecomeFloats() async throws {
        try await expectAck(
            "assert(event.data[1] == 1e30 and event.data[2] == 18446744073709551615.0 and event.data[3] == '1e30')",
            .order(#"[1000000000000000000000000000000, 18446744073709551615, "1e30"]"#))
    }

    @Test(arguments: [
        #"{"a":[],"b":{},"c":[1,[],{}]}"#, "[]", "{}", "null", #""text""#, "-5", "1.5", "2.0", "true", "[null,null]",
        #"{"e":"\"\\/\u0008\u000c\n\r\t\u0001é"}"#, "0.1", "1e+300", "[[[[]]]]", #"{"":{"":[{}]}}"#,
    ])
    func jsonSurvivesTheRoundTrip(_ json: String) async throws {
        try await expectAck(
            "assert(ctx.json.encode(event.data) == [==[\(json)]==], ctx.json.encode(event.data))", .order(json))
    }

    @Test func emptyArraysStayArrays() async throws {
        try await expectAck(
            #"assert(ctx.json.encode(event.data) == '{"a":[],"b":{},"c":[1,[],{}]}', ctx.json.encode(event.data))"#,
            .order(#"{"c":[1,[],{}],"a":[],"b":{}}"#))
        try await expectAck("assert(ctx.json.encode(ctx.json.array()) == '[]')")
    }

    @Test func textAndBinaryDataAreStrings() async throws {
        try await expectAck(
            #"assert(event.data == "héllo")"#,
            Event(id: "1", source: "/", type: "t", data: .text(Array("héllo".utf8))))
        try await expectAck(
            #"assert(event.data == "\0\255a")"#, Event(id: "1", source: "/", type: "t", data: .binary([0, 255, 97])))
        try await expectAck("assert(event.data == nil)", Event(id: "1", source: "/", type: "t"))
    }

    @Test func anEventCannotBeChanged() async throws {
        let harness = try await Harness("return function(event, ctx) event.id = 'x' end")
        guard case .retry(_, let reason) = await harness.run().outcome else {
            Issue.record("changed")
            return
        }
        #expect(
            reason
                == "Plugins/test.lua:1: event is read-only (field 'id'); copy it, or build a new event with ctx.publish"
        )
    }

    @Test func aKeptEventCannotBeReadOnceItIsSettled() async throws {
        let harness = try await Harness(
            """
            local kept
            return function(event, ctx)
              if kept then return nil, select(2, pcall(function() return kept.data end)) end
              kept = event
              assert(event.data.n == 1)
            end
            """)
        #expect(await harness.run(#"{"n": 1}"#).outcome == .ack)
        #expect(
            await harness.run().outcome
                == .retry(
                    after: nil,
                    reason: "Plugins/test.lua:3: the event is settled and can't be read any more; copy what you need "
                        + "while it is handled"))
    }

    @Test func dataThatIsNotJSONIsAnErrorOfTheEvent() async throws {
        let harness = try await Harness("return function(event, ctx) return event.data.x end")
        guard case .retry(_, let reason) = await harness.run("{\"a\":").outcome else {
            Issue.record("accepted")
            return
        }
        #expect(reason.contains("not JSON"))
    }
}
