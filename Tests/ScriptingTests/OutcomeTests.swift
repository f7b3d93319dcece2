// SPDX-License-Identifier: Apache-2.0

import Events
import Testing

@testable import Scripting

@Suite(.timeLimit(.minutes(1)))
struct OutcomeTests {
    /// Wraps an expression or statements into a handler.
    private func outcome(_ body: String) async throws -> Settlement {
        let harness = try await Harness("return function(event, ctx) \(body) end")
        return await harness.run()
    }

    @Test(arguments: ["", "return", "return true", "return true, 'x'", "local x = event.id"])
    func returningNothingOrTrueAcknowledges(_ body: String) async throws {
        #expect(try await outcome(body).outcome == .ack)
    }

    @Test(arguments: [
        ("return false", "the handler returned false"),
        ("return nil", "the handler returned nil"),
        ("return nil, 'no stock'", "no stock"),
        ("return false, 'no stock'", "no stock"),
        ("return nil, 'a', 'b'", "a"),
        ("return nil, {message = 'm'}", "m"),
    ])
    func falseOrNilWithAnErrorIsARetryForItsReason(_ body: String, _ reason: String) async throws {
        let settlement = try await outcome(body)
        #expect(settlement.outcome == .retry(after: nil, reason: reason))
    }

    @Test func aThrownErrorIsARetryWithTheLineAndATrace() async throws {
        let harness = try await Harness(
            """
            local function price(order)
              return order.total.amount
            end
            return function(event, ctx)
              local total = price(event.data)
              return total > 0
            end
            """)
        let settlement = await harness.run("{}")
        guard case .retry(nil, let reason) = settlement.outcome else {
            Issue.record("\(settlement.outcome)")
            return
        }
        #expect(reason == "Plugins/test.lua:2: attempt to index a nil value (field 'total')")
        let trace = try #require(settlement.trace)
        #expect(trace.contains("Plugins/test.lua:2: in upvalue 'price'"))
        #expect(!trace.contains("0x"))
    }

    @Test(arguments: [
        ("error({code = 5})", "an error value that is a table was thrown"),
        ("error({message = 'told'})", "told"),
        ("error()", "an error value that is a nil was thrown"),
        ("error('plain', 0)", "plain"),
        (
            "error(setmetatable({}, {__tostring = function() error('x') end}))",
            "an error value that is a table was thrown"
        ),
    ])
    func anyThrownValueIsARetry(_ body: String, _ reason: String) async throws {
        #expect(try await outcome(body).outcome == .retry(after: nil, reason: reason))
    }

    @Test(arguments: [
        ("return ctx.retry{after = '30s', reason = 'later'}", Outcome.retry(after: .seconds(30), reason: "later")),
        ("return ctx.retry{after = 1.5}", .retry(after: .milliseconds(1_500), reason: "the plugin asked for a retry")),
        ("return ctx.retry('busy')", .retry(after: nil, reason: "busy")),
        ("return ctx.retry{after = '40d'}", .retry(after: .seconds(3_600), reason: "the plugin asked for a retry")),
        ("return ctx.dead('no such order')", .dead(reason: "no such order")),
        ("return ctx.drop('not ours')", .drop(reason: "not ours")),
        ("error(ctx.dead('deep inside'))", .dead(reason: "deep inside")),
        ("return nil, ctx.dead('as an error')", .dead(reason: "as an error")),
    ])
    func anOutcomeReturnedOrThrownIsTaken(_ body: String, _ expected: Outcome) async throws {
        #expect(try await outcome(body).outcome == expected)
    }

    @Test(arguments: [("return 42", "a number (42)"), ("return 'ok'", "a string (\"ok\")"), ("return {}", "a table")])
    func anythingElseIsARetryAndAPluginBug(_ body: String, _ what: String) async throws {
        let harness = try await Harness("return function(event, ctx) \(body) end")
        for _ in 0..<2 {
            guard case .retry(nil, let reason) = await harness.run().outcome else {
                Issue.record("not retried")
                return
            }
            #expect(reason.hasPrefix("Plugins/test.lua:1: plugin bug: the handler returned \(what);"))
            #expect(reason.contains("return nothing or true when done"))
        }
        #expect(harness.services.logs.lines.filter { $0.text == "Plugin bug" }.count == 1)
    }

    @Test func manyEventsAreHandledInOrderAndAcknowledgedInBulk() async throws {
        let harness = try await Harness(
            """
            local last = -1
            return function(event)
              assert(event.offset == last + 1)
              last = event.offset
            end
            """)
        let settlements = await harness.run((0..<1_000).map { .order("{}", id: "e-\($0)") })
        #expect(settlements.allSatisfy { $0.outcome == .ack })
    }

    @Test func aBatchHandlerSettlesAllOrEach() async throws {
        let harness = try await Harness(
            """
            return { handle_batch = function(events, ctx)
              if #events == 2 then return ctx.retry("two") end
              return { true, false, ctx.dead("third"), 7 }
            end }
            """, batch: .init(count: 4, every: .milliseconds(1)))
        let two = await harness.run([.order("1"), .order("2")])
        #expect(two.map(\.outcome) == [.retry(after: nil, reason: "two"), .retry(after: nil, reason: "two")])
        let four = await harness.run((0..<4).map { .order("\($0)") })
        #expect(four[0].outcome == .ack)
        #expect(four[1].outcome == .retry(after: nil, reason: "handle_batch's table returned false"))
        #expect(four[2].outcome == .dead(reason: "third"))
        guard case .retry(nil, let reason) = four[3].outcome else {
            Issue.record("\(four[3])")
            return
        }
        #expect(reason.hasPrefix("Plugins/test.lua:1: plugin bug: handle_batch's table returned a number (7)"))
    }

    @Test func stoppingGivesBackWhatHasNotBegunAndCallsStop() async throws {
        let harness = try await Harness(
            """
            return {
              handle = function(event, ctx) ctx.sleep(60) end,
              stop = function(ctx, why) ctx.log.info("stopped for " .. why) end,
            }
            """)
        let deliveries = harness.deliveries((0..<3).map { .order("\($0)") })
        harness.destination.deliver(deliveries)
        await harness.destination.stop(.reload, deadline: .zero)
        let settlements = await harness.outcomes.settled(deliveries.map(\.id))
        #expect(settlements.allSatisfy { $0.outcome == .returned })
        #expect(harness.services.logs.lines.map(\.text) == ["stopped for reload"])
    }
}
