// SPDX-License-Identifier: Apache-2.0

import Events
import Routes
import Simulation
import Testing

@testable import Broker

struct SubscriberStateTests {
    private static let topic = Topic.named("in")

    private func state(_ settings: SubscriberState.Settings = .init(), holding count: Int) -> SubscriberState {
        var state = SubscriberState(settings: settings)
        let end = TopicEnd(topic: Self.topic, offset: Offset(count))
        state.open(Feed(end: end, position: 0))
        var builder = RecordBatchBuilder(topic: Self.topic, key: nil, capacity: 256)
        for number in 0..<count { builder.append(Event(id: "e\(number)", source: "/test", type: "t")) }
        let batch = builder.finish()
        batch.stamp(first: 0, time: .init(milliseconds: 0))
        var round = LedgerRound()
        state.arrive(batch, matching: (0..<count).map(Int32.init), now: .init(milliseconds: 0), into: &round)
        return state
    }

    /// It woke the broker for a retry that was due and could not start, without end: the broker's thread did nothing else.
    @Test func aPausedSubscriberWithARetryThatIsDueWakesNobody() throws {
        var state = state(holding: 1)
        let now = Timestamp(milliseconds: 1_000)
        var random = SeededGenerator(seed: 1)
        var round = LedgerRound()
        let delivery = try #require(state.start(max: 1, now: now).first)
        let isSettled = state.settle(
            Settlement(delivery.id, .retry(after: .seconds(1), reason: "")), now: now, random: &random, into: &round)
        #expect(isSettled)
        #expect(state.wake(now: now) != nil)
        state.settings.paused = true
        #expect(state.wake(now: now + .seconds(60)) == nil)
        state.settings.paused = false
        #expect(state.takeDue(now: now + .seconds(60), max: 1).map(\.id) == [delivery.id])
    }

    // MARK: An endpoint that is down

    private func fail(
        _ state: inout SubscriberState, _ sign: EndpointSign = .unreachable, max: Int = 10, now: Timestamp
    ) -> [DeliveryID] {
        var random = SeededGenerator(seed: 1)
        var round = LedgerRound()
        let started = state.start(max: max, now: now)
        for delivery in started {
            let settlement = Settlement(delivery.id, .retry(after: nil, reason: ""), endpoint: sign)
            let isSettled = state.settle(settlement, now: now, random: &random, into: &round)
            #expect(isSettled)
        }
        return started.map(\.id)
    }

    private var pushed: SubscriberState.Settings {
        var settings = SubscriberState.Settings()
        settings.inFlightMax = 1
        settings.retry.attempts = 3
        settings.breaker = BreakerPolicy()
        settings.breaker!.failures = 4
        return settings
    }

    /// However long the endpoint is down, no event becomes a dead letter by it.
    @Test func anOutageCostsNoAttempts() throws {
        var state = state(pushed, holding: 3)
        var now = Timestamp(milliseconds: 1_000)
        // The first two find out; what they cost is one attempt of one event.
        #expect(fail(&state, now: now).map(\.offset) == [0])
        #expect(fail(&state, now: now).map(\.offset) == [1])
        #expect(state.breaker.isOpen)
        #expect(state.deferred.values.map(\.attempts) == [1])
        var probes: [Offset] = []
        for _ in 0..<100 {
            #expect(state.start(max: 10, now: now).isEmpty)
            #expect(state.takeDue(now: now, max: 10).isEmpty, "nothing is read while nothing may start")
            now = try #require(state.wake(now: now))
            probes += fail(&state, now: now).map(\.offset)
        }
        #expect(probes.count == 100)
        #expect(Set(probes) == [1, 2], "another one each time")
        #expect(now > Timestamp(milliseconds: 1_000) + .seconds(20_000))

        now = try #require(state.wake(now: now))
        var round = LedgerRound()
        let probe = try #require(state.start(max: 10, now: now).first)
        #expect(probe.attempt == 1)
        #expect(state.acknowledge([probe.id], now: now, into: &round) == 1)
        #expect(!state.breaker.isOpen)
        #expect(state.start(max: 10, now: now).map(\.attempt) == [1])
        #expect(state.takeDue(now: now, max: 10).map(\.id.offset) == [0])
    }

