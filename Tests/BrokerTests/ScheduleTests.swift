// SPDX-License-Identifier: Apache-2.0

import Events
import Ledger
import Routes
import Simulation
import Testing

@testable import Broker

/// Later, and too late; leases over a restart; order.
struct ScheduleTests {
    private static let topic = Topic.named("in")

    private static let origin = Timestamp(milliseconds: 1_000_000)

    private struct Driven {
        var state: SubscriberState
        var random = SeededGenerator(seed: 1)
        var batch: RecordBatch
        var rows: [DeliveryID: SubscriberState.Deferred] = [:]

        init(_ settings: SubscriberState.Settings, _ batch: RecordBatch) {
            state = SubscriberState(settings: settings)
            self.batch = batch
            state.open(Feed(end: TopicEnd(topic: batch.topic, offset: batch.last + 1), position: 0))
            arrive(at: origin)
        }

        mutating func note(_ round: LedgerRound) {
            for id in round.finished { rows[id] = nil }
            for row in round.deferred { rows[row.id] = row.deferral }
        }

        mutating func arrive(at now: Timestamp) {
            var round = LedgerRound()
            state.arrive(batch, matching: (0..<batch.count).map(Int32.init), now: now, into: &round)
            note(round)
        }

        /// Starts what may start, reading what is due as the broker does.
        mutating func start(at now: Timestamp, max: Int = 1_000) -> [Offset] {
            while let read = state.takeShelfRead() {
                let place = read.from
                let rows = rows.filter { id, row in
                    row.isScheduled && (row.due!, id.topic.name, id.offset) >= (place.due, place.topic, place.offset)
                }.sorted { ($0.value.due!, $0.key.offset) < ($1.value.due!, $1.key.offset) }.prefix(read.limit)
                state.unshelve(rows.map { ($0.key, $0.value) }, isLast: rows.count < read.limit)
            }
            for (id, _) in state.takeDue(now: now, max: max) {
                state.resume(batch[Int(id.offset - batch.first)], id: id, now: now)
            }
            return state.start(max: max, now: now).map(\.id.offset)
        }

        mutating func settle(_ offset: Offset, _ outcome: Outcome, at now: Timestamp) {
            var round = LedgerRound()
            let id = DeliveryID(topic: batch.topic, offset: offset)
            let isSettled = state.settle(Settlement(id, outcome), now: now, random: &random, into: &round)
            #expect(isSettled)
            note(round)
        }
    }

    private static func later(_ seconds: Int, key: String? = nil) -> [Event.Attribute] {
        [.init("deliverafter", .string("\(seconds)s"))] + (key.map { [.init("subject", .string($0))] } ?? [])
    }

    @Test func aDelayedEventWaitsForItsTimeAndOthersDont() {
        let batch = records(3, time: Self.origin) { $0 == 0 ? Self.later(60) : [] }
        var driven = Driven(.init(), batch)
        #expect(driven.start(at: Self.origin) == [1, 2])
        #expect(driven.rows.count == 1)
        #expect(driven.state.wake(now: Self.origin) == Self.origin + .seconds(60))
        #expect(driven.start(at: Self.origin + .seconds(59)).isEmpty)
        #expect(driven.start(at: Self.origin + .seconds(60)) == [0])
        driven.settle(0, .ack, at: Self.origin + .seconds(60))
        #expect(driven.rows.isEmpty)
    }

    /// A million of them would not fit; here three do.
    @Test func onlyTheNearestDelayedEventsAreInMemory() {
        var settings = SubscriberState.Settings()
        settings.scheduledMax = 3
        // Due in an order that has nothing to do with their offsets, several at the same time.
        let seconds = (0..<40).map { 10 + ($0 * 17) % 20 }
        let batch = records(40, time: Self.origin) { Self.later(seconds[$0]) }
        var driven = Driven(settings, batch)
        #expect(driven.state.deferred.count <= 3)
        #expect(driven.rows.count == 40)
        #expect(driven.state.unsettled == 40)
        var started: [Offset] = []
        var now = Self.origin
        while started.count < 40, now < Self.origin + .seconds(60) {
            now = now + .milliseconds(500)
            while case let offsets = driven.start(at: now), !offsets.isEmpty {
                for offset in offsets {
                    #expect(batch[Int(offset)].deliverAt! <= now)
                    #expect(now < batch[Int(offset)].deliverAt! + .seconds(1), "it came in time")
                    driven.settle(offset, .ack, at: now)
                }
                started += offsets
                #expect(driven.state.deferred.count <= 3)
            }
        }
        #expect(started.sorted() == Array(0..<40))
        #expect(driven.rows.isEmpty)
        #expect(driven.state.unsettled == 0)
    }

