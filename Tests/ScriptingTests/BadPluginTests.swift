// SPDX-License-Identifier: Apache-2.0

import Events
import Testing

@testable import Scripting

/// What a plugin that is wrong is told: where, what, and what to do about it. All are retries by policy.
@Suite(.timeLimit(.minutes(1)))
struct BadPluginTests {
    /// The reason and the trace of one attempt at a handler with `body` on its second line.
    private func failure(
        _ body: String, grants: [PluginGrant] = []
    ) async throws -> (reason: String, trace: String, effects: Effects?) {
        let harness = try await Harness("return function(event, ctx)\n\(body)\nend", grants: grants)
        let settlement = await harness.run()
        guard case .retry(nil, let reason) = settlement.outcome else {
            Issue.record("\(settlement.outcome)")
            return ("", "", nil)
        }
        return (reason, settlement.trace ?? "", settlement.effects)
    }

    @Test func aPluginThatReturnsNonsenseIsToldWhatToReturn() async throws {
        let failure = try await failure("return { status = 'ok' }")
        #expect(
            failure.reason
                == "Plugins/test.lua:1: plugin bug: the handler returned a table; return nothing or true when done, "
                + "ctx.retry{}, ctx.dead(why) or ctx.drop(why), or nil and an error message")
    }

    @Test func aPluginThatYieldsWhereItCanNotIsToldWhereItCan() async throws {
        let failure = try await failure("return (('a'):gsub('a', function() return ctx.state.get('k') end))")
        #expect(
            failure.reason
                == "Plugins/test.lua:2: cannot wait here: a callback of string.gsub, table.sort or a metamethod runs; "
                + "call ctx before or after it")
        #expect(failure.trace.contains("Plugins/test.lua:2: in function <Plugins/test.lua:1>"), "\(failure.trace)")
    }

    @Test func aPluginThatYieldsByItselfIsToldToSleep() async throws {
        let failure = try await failure("coroutine.yield(1)")
        #expect(
            failure.reason
                == "Plugins/test.lua:2: coroutine.yield outside a coroutine of the plugin's own; to wait, use ctx.sleep"
        )
    }

    @Test func aPluginThatAsksForAnUngrantedHostIsToldTheLineOfRoutesConf() async throws {
        let failure = try await failure(
            "ctx.http.get('https://api.example.com/x')", grants: [.http("other.example.com")])
        #expect(
            failure.reason
                == "Plugins/test.lua:2: HTTP to api.example.com is not granted to plugin \"test\"; "
                + "add `allow http \"api.example.com\"` to subscriber test in routes.conf")
        #expect(failure.trace.contains("Plugins/test.lua:2:"), "\(failure.trace)")
    }

    @Test func aPluginThatReadsAnUndeclaredGlobalIsToldItsName() async throws {
        let failure = try await failure("return tostrng(event.id)")
        #expect(
            failure.reason == "Plugins/test.lua:2: undeclared global 'tostrng' (misspelt, or a missing 'local'?)")
    }

    @Test func aPluginThatStoresAFunctionIsToldWhatCanBeStored() async throws {
        let failure = try await failure("ctx.state.put('a', 1) ctx.state.put('f', { f = print })")
        #expect(
            failure.reason
                == "Plugins/test.lua:2: a function can't be JSON; use strings, numbers, booleans, tables of them, or ctx.null"
        )
        #expect(failure.effects == nil)
    }

    @Test func aPluginThatPublishesACyclicTableIsToldSo() async throws {
        let failure = try await failure(
            "local t = {} t.t = t ctx.publish('stock', t)", grants: [.publish("stock")])
        #expect(
            failure.reason
                == "Plugins/test.lua:2: a table nested deeper than 64 levels, or containing itself, can't be JSON; "
                + "build a new table of what is needed")
    }

    @Test func aPluginThatPublishesInvalidUTF8IsToldHowToSendBytes() async throws {
        let failure = try await failure("ctx.publish('stock', { name = 'a\\255' })", grants: [.publish("stock")])
        #expect(
            failure.reason
                == "Plugins/test.lua:2: a string of 2 bytes is not UTF-8 and can't be JSON; ctx.crypto.base64 makes text of it"
        )
    }

    @Test func whateverIsThrownHasATraceWithTheLine() async throws {
        for body in ["error({ code = 5 })", "error()", "local x = nil + 1", "return ctx.http.get()"] {
            let failure = try await failure(body)
            #expect(failure.trace.contains("Plugins/test.lua:2: in function <Plugins/test.lua:1>"), "\(failure.trace)")
        }
    }
}
