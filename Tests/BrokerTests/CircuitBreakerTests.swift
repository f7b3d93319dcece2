// SPDX-License-Identifier: Apache-2.0

import Events
import Routes
import Testing

@testable import Broker

struct CircuitBreakerTests {
    private static let topic = Topic.named("in")
    private let start = Timestamp(milliseconds: 1_000_000)

    private static func id(_ offset: Int) -> DeliveryID { DeliveryID(topic: topic, offset: Offset(offset)) }

    private static func breaker(_ failures: Int = 4) -> CircuitBreaker {
        var policy = BreakerPolicy()
        policy.failures = failures
        policy.first = .seconds(5)
        policy.last = .seconds(15)
        return CircuitBreaker(policy: policy)
    }

    @Test func itOpensAfterSoManyFailuresInARowAndTheLastIsExcused() {
        var breaker = Self.breaker()
        for offset in 0..<3 { #expect(breaker.ended(Self.id(offset), .failing, now: start) == false) }
        breaker.succeeded()
        for offset in 0..<3 { #expect(breaker.ended(Self.id(offset), .failing, now: start) == false) }
        #expect(breaker.stand(now: start) == .everything)
        #expect(breaker.ended(Self.id(3), .failing, now: start) == true)
        #expect(breaker.stand(now: start) == .nothing(until: start + .seconds(5)))
    }

    @Test func oneDeliveryThatTheEndpointChokesOnDoesNotOpenIt() {
        var breaker = Self.breaker()
        for _ in 0..<100 { #expect(breaker.ended(Self.id(1), .failing, now: start) == false) }
        #expect(!breaker.isOpen)
    }

    @Test func withoutAConnectionOneDeliveryIsEnoughAndHalfAsManyAttempts() {
        var breaker = Self.breaker()
        #expect(breaker.ended(Self.id(1), .unreachable, now: start) == false)
        #expect(breaker.ended(Self.id(1), .unreachable, now: start) == true)
        #expect(breaker.isOpen)
    }

    @Test func anAnswerAboutTheDeliveryEndsTheRow() {
        var breaker = Self.breaker(2)
        #expect(breaker.ended(Self.id(0), .failing, now: start) == false)
        #expect(breaker.ended(Self.id(1), .up, now: start) == false)
        #expect(breaker.ended(Self.id(2), .failing, now: start) == false)
        #expect(!breaker.isOpen)
    }

    @Test func probesComeAtGrowingIntervalsOneAtATimeAndASuccessCloses() {
        var breaker = Self.breaker(1)
        var now = start
        #expect(breaker.ended(Self.id(0), .failing, now: now) == true)
        for pause in [5, 10, 15, 15] {
            #expect(
                breaker.stand(now: now + .milliseconds(Int64(pause) * 1_000 - 1))
                    == .nothing(until: now + .seconds(pause)))
            now = now + .seconds(pause)
            #expect(breaker.stand(now: now) == .probe)
            breaker.started(Self.id(1))
            #expect(breaker.stand(now: now + .seconds(3_600)) == .probing)
            // One that was begun before the breaker opened changes nothing.
            #expect(breaker.ended(Self.id(9), .failing, now: now) == true)
            #expect(breaker.stand(now: now) == .probing)
            #expect(breaker.ended(Self.id(1), .unreachable, now: now) == true)
        }
        now = now + .seconds(15)
        breaker.started(Self.id(2))
        breaker.succeeded()
        #expect(breaker.stand(now: now) == .everything)
        // And begins with the shortest pause again.
        #expect(breaker.ended(Self.id(3), .failing, now: now) == true)
        #expect(breaker.stand(now: now) == .nothing(until: now + .seconds(5)))
    }

    @Test func aProbeThatTellsNothingIsFollowedByAnother() {
        var breaker = Self.breaker(1)
        #expect(breaker.ended(Self.id(0), .failing, now: start) == true)
        let now = start + .seconds(5)
        breaker.started(Self.id(1))
        #expect(breaker.ended(Self.id(1), nil, now: now) == false)
        #expect(breaker.stand(now: now) == .probe)
    }

    @Test func whoHasNotConsentedIsDownAtOnce() {
        var breaker = Self.breaker(100)
        #expect(breaker.ended(Self.id(0), .refusing, now: start) == true)
        #expect(breaker.isOpen)
    }

    @Test(arguments: [
        (Duration.zero, Duration.seconds(1)), (.seconds(30), .seconds(30)), (.seconds(86_400), .seconds(3_600)),
    ])
    func aBusyEndpointIsLeftAloneAsLongAsItAsksWithinBounds(_ asked: Duration, _ held: Duration) {
        var breaker = Self.breaker()
        #expect(breaker.ended(Self.id(0), .busy(asked), now: start) == true)
        #expect(breaker.stand(now: start) == .nothing(until: start + held))
        #expect(!breaker.isOpen)
        // A shorter one that comes later doesn't end it.
        #expect(breaker.ended(Self.id(1), .busy(.zero), now: start) == true)
        #expect(breaker.stand(now: start) == .nothing(until: start + held))
        #expect(breaker.stand(now: start + held) == .everything)
    }

    @Test func aProbeThatMeetsABusyEndpointIsRepeatedAfterTheTimeAsked() {
        var breaker = Self.breaker(1)
        #expect(breaker.ended(Self.id(0), .failing, now: start) == true)
        let now = start + .seconds(5)
        breaker.started(Self.id(1))
        #expect(breaker.ended(Self.id(1), .busy(.seconds(60)), now: now) == true)
        #expect(breaker.stand(now: now) == .nothing(until: now + .seconds(60)))
        #expect(breaker.stand(now: now + .seconds(60)) == .probe)
    }

    @Test func switchedOffItNeverOpensAndABusyEndpointIsLeftAloneStill() {
        var breaker = CircuitBreaker(policy: nil)
        for offset in 0..<100 { #expect(breaker.ended(Self.id(offset), .unreachable, now: start) == false) }
        #expect(breaker.ended(Self.id(0), .refusing, now: start) == false)
        #expect(breaker.stand(now: start) == .everything)
        #expect(breaker.ended(Self.id(0), .busy(.seconds(5)), now: start) == true)
        #expect(breaker.stand(now: start) != .everything)
        breaker.reset()
        #expect(breaker.stand(now: start) == .everything)
    }
}