    /// With the breaker half open nothing that is due is read while something else can be the probe. The broker looked again at
    /// once, and came to nothing else any more.
    @Test func whatIsDueWakesNobodyWhileAProbeWaitsToStart() {
        var settings = SubscriberState.Settings()
        settings.breaker = BreakerPolicy()
        var driven = Driven(settings, records(2, time: Self.origin) { $0 == 0 ? Self.later(60) : [] })
        let isOpen = driven.state.reopenBreaker(now: Self.origin)
        #expect(isOpen)
        let due = Self.origin + .seconds(60)
        let taken = driven.state.takeDue(now: due, max: 10)
        #expect(taken.isEmpty)
        #expect(driven.state.wake(now: due, canStart: false) == nil)
        #expect(driven.start(at: due) == [1])
        driven.settle(1, .ack, at: due)
        #expect(driven.start(at: due) == [0])
    }

    /// P4: order comes before the delay.
    @Test func aDelayedEventHoldsTheFollowersOfItsKey() {
        var settings = SubscriberState.Settings()
        settings.ordered = true
        let batch = records(4, time: Self.origin) { number in
            switch number {
            case 1: Self.later(60, key: "a")
            case 3: [.init("subject", .string("b"))]
            default: [.init("subject", .string("a"))]
            }
        }
        var driven = Driven(settings, batch)
        #expect(driven.start(at: Self.origin) == [0, 3])
        driven.settle(0, .ack, at: Self.origin)
        #expect(driven.start(at: Self.origin).isEmpty)
        #expect(driven.start(at: Self.origin + .seconds(59)).isEmpty)
        #expect(driven.start(at: Self.origin + .seconds(60)) == [1])
        driven.settle(1, .ack, at: Self.origin + .seconds(60))
        #expect(driven.start(at: Self.origin + .seconds(60)) == [2])
    }

    @Test func aSubscriberWithADelayReadsTheJournalThatMuchLater() {
        var settings = SubscriberState.Settings()
        settings.deliverAfter = .seconds(3_600)
        var driven = Driven(settings, records(5, time: Self.origin))
        #expect(driven.start(at: Self.origin).isEmpty)
        #expect(driven.rows.isEmpty, "nothing is held for it, in memory or in the ledger")
        #expect(driven.state.held == 0)
        #expect(driven.state.behind(now: Self.origin) == nil)
        #expect(driven.state.wake(now: Self.origin) == Self.origin + .seconds(3_600))
        let later = Self.origin + .seconds(3_600)
        #expect(driven.state.behind(now: later)?.from == 0)
        driven.arrive(at: later)
        #expect(driven.start(at: later) == [0, 1, 2, 3, 4])
    }

    @Test func anEventWhoseTimeIsOverIsDroppedAndNeverDelivered() {
        var settings = SubscriberState.Settings()
        settings.ttl = .seconds(60)
        let batch = records(3, time: Self.origin) { $0 == 1 ? [.init("expirytime", .string("10s"))] : [] }
        var driven = Driven(settings, batch)
        let soon = Self.origin + .seconds(10)
        #expect(driven.start(at: soon) == [0, 2])
        #expect(driven.state.takeOverdue().map(\.offset) == [1])
        var round = LedgerRound()
        var random = SeededGenerator(seed: 1)
        let isDropped = driven.state.settle(
            Settlement(DeliveryID(topic: batch.topic, offset: 1), .drop(reason: "expired")), now: soon, random: &random,
            into: &round)
        #expect(isDropped)
        #expect(round.attempts.map { $0.settlement.outcome } == [.drop(reason: "expired")])
        // A retry that becomes due after the end is none.
        driven.settle(0, .retry(after: .seconds(50), reason: ""), at: soon)
        #expect(driven.start(at: soon + .seconds(50)).isEmpty)
        #expect(driven.state.takeOverdue().map(\.offset) == [0])
    }

    /// It would take as long as its rate says to get rid of what is over.
    @Test func expiredEventsCostNothingOfTheRate() {
        var settings = SubscriberState.Settings()
        settings.rate = .init(count: 1, per: .seconds(1))
        let batch = records(50, time: Self.origin) { $0 < 49 ? [.init("expirytime", .string("1s"))] : [] }
        var driven = Driven(settings, batch)
        #expect(driven.start(at: Self.origin + .seconds(2)) == [49])
        #expect(driven.state.takeOverdue().count == 49)
    }

    // MARK: Leases over a restart

