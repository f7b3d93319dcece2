// SPDX-License-Identifier: Apache-2.0

import Events
import Synchronization
import Testing

@testable import Scripting

/// `migrate`: what brings a subscriber's state to the version of its plugin.
@Suite(.timeLimit(.minutes(1)))
struct MigrationTests {
    private func plugin(version: Int, migrate: String? = nil) -> String {
        """
        return {
          state_version = \(version),
          handle = function(event, ctx) end,
          \(migrate.map { "migrate = function(state, from) \($0) end," } ?? "")
        }
        """
    }

    private func migration(
        _ code: String, from stored: Int?, state: [String: String] = ["a": "1"]
    ) async throws -> (StateMigration?, MemoryState) {
        let services = FakeServices(state: state)
        let harness = try await Harness(code, services: services)
        let migration = try await harness.host.migration(for: harness.destination, from: stored, stateOf: "test")
        return (migration, services.state)
    }

    private func problem(_ code: String, from stored: Int?) async throws -> String {
        do throws(PluginError) {
            let services = FakeServices(state: ["a": "1"])
            let harness = try await Self.unwrap { try await Harness(code, services: services) }
            _ = try await harness.host.migration(for: harness.destination, from: stored, stateOf: "test")
            return "migrated"
        } catch {
            return error.description
        }
    }

    private static func unwrap<Value>(_ body: () async throws -> Value) async throws(PluginError) -> Value {
        do { return try await body() } catch {
            throw error as? PluginError ?? PluginError(PluginProblem(message: "\(error)"))
        }
    }

    @Test func aStateThatHasTheVersionIsLeftAlone() async throws {
        #expect(try await migration(plugin(version: 2), from: 2).0 == nil)
        #expect(try await migration(plugin(version: 1), from: nil).0 == nil)
        #expect(try await migration("return function(event, ctx) end", from: nil).0 == nil)
    }

    @Test func migrateReadsAndWritesTheStateAndNothingIsWrittenYet() async throws {
        let (migration, state) = try await migration(
            plugin(
                version: 3,
                migrate: """
                    assert(from == 2)
                    local after
                    repeat
                      local page = state.list("stock:", {limit = 2, after = after})
                      for _, entry in ipairs(page) do
                        state.put("item:" .. entry.key:sub(7), {left = entry.value})
                        state.delete(entry.key)
                        state.add("items", 1)
                        after = entry.key
                      end
                    until #page == 0
                    assert(state.get("items") == 3 and state.get("stock:a") == nil)
                    """), from: 2, state: ["stock:a": "1", "stock:b": "2", "stock:c": "3", "other": "9"])
        let writes = try #require(migration).writes
        #expect(migration?.version == 3)
        #expect(writes.map(\.key) == ["item:a", "item:b", "item:c", "items", "stock:a", "stock:b", "stock:c"])
        #expect(state["stock:a"] == "1" && state["items"] == nil)
        state.apply(Effects(state: writes))
        #expect(state["item:b"] == #"{"left":2}"# && state["stock:b"] == nil && state["items"] == "3")
    }