    /// It woke the broker for a scheduled delivery that was due and could not be read, without end.
    @Test func aScheduledDeliveryThatIsDueWakesNobodyWhileAProbeIsLookedFor() throws {
        var state = state(pushed, holding: 3)
        var now = Timestamp(milliseconds: 1_000)
        while !state.breaker.isOpen { _ = fail(&state, now: now) }
        let id = DeliveryID(topic: Self.topic, offset: 7)
        state.insertScheduled(
            .init(time: now + .seconds(1), id: id), .init(attempts: 0, due: now + .seconds(1), key: nil))
        now = try #require(state.wake(now: now))
        #expect(now >= Timestamp(milliseconds: 2_000) && state.breaker.stand(now: now) == .probe)
        #expect(state.takeDue(now: now, max: 10).isEmpty, "what is ready is the probe")
        #expect(state.wake(now: now, canStart: false) == nil, "another lane's has to end first")
    }

    @Test func whereOnlyARetryIsLeftItIsTheProbe() throws {
        var state = state(pushed, holding: 1)
        var now = Timestamp(milliseconds: 1_000)
        let id = try #require(fail(&state, now: now).first)
        // A second one, begun before, opens the breaker.
        #expect(state.breaker.stand(now: now) == .everything)
        now = try #require(state.wake(now: now))
        #expect(state.takeDue(now: now, max: 10).map(\.id) == [id])
        var builder = RecordBatchBuilder(topic: Self.topic, key: nil, capacity: 256)
        builder.append(Event(id: "e0", source: "/test", type: "t"))
        let batch = builder.finish()
        batch.stamp(first: 0, time: .init(milliseconds: 0))
        state.resume(batch[0], id: id, now: now)
        #expect(fail(&state, now: now) == [id])
        #expect(state.breaker.isOpen)
        for _ in 0..<10 {
            now = try #require(state.wake(now: now))
            #expect(fail(&state, now: now) == [id])
        }
        #expect(state.deferred[id]?.attempts == 1)
    }

    @Test func whileTheRecordOfAProbeIsReadNobodyIsWokenAndNoOtherIsRead() throws {
        var state = state(pushed, holding: 2)
        var now = Timestamp(milliseconds: 1_000)
        var settings = pushed
        settings.inFlightMax = 2
        state.update(settings)
        var random = SeededGenerator(seed: 1)
        var round = LedgerRound()
        let both = state.start(max: 2, now: now)
        #expect(both.count == 2)
        // One that fails for its own sake each: both wait for their retry. Then the endpoint withdraws its consent.
        for delivery in both {
            let settlement = Settlement(delivery.id, .retry(after: nil, reason: ""), endpoint: .up)
            let isSettled = state.settle(settlement, now: now, random: &random, into: &round)
            #expect(isSettled)
        }
        #expect(state.breaker.stand(now: now) == .everything)
        var breaker = state.breaker
        #expect(breaker.ended(both[0].id, .refusing, now: now) == true)
        state.breaker = breaker
        #expect(state.wake(now: now) == now + .seconds(5))
        now = now + .seconds(5)
        #expect(state.takeDue(now: now, max: 10).count == 1)
        #expect(state.wake(now: now) == nil)
        #expect(state.takeDue(now: now, max: 10).isEmpty)
    }

    @Test func theLowerOfTheSettingsRateAndTheAllowedOneHolds() {
        var settings = SubscriberState.Settings()
        settings.rate = Rate(count: 10, per: .seconds(1))
        var state = state(settings, holding: 100)
        state.allow(Rate(count: 60, per: .seconds(60)))
        let now = Timestamp(milliseconds: 1_000)
        #expect(state.start(max: 100, now: now).count == 1)
        #expect(state.wake(now: now) == now + .seconds(1))
        #expect(state.start(max: 100, now: now + .seconds(1)).count == 1)
        state.allow(Rate(count: 6_000, per: .seconds(60)))
        #expect(state.start(max: 100, now: now + .seconds(2)).count == 10)
        state.allow(nil)
        #expect(state.start(max: 100, now: now + .seconds(3)).count == 10)
    }
}
