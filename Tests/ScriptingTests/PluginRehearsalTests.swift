// SPDX-License-Identifier: Apache-2.0

import Events
import Testing

@testable import Scripting

/// A plugin on one side of a rehearsal, in the real host.
struct PluginRehearsalTests {
    private func rehearsal(
        _ code: String, _ grants: [PluginGrant] = [], from start: RehearsedState.Start = .init(),
        batch: PluginBinding.Batch? = nil
    ) async throws -> PluginRehearsal {
        try await PluginRehearsal(
            Harness.binding(code, grants: grants, batch: batch), from: start, stateOf: "test", environment: { _ in nil }
        )
    }

    private func deliveries(_ count: Int = 1) async throws -> [Delivery] {
        try await Harness("return function() end").deliveries(
            (0..<count).map { .order(#"{"n":\#($0)}"#, id: "e-\($0)") })
    }

    private static let success: @Sendable (OutboundRequest) -> Result<OutboundResponse, OutboundFailure> = { _ in
        .success(OutboundResponse(status: 200, headers: [], body: []))
    }

    @Test func stateGoesOnFromTheCopyAndFromEventToEvent() async throws {
        let start = RehearsedState.Start([("count", Array("7".utf8), nil)])
        let plugin = try await rehearsal(
            """
            return function(event, ctx)
              if ctx.state.add("count", 1) > 9 then return ctx.dead("beyond") end
            end
            """, from: start)
        for _ in 0..<2 {
            let trial = await plugin.handle(try await deliveries(), answering: Self.success)
            #expect(trial.rehearsedEffects.map(\.target) == ["add count"])
        }
        let third = await plugin.handle(try await deliveries(), answering: Self.success)
        #expect(third.outcome == .dead(reason: "beyond"), "each event sees what those before it wrote")
        let reader = try await rehearsal(
            "return function(event, ctx) return ctx.dead(tostring(ctx.state.get('count'))) end", from: start)
        let seen = await reader.handle(try await deliveries(), answering: Self.success)
        #expect(seen.outcome == .dead(reason: "7"), "two sides share nothing but the start")
        await plugin.stop()
        await reader.stop()
    }

    @Test func theTimeIsTheEvents() async throws {
        let plugin = try await rehearsal("return function(event, ctx) return ctx.dead(tostring(ctx.now())) end")
        let trial = await plugin.handle(try await deliveries(), answering: Self.success)
        #expect(trial.outcome == .dead(reason: "1700000000.5"))
        await plugin.stop()
    }

    @Test func anOlderStateIsMigratedOnTheCopy() async throws {
        let start = RehearsedState.Start([("old", Array("7".utf8), nil)], version: 1)
        let plugin = try await rehearsal(
            """
            return { state_version = 2,
              migrate = function(state, from) state.put("new", state.get("old")); state.delete("old") end,
              handle = function(event, ctx)
                return ctx.dead(tostring(ctx.state.get("new")) .. " " .. tostring(ctx.state.get("old")))
              end }
            """, from: start)
        let trial = await plugin.handle(try await deliveries(), answering: Self.success)
        #expect(trial.outcome == .dead(reason: "7 nil"))
        await plugin.stop()
    }

    @Test func aBatchIsOneCall() async throws {
        let plugin = try await rehearsal(
            "return { handle_batch = function(events, ctx) ctx.publish('stock', { n = #events }) end }",
            [.publish("stock")], batch: .init(count: 10, every: .milliseconds(1)))
        let trial = await plugin.handle(try await deliveries(3), answering: Self.success)
        #expect(trial.rehearsedEffects.map { $0.fields["data.n"] } == ["3"])
        await plugin.stop()
    }

    @Test func whatAnAttemptKeptOfAnAnswerIsFoundInItsReason() async throws {
        let endings: [(Result<OutboundResponse, OutboundFailure>, RecordedAnswer.Ending)] = [
            (
                .success(OutboundResponse(status: 400, headers: [], body: Array("invalid: payload\nx".utf8))),
                .status(400, body: "invalid: payload\nx")
            ),
            (.success(OutboundResponse(status: 503, headers: [], body: [])), .status(503, body: "")),
            (.failure(.timeout), .noAnswer),
            (.failure(.connection("refused")), .noConnection("refused")),
        ]
        for (answer, ending) in endings {
            let plugin = try await rehearsal(
                "return function(event, ctx) ctx.http.post('https://hooks.slack.com/a', { json = {} }) end",
                [.http("hooks.slack.com")])
            let trial = await plugin.handle(try await deliveries(), answering: { _ in answer })
            let reason = try #require(RehearsedResult(trial).reason)
            let recorded = try #require(RecordedAnswer(reason: reason), "\(reason)")
            #expect(recorded.method == "POST" && recorded.origin == "https://hooks.slack.com")
            #expect(recorded.ending == ending, "\(reason)")
            let request = OutboundRequest(
                method: "POST", url: "https://hooks.slack.com/b", timeout: .seconds(1), responseBytesMax: 1)
            #expect(recorded.answer(to: request) != nil)
            let elsewhere = OutboundRequest(
                method: "POST", url: "https://example.com/", timeout: .seconds(1), responseBytesMax: 1)
            #expect(recorded.answer(to: elsewhere) == nil)
            await plugin.stop()
        }
        #expect(RecordedAnswer(reason: "Plugins/slack.lua:4: attempt to index a nil value") == nil)
    }

    @Test func stateIsListedWithWhatThisSideHasWritten() throws {
        let time = Timestamp(milliseconds: 1_000)
        let state = RehearsedState(
            .init([
                ("a:1", Array("1".utf8), nil), ("a:2", Array("2".utf8), Timestamp(milliseconds: 500)),
                ("a:3", Array("3".utf8), nil), ("b", Array("4".utf8), nil),
            ]))
        state.move(to: time)
        state.apply([
            .delete(key: "a:1"), .put(key: "a:4", value: Array("5".utf8), expires: nil),
            .add(key: "a:3", delta: .integer(2)),
        ])
        func keys(_ prefix: String, after: String? = nil, limit: Int = 10) throws -> [String] {
            try state.values(subscriber: "", prefix: prefix, after: after, limit: limit).map {
                "\($0.key)=\(String(decoding: $0.value, as: UTF8.self))"
            }
        }
        #expect(try keys("a:") == ["a:3=5", "a:4=5"], "what was deleted or has expired is not there")
        #expect(try keys("") == ["a:3=5", "a:4=5", "b=4"])
        #expect(try keys("a:", after: "a:3") == ["a:4=5"])
        #expect(try keys("", limit: 1) == ["a:3=5"])
        #expect(try state.usage(subscriber: "").entries == 4)
    }
}
