// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import Gateway

struct ConnectionPaceTests {
    private static let bounds: ConnectionBounds = {
        var bounds = ConnectionBounds()
        bounds.headerTime = .seconds(30)
        bounds.bodyGrace = .seconds(30)
        bounds.bodyBytesPerSecond = 4_096
        bounds.requestTime = .minutes(15)
        bounds.answerWindow = .seconds(60)
        bounds.answerBytesPerSecond = 500
        return bounds
    }()

    private static func at(_ seconds: Int) -> NIODeadline { .uptimeNanoseconds(1_000) + .seconds(Int64(seconds)) }

    private static func look(_ pace: inout ConnectionPace, at second: Int, isReading: Bool = true, buffered: Int = 0)
        -> Refusals.Reason?
    {
        pace.check(at(second), isReading: isReading, buffered: buffered)
    }

    @Test func headersThatDribbleAreCutOffHoweverOftenBytesCome() {
        var pace = ConnectionPace(Self.bounds, now: Self.at(0))
        for second in 0...30 {
            pace.arrived(1, now: Self.at(second))
            #expect(Self.look(&pace, at: second) == nil)
        }
        #expect(Self.look(&pace, at: 31) == .slowHeader)
    }

    @Test func aConnectionBetweenRequestsIsNotSlow() {
        var pace = ConnectionPace(Self.bounds, now: Self.at(0))
        pace.headEnded(now: Self.at(1))
        pace.requestEnded(now: Self.at(1))
        #expect(Self.look(&pace, at: 1_000) == nil)
    }

    @Test func aConnectionIsIdleFromItsLastAnswerOn() {
        var bounds = Self.bounds
        bounds.idle = .seconds(120)
        var pace = ConnectionPace(bounds, now: Self.at(0))
        #expect(!pace.isIdle(Self.at(1_000)), "it has not been used: slow it may be")
        pace.headEnded(now: Self.at(1_000))
        #expect(!pace.isIdle(Self.at(2_000)))
        pace.requestEnded(now: Self.at(2_000))
        pace.answered(now: Self.at(3_000))
        #expect(!pace.isIdle(Self.at(3_120)))
        #expect(pace.isIdle(Self.at(3_121)))
        pace.arrived(1, now: Self.at(3_121))
        #expect(!pace.isIdle(Self.at(9_000)))
    }

    @Test func aBodyMayTakeAsLongAsItsBytesAreWorth() {
        var pace = ConnectionPace(Self.bounds, now: Self.at(0))
        pace.headEnded(now: Self.at(0))
        pace.body(40_960)
        #expect(Self.look(&pace, at: 40) == nil)
        #expect(Self.look(&pace, at: 41) == .slowBody)
    }

    @Test func aWholeRequestHasAnEndWhateverItsSpeed() {
        var pace = ConnectionPace(Self.bounds, now: Self.at(0))
        pace.headEnded(now: Self.at(0))
        pace.body(1 << 30)
        #expect(Self.look(&pace, at: 900) == nil)
        #expect(Self.look(&pace, at: 901) == .slowBody)
    }

    @Test func aClientIsNotSlowWhileTheServerDoesNotRead() {
        var pace = ConnectionPace(Self.bounds, now: Self.at(0))
        pace.headEnded(now: Self.at(0))
        #expect(Self.look(&pace, at: 1_000, isReading: false) == nil)
        #expect(Self.look(&pace, at: 1_030) == nil)
        #expect(Self.look(&pace, at: 1_031) == .slowBody)
    }

    @Test func anAnswerThatIsNotTakenIsCutOff() {
        var pace = ConnectionPace(Self.bounds, now: Self.at(0))
        pace.headEnded(now: Self.at(0))
        pace.requestEnded(now: Self.at(1))
        pace.wrote(1_000_000)
        #expect(Self.look(&pace, at: 0, buffered: 900_000) == nil)
        #expect(Self.look(&pace, at: 60, buffered: 870_000) == nil, "500 bytes a second are enough")
        #expect(Self.look(&pace, at: 120, buffered: 840_001) == .slowReader)
    }

    @Test func oneAddressHoldsAQuarterAndLoopbackKeepsItsReserve() throws {
        var bounds = ConnectionBounds()
        bounds.total = 8
        bounds.perAddress = 2
        bounds.loopbackReserve = 3
        var count = ConnectionCount(bounds)
        func peer(_ address: String) throws -> ConnectionCount.Peer {
            .init(try SocketAddress(ipAddress: address, port: 1))
        }
        #expect(count.open(try peer("192.0.2.1")) == nil)
        #expect(count.open(try peer("::ffff:192.0.2.1")) == nil)
        #expect(count.open(try peer("192.0.2.1")) == .connectionsOfAddress)
        #expect(count.open(try peer("2001:db8::1")) == nil)
        #expect(count.open(try peer("2001:db8::2")) == nil)
        #expect(count.open(try peer("2001:db8::3")) == .connectionsOfAddress, "a host has a /64 for itself")
        #expect(count.open(try peer("198.51.100.1")) == nil)
        #expect(count.open(try peer("198.51.100.2")) == .connections)
        for address in ["127.0.0.1", "127.0.0.1", "::1"] { #expect(count.open(try peer(address)) == nil) }
        #expect(count.open(try peer("::1")) == .connections)
        count.close(try peer("192.0.2.1"))
        #expect(count.count == 7)
        #expect(count.open(try peer("127.0.0.1")) == nil)
    }
}
