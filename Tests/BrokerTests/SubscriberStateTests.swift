// SPDX-License-Identifier: Apache-2.0

import Events
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
}
