// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Synchronization
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@testable import Scripting

/// P6: one bad part stays one bad part. Each offender is stopped in time while a subscriber beside it keeps its pace.
/// `SHOW_FIGURES=1` prints them.
@Suite(.timeLimit(.minutes(5)), .serialized)
struct NeighbourTests {
    private static let cpu: Duration = .milliseconds(100)
    /// Beyond the limit, in processor time of the lane: on a machine that is busy with something else, the clock on the wall
    /// says nothing of the host.
    private static let late: Duration = .milliseconds(100)

    /// Delivers to the neighbour, one event after the other, until told to stop; how long each took.
    private func pace(_ neighbour: Harness, until isOver: () -> Bool) async -> [Duration] {
        var times: [Duration] = []
        repeat {
            let start = ContinuousClock.now
            let outcome = await neighbour.run("{}").outcome
            times.append(ContinuousClock.now - start)
            #expect(outcome == .ack)
        } while !isOver()
        return times.sorted()
    }

    /// The processor time of the lane's thread so far.
    private static func used(by lane: Lane) async -> Duration {
        await withCheckedContinuation { continuation in
            lane.submit {
                var time = timespec()
                clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
                continuation.resume(returning: .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec))
            }
        }
    }

    private func p99(_ times: [Duration]) -> Duration { times[min(times.count - 1, times.count * 99 / 100)] }

    private func keepsItsPace(
        beside name: String, stoppedFor limit: String, cpu: Duration, memory: Int, late: Duration = Self.late
    ) async throws {
        let host = ScriptHost(services: FakeServices().services)
        let offender = try await Harness(
            Offenders.source, cpu: cpu, memory: memory, timeout: .seconds(60), host: host, subscriber: "offender")
        let neighbour = try await Harness("return function(event) end", host: host, subscriber: "neighbour")
        var seen: [(quiet: Duration, beside: Duration, stop: Duration)] = []
        // A stall of the machine is no stall of the lane: it doesn't come back three times.
        for _ in 0..<3 {
            let start = ContinuousClock.now
            let quiet = p99(await pace(neighbour) { ContinuousClock.now - start > .milliseconds(100) })
            let isOver = Mutex(false)
            async let stops = {
                var best: Duration = .seconds(60)
                for _ in 0..<3 {
                    let start = await Self.used(by: offender.destination.lane)
                    let settlement = await offender.run(#"{"run": "\#(name)"}"#)
                    best = min(best, await Self.used(by: offender.destination.lane) - start)
                    guard case .retry(nil, let reason) = settlement.outcome, reason.hasPrefix("stopped: "),
                        reason.contains(limit)
                    else {
                        Issue.record("\(settlement.outcome)")
                        break
                    }
                }
                isOver.withLock { $0 = true }
                return best
            }()
            let beside = p99(await pace(neighbour) { isOver.withLock { $0 } })
            seen.append((quiet, beside, await stops))
            if isGood(seen.last!, cpu + late) { break }
        }
        #expect(seen.contains { isGood($0, cpu + late) }, "\(seen)")
        if ProcessInfo.processInfo.environment["SHOW_FIGURES"] != nil { print("\(name): \(seen.last!)") }
    }

    /// The neighbour's bound is a fifth of what it would wait behind one stop on a lane of both.
    private func isGood(_ run: (quiet: Duration, beside: Duration, stop: Duration), _ stop: Duration) -> Bool {
        run.beside <= max(Self.cpu / 5, run.quiet * 5) && run.stop <= stop
    }

    @Test(arguments: Offenders.loops)
    func aLoopIsStoppedInTimeWhileItsNeighbourKeepsItsPace(_ name: String) async throws {
        // What the host does to answer a call of ctx is not the script's processor time.
        let late: Duration = name == "answers at once" ? .seconds(5) : Self.late
        try await keepsItsPace(beside: name, stoppedFor: "processor time", cpu: Self.cpu, memory: 32 << 20, late: late)
    }

    @Test(arguments: Offenders.hogs.filter { $0 != "deep recursion" })
    func aMemoryHogIsStoppedWhileItsNeighbourKeepsItsPace(_ name: String) async throws {
        try await keepsItsPace(beside: name, stoppedFor: "memory", cpu: .seconds(2), memory: 4 << 20)
    }

    @Test func theOffendersAreAllThere() {
        #expect(Offenders.loops.count >= 20)
        #expect(Offenders.hogs.count >= 6)
    }

    @Test func eachSubscriberHasALaneOfItsOwnAndGivesItBack() async throws {
        let host = ScriptHost(services: FakeServices().services, lanes: 3)
        do {
            var subscribers: [Harness] = []
            for index in 0..<5 {
                subscribers.append(
                    try await Harness("return function() end", host: host, subscriber: "s\(index)"))
            }
            #expect(host.lanes.count == 3)
            #expect(Set(subscribers.map { ObjectIdentifier($0.destination.lane) }).count == 3)
            for subscriber in subscribers {
                #expect(await subscriber.run().outcome == .ack)
                await subscriber.destination.stop(.removed, deadline: .seconds(1))
            }
        }
        // The last reference may go with a job that a lane is just putting away.
        let end = ContinuousClock.now + .seconds(30)
        while host.lanes.count > 0, ContinuousClock.now < end { await Task.yield() }
        #expect(host.lanes.count == 0)
    }
}