    @Test func whereNothingIsKeptThereIsNothingToMigrate() async throws {
        let code = plugin(version: 4, migrate: "error('not called')")
        #expect(try await migration(code, from: nil, state: [:]).0 == StateMigration(version: 4, writes: []))
        #expect(
            try await migration(plugin(version: 1), from: 4, state: [:]).0 == StateMigration(version: 1, writes: []))
    }

    @Test func aStateOfALaterVersionIsRefused() async throws {
        let expected = """
            Plugins/test.lua: the state of subscriber "test" has version 3, and this plugin's state_version is 2; bring the \
            newer plugin back, or remove the state with `fairlead state delete test KEY`
            """
        #expect(try await problem(plugin(version: 2, migrate: ""), from: 3) == expected)
        #expect(
            try await problem("return function(event, ctx) end", from: 3).contains("this plugin's state_version is 1"))
    }

    @Test(
        arguments: [
            (
                nil,
                "state_version rose from 1 to 2, and the plugin has no migrate; add migrate = function(state, from) … end"
            ),
            ("error('no')", "Plugins/test.lua:4: migrate failed: no"),
            ("return nil, 'cannot'", "migrate failed: cannot"),
            ("while true do end", "migrate failed: stopped: used more than its 1000 ms of processor time"),
            ("state.put('b', ('x'):rep(300000))", "\"b\" is 300002 bytes as JSON; the limit is 262144"),
            ("for i = 1, 10001 do state.put('k' .. i, i) end", "one call may write 10000 state keys; this is one more"),
            ("state.publish('t', 1)", "attempt to call"),
        ] as [(String?, String)])
    func aMigrationThatFailsSaysWhy(_ body: String?, _ message: String) async throws {
        let text = try await problem(plugin(version: 2, migrate: body), from: 1)
        #expect(text.contains(message), "\(text)")
    }

    @Test(arguments: ["0", "'2'", "1.5"])
    func aVersionThatIsNoneIsRefused(_ version: String) async throws {
        let host = ScriptHost(services: FakeServices().services, lanes: 1)
        let problems = host.check(
            Harness.binding("return {state_version = \(version), handle = function() end}"))
        #expect(problems.first?.message.contains("not an integer from 1 on") == true, "\(problems)")
    }

    // MARK: One instance after another

    private static let counting = """
        return function(event, ctx)
          local n = ctx.state.get("n", 0)
          ctx.http.get("http://127.0.0.1/")
          ctx.state.put("n", n + 1)
        end
        """

    @Test func quiescingWaitsForWhatIsUnderWayAndBeginsNothing() async throws {
        let services = FakeServices()
        let (starts, started) = AsyncStream<Void>.makeStream()
        let gate = Gate(2)
        services.http.respond { _ throws(OutboundFailure) in
            started.yield()
            await gate.arrive()
            return OutboundResponse(status: 200, headers: [], body: [])
        }
        let harness = try await Harness(Self.counting, grants: [.http("127.0.0.1")], services: services)
        let deliveries = harness.deliveries([.order("1"), .order("2")])
        harness.destination.deliver(deliveries)
        var begun = starts.makeAsyncIterator()
        await begun.next()
        async let quiet: Void = harness.destination.quiesce()
        await gate.arrive()
        await quiet
        #expect(services.state["n"] == "1", "what was under way is settled, and nothing else has begun")
        harness.destination.resume()
        await begun.next()
        await gate.arrive()
        _ = await harness.outcomes.settled(deliveries.map(\.id))
        #expect(services.state["n"] == "2")
    }

    @Test func aCallThatDoesNotEndHoldsUpForItsTimeoutOnly() async throws {
        let harness = try await Harness(
            "return function(event, ctx) if event.data.slow then ctx.sleep(600) end end", timeout: .milliseconds(50))
        let deliveries = harness.deliveries([.order(#"{"slow":true}"#), .order("{}")])
        harness.destination.deliver(deliveries)
        await harness.destination.quiesce()
        #expect(harness.outcomes.settlement(deliveries[1].id) == nil, "nothing begins while it stands still")
        harness.destination.resume()
        let settlements = await harness.outcomes.settled(deliveries.map(\.id))
        #expect(settlements.map { $0.outcome == .ack } == [false, true])
    }

    /// A bug once: two instances at work on one state lose what the older one writes last. Whoever follows one that has
    /// already stopped waits for those before it as well.
    @Test(arguments: [false, true]) func aSuccessorBeginsWhenItsPredecessorsHaveEnded(_ comesLate: Bool) async throws {
        let services = FakeServices()
        let (starts, started) = AsyncStream<Void>.makeStream()
        let gate = Gate(2)
        services.http.respond { _ throws(OutboundFailure) in
            started.yield()
            await gate.arrive()
            return OutboundResponse(status: 200, headers: [], body: [])
        }
        let host = ScriptHost(services: services.services, lanes: comesLate ? 3 : 2)
        func instance() async throws -> Harness {
            try await Harness(Self.counting, grants: [.http("127.0.0.1")], services: services, host: host)
        }
        let first = try await instance()
        let second = try await instance()
        let third = try await instance()
        second.destination.follow(first.destination)
        if !comesLate { third.destination.follow(second.destination) }
        let old = first.deliveries([.order("1")])
        first.destination.deliver(old)
        var begun = starts.makeAsyncIterator()
        await begun.next()
        if comesLate {
            await second.destination.stop(.reload, deadline: .zero)
            third.destination.follow(second.destination)
        }
        let new = third.deliveries([.order("2")])
        third.destination.deliver(new)
        async let stopped: Void = first.destination.stop(.reload, deadline: .seconds(30))
        // The one in the middle has nothing to do and ends at once; the third still waits for the first.
        if !comesLate { await second.destination.stop(.reload, deadline: .zero) }
        #expect(services.http.requests.count == 1)
        await gate.arrive()
        await stopped
        await begun.next()
        await gate.arrive()
        _ = await third.outcomes.settled(new.map(\.id))
        #expect(services.state["n"] == "2")
    }

    /// A bug once: each refused reload left a thread behind for each subscriber whose plugin it had loaded.
    @Test func aSuccessorThatIsNotWantedIsLetGoWhileItsPredecessorRunsOn() async throws {
        let host = ScriptHost(services: FakeServices().services, lanes: 8)
        let first = try await Harness("return function() end", host: host)
        for _ in 1...3 {
            let refused = try await Harness("return function() end", host: host)
            refused.destination.follow(first.destination)
            await refused.destination.stop(.removed, deadline: .zero)
        }
        // The last reference may go with a job that a lane is just putting away.
        let end = ContinuousClock.now + .seconds(30)
        while host.lanes.count > 1, ContinuousClock.now < end { await Task.yield() }
        #expect(host.lanes.count == 1)
        #expect(await first.run().outcome == .ack)
    }

    /// A bug once: the thread stayed for as long as `init` would have slept.
    @Test func anInitThatIsCalledOffWhileItSleepsLeavesNothingBehind() async throws {
        let host = ScriptHost(services: FakeServices().services, lanes: 8)
        let loading = Task {
            try await Harness(
                "return { init = function(ctx) ctx.sleep(3600) end, handle = function() end }", host: host)
        }
        let end = ContinuousClock.now + .seconds(30)
        while host.lanes.count == 0, ContinuousClock.now < end { await Task.yield() }
        loading.cancel()
        await #expect(throws: PluginError.self) { try await loading.value }
        while host.lanes.count > 0, ContinuousClock.now < end { await Task.yield() }
        #expect(host.lanes.count == 0)
    }

    @Test(arguments: [StopReason.reload, .shutdown, .removed])
    func stopIsToldWhy(_ reason: StopReason) async throws {
        let harness = try await Harness(
            "return { handle = function() end, stop = function(ctx, why) ctx.log.info(why) end }")
        await harness.destination.stop(reason, deadline: .seconds(1))
        #expect(harness.services.logs.lines.map(\.text) == [reason.rawValue])
    }

    // MARK: Quotas

    @Test func aStateThatIsFullTakesNoNewKeyAndChangesOldOnes() async throws {
        let services = FakeServices(state: ["old": "1"])
        services.state.extra.withLock { $0.entries = Limits.stateEntriesMax - 1 }
        let harness = try await Harness(
            """
            return function(event, ctx)
              ctx.state.put("old", 2)
              ctx.state.add("old", 1)
              for _, write in ipairs{ctx.state.put, ctx.state.add} do
                local ok, why = pcall(write, "new", 1)
                assert(not ok)
                ctx.log.info(why)
              end
            end
            """, services: services)
        #expect(await harness.run().outcome == .ack)
        #expect(services.state["old"] == "3" && services.state["new"] == nil)
        let text =
            "the state of test has 1000000 entries; the limit is 1000000: delete what isn't needed any more, or let it expire with ttl"
        #expect(services.logs.lines.filter { $0.text.hasSuffix(text) }.count == 2, "\(services.logs.lines)")
    }

    @Test func aStateOfTooManyBytesTakesOnlyWhatMakesItSmaller() async throws {
        let services = FakeServices(state: ["old": #""12345678""#])
        services.state.extra.withLock { $0.bytes = Limits.stateBytesMax - 13 }
        let harness = try await Harness(
            """
            return function(event, ctx)
              ctx.state.put("old", "1234567")
              local ok, why = pcall(ctx.state.put, "new", 1)
              assert(not ok)
              ctx.log.info(why)
            end
            """, services: services)
        #expect(await harness.run().outcome == .ack)
        #expect(services.state["old"] == #""1234567""#)
        #expect(services.logs.lines.first?.text.contains("the limit of 536870912") == true, "\(services.logs.lines)")
    }
}