    @Test func aDeliveryLeasedBeforeARestartIsInFlightAndTakenInOnce() {
        let batch = records(4, time: Self.origin)
        var state = SubscriberState(settings: .init())
        state.open(Feed(end: TopicEnd(topic: batch.topic, offset: 4), position: 1, settled: [2...2]))
        var held: [Bool] = []
        for index in 0..<4 { held.append(state.resumeLeased(Delivery(record: batch[index], attempt: 1))) }
        #expect(held == [false, true, false, true], "one is below the position, one settled")
        var round = LedgerRound()
        // One is settled before the journal has been read so far, one after.
        #expect(state.acknowledge([DeliveryID(topic: batch.topic, offset: 3)], now: Self.origin, into: &round) == 1)
        #expect(state.feeds[batch.topic]?.settled == [2...3])
        state.arrive(batch, matching: [0, 1, 2, 3], now: Self.origin, into: &round)
        #expect(state.start(max: 10, now: Self.origin).isEmpty)
        #expect(state.feeds[batch.topic]?.position == 1)
        #expect(state.acknowledge([DeliveryID(topic: batch.topic, offset: 1)], now: Self.origin, into: &round) == 1)
        #expect(state.feeds[batch.topic]?.position == 4)
        #expect(state.held == 0)
    }

    /// Nobody knows when its attempt began, which must not matter.
    @Test(.timeLimit(.minutes(1))) func aLeaseFromBeforeARestartMayRunOut() async throws {
        let stored = StoredBroker()
        let routes = "topic orders\nsubscriber s { from orders; pull { lease 30s }; start earliest }"
        try await stored.start(routes)
        _ = try await stored.publish("orders", ["a"])
        #expect(try await stored.broker.pull("s", max: 1, wait: .seconds(20)).count == 1)
        await stored.stop()
        try await stored.start(routes)
        #expect(try await stored.broker.pull("s", max: 1, wait: .zero).isEmpty, "it is leased still")
        stored.clock.advance(.seconds(31))
        #expect(try await stored.broker.pull("s", max: 1, wait: .zero).isEmpty, "it ran out, and waits for its retry")
        stored.clock.advance(.seconds(3_600))
        let again = try await stored.broker.pull("s", max: 1, wait: .zero)
        #expect(again.map(\.delivery.attempt) == [2])
        await stored.stop()
    }

    @Test func anAnswerToAPullIsBoundedInBytesAndHoldsOneEventAtLeast() {
        let batch = records(10, time: Self.origin)
        var state = Driven(.init(), batch).state
        #expect(state.start(max: 10, maxBytes: 1, now: Self.origin).count == 1)
        #expect(state.start(max: 10, maxBytes: batch[1].byteCount * 3, now: Self.origin).count == 3)
    }

    // MARK: Order

    /// With one poisoned key of a thousand, the others start at the very same moments as without it.
    @Test func aPoisonedKeyDoesNotHoldUpTheOthers() {
        func starts(poisoned: Bool) -> [Offset: Timestamp] {
            var settings = SubscriberState.Settings()
            settings.ordered = true
            settings.inFlightMax = 64
            settings.retry.attempts = nil
            let batch = records(5_000, time: Self.origin) { [.init("subject", .string("k\($0 % 1_000)"))] }
            var driven = Driven(settings, batch)
            var starts: [Offset: Timestamp] = [:]
            var now = Self.origin
            while starts.count < 4_995, now < Self.origin + .seconds(60) {
                for offset in driven.start(at: now) {
                    let isPoison = offset % 1_000 == 0
                    if !isPoison { starts[offset] = now }
                    driven.settle(
                        offset, isPoison && poisoned ? .retry(after: nil, reason: "poison") : .ack, at: now)
                }
                now = now + .milliseconds(1)
            }
            return starts
        }
        let (clean, poisoned) = (starts(poisoned: false), starts(poisoned: true))
        #expect(poisoned.count == 4_995)
        let delays = poisoned.map { ($0.value - clean[$0.key]!).milliseconds }.sorted()
        // A retry of the poison takes a place among 64 now and then; its parked followers take none.
        #expect(delays[delays.count * 99 / 100] <= 1, "\(delays.suffix(60))")
    }

    @Test func aRedriveDrainsItsKeyInOrder() {
        var settings = SubscriberState.Settings()
        settings.ordered = true
        let batch = records(5, time: Self.origin) { _ in [.init("subject", .string("a"))] }
        var driven = Driven(settings, batch)
        let id = DeliveryID(topic: batch.topic, offset: 0)
        #expect(driven.start(at: Self.origin) == [0])
        driven.settle(0, .dead(reason: "poison"), at: Self.origin)
        #expect(driven.start(at: Self.origin + .seconds(60)).isEmpty, "its followers wait")
        var round = LedgerRound()
        let isSent = driven.state.redrive(id, key: "a", deadLetter: 1, now: Self.origin, into: &round)
        #expect(isSent)
        for offset in Offset(0)..<5 {
            #expect(driven.start(at: Self.origin) == [offset])
            driven.settle(offset, .ack, at: Self.origin)
        }
        #expect(driven.state.unsettled == 0)
    }
}
