// SPDX-License-Identifier: Apache-2.0

import Events
import Synchronization
import Testing

@testable import Scripting

/// Calls that run beside each other on one subscriber's state: no update is lost silently.
@Suite(.timeLimit(.minutes(1)))
struct StateConflictTests {
    /// Every call reads, waits for all the others to have read, and writes.
    private func overlapping(_ read: String, _ write: String, calls: Int = 8) async throws -> Harness {
        let services = FakeServices()
        let gate = Meeting(calls)
        services.http.respond { _ throws(OutboundFailure) in
            await gate.arrive()
            return OutboundResponse(status: 200, headers: [], body: [])
        }
        return try await Harness(
            """
            return function(event, ctx)
              \(read)
              ctx.http.get("http://127.0.0.1/")
              \(write)
            end
            """, grants: [.http("127.0.0.1"), .publish("t")], concurrency: calls, services: services)
    }

    private func run(_ harness: Harness, calls: Int = 8) async {
        let settlements = await harness.run((0..<calls).map { .order("{\"n\":\($0)}", id: "e-\($0)") })
        #expect(settlements.allSatisfy { $0.outcome == .ack })
    }

    @Test func aGetThenPutBesideOthersLosesNoUpdate() async throws {
        let harness = try await overlapping(
            #"local n = ctx.state.get("n", 0)"#, #"ctx.state.put("n", n + 1)"#)
        await run(harness)
        #expect(harness.services.state["n"] == "8")
    }

    @Test func theFirstWinsAndEachOtherRunsOnceMore() async throws {
        let harness = try await overlapping(
            #"local n = ctx.state.get("n", 0)"#, #"ctx.state.put("n", n + 1)"#)
        await run(harness)
        // All eight, and seven of them again, alone: nobody runs a third time.
        #expect(harness.services.http.requests.count == 15)
    }

    @Test func addsBesideEachOtherNeverRunAgain() async throws {
        let harness = try await overlapping("", #"ctx.state.add("n", 1)"#)
        await run(harness)
        #expect(harness.services.state["n"] == "8")
        #expect(harness.services.http.requests.count == 8)
    }

    @Test func aPutWithoutAGetOverwrites() async throws {
        let harness = try await overlapping("", #"ctx.state.put("last", event.data.n)"#)
        await run(harness)
        #expect(harness.services.http.requests.count == 8)
    }

    @Test func differentKeysDoNotDisturbEachOther() async throws {
        let harness = try await overlapping(
            #"local n = ctx.state.get("k" .. event.data.n, 0)"#, #"ctx.state.put("k" .. event.data.n, n + 1)"#)
        await run(harness)
        #expect(harness.services.http.requests.count == 8)
    }

    /// What was decided from a listing holds only while the listing does.
    @Test func aKeyThatAppearsInAListingRunsItAgain() async throws {
        let harness = try await overlapping(
            #"local taken = #ctx.state.list("seat:")"#,
            #"if taken < 3 then ctx.state.put("seat:" .. event.data.n, true) end"#)
        await run(harness)
        #expect(try harness.services.state.values(subscriber: "", prefix: "seat:", after: nil, limit: 10).count == 3)
    }

    @Test func aDecisionThatOnlyPublishesIsTakenAgainToo() async throws {
        let harness = try await overlapping(
            #"local first = ctx.state.get("announced") == nil"#,
            #"if first then ctx.state.put("announced", true) ctx.publish("t", {n = event.data.n}) end"#)
        let settlements = await harness.run((0..<8).map { .order("{\"n\":\($0)}", id: "e-\($0)") })
        #expect(settlements.compactMap { $0.effects?.publications.count }.reduce(0, +) == 1)
    }

    @Test func aCallThatOnlyReadsIsNotRunAgain() async throws {
        let harness = try await overlapping(
            #"ctx.state.get("n")"#, #"if event.data.n == 0 then ctx.state.put("n", 1) end"#)
        await run(harness)
        #expect(harness.services.http.requests.count <= 9)
    }

    @Test func aBatchThatWasOvertakenRunsAgainAsAWhole() async throws {
        let services = FakeServices()
        let gate = Meeting(2)
        services.http.respond { _ throws(OutboundFailure) in
            await gate.arrive()
            return OutboundResponse(status: 200, headers: [], body: [])
        }
        let harness = try await Harness(
            """
            return { handle_batch = function(events, ctx)
              local n = ctx.state.get("n", 0)
              ctx.http.get("http://127.0.0.1/")
              ctx.state.put("n", n + #events)
              return {ctx.retry("again"), true}
            end }
            """, grants: [.http("127.0.0.1")], concurrency: 2, batch: .init(count: 2, every: .seconds(60)),
            services: services)
        let settlements = await harness.run((0..<4).map { .order("{}", id: "e-\($0)") })
        #expect(settlements.map { $0.outcome == .ack } == [false, true, false, true])
        #expect(services.state["n"] == "4")
    }

    /// Stopping while something waits to be run again gives it back.
    @Test func whatWaitsToRunAgainIsGivenBackAtAStop() async throws {
        let services = FakeServices()
        let gate = Meeting(3)
        services.http.respond { request throws(OutboundFailure) in
            await gate.arrive()
            if request.url.hasSuffix("slow") { try? await Task.sleep(for: .seconds(600)) }
            return OutboundResponse(status: 200, headers: [], body: [])
        }
        let harness = try await Harness(
            """
            return function(event, ctx)
              local n = ctx.state.get("n", 0)
              ctx.http.get("http://127.0.0.1/" .. event.data.path)
              ctx.state.put("n", n + 1)
            end
            """, grants: [.http("127.0.0.1")], concurrency: 3, services: services)
        let paths = ["a", "b", "slow"]
        let deliveries = harness.deliveries(paths.map { .order("{\"path\":\"\($0)\"}", id: $0) })
        harness.destination.deliver(deliveries)
        while services.state["n"] != "1" { await Task.yield() }
        await harness.destination.stop(.shutdown, deadline: .zero)
        let settlements = await harness.outcomes.settled(deliveries.map(\.id))
        #expect(settlements.filter { $0.outcome == .ack }.count == 1)
        #expect(settlements.filter { $0.outcome == .returned }.count == 2)
        #expect(services.state["n"] == "1")
    }

    /// Random calls beside each other end as some order of them would, one after the other.
    @Test(arguments: 0..<10) func whatOverlapsEndsAsIfOneHadFollowedTheOther(_ seed: UInt64) async throws {
        let services = FakeServices()
        let random = Mutex(SplitMix(state: seed))
        services.http.respond { _ throws(OutboundFailure) in
            for _ in 0..<random.withLock({ $0.next() % 5 }) { await Task.yield() }
            return OutboundResponse(status: 200, headers: [], body: [])
        }
        // Money moves between accounts by reading both; a lost update makes or destroys some.
        let harness = try await Harness(
            """
            return function(event, ctx)
              local from, to = "a" .. event.data.from, "a" .. event.data.to
              local x = ctx.state.get(from, 100)
              ctx.http.get("http://127.0.0.1/")
              local y = ctx.state.get(to, 100)
              ctx.http.get("http://127.0.0.1/")
              local amount = math.min(x, event.data.amount)
              ctx.state.put(from, x - amount)
              ctx.state.put(to, y + amount)
              ctx.state.add("moved", 1)
            end
            """, grants: [.http("127.0.0.1")], concurrency: 6, services: services)
        let events = (0..<60).map { index in
            let (from, step, amount) = random.withLock { ($0.next() % 4, 1 + $0.next() % 3, $0.next() % 60) }
            return Event.order(
                #"{"from":\#(from),"to":\#((from + step) % 4),"amount":\#(amount)}"#, id: "e-\(index)")
        }
        let settlements = await harness.run(events)
        #expect(settlements.allSatisfy { $0.outcome == .ack })
        let balances = (0..<4).map { Int(services.state["a\($0)"] ?? "100") ?? -1 }
        #expect(balances.reduce(0, +) == 400, "seed \(seed): \(balances)")
        #expect(balances.allSatisfy { $0 >= 0 })
        #expect(services.state["moved"] == "60")
    }
}

/// Lets nobody through before so many have come; those who come later pass.
private actor Meeting {
    private var missing: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(_ count: Int) { missing = count }

    func arrive() async {
        missing -= 1
        if missing > 0 {
            await withCheckedContinuation { waiting.append($0) }
        } else {
            for continuation in waiting { continuation.resume() }
            waiting = []
        }
    }
}

struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
