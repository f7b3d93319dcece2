// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Synchronization
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@testable import Scripting

/// What is left behind by handlers that were stopped: nothing. `SOAK_KILLS=100000` makes it a long run.
@Suite(.timeLimit(.minutes(30)))
struct KillTests {
    private static func resident() -> Int {
        let pages = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
        return (pages.flatMap { Int($0[1]) } ?? 0) * sysconf(Int32(_SC_PAGESIZE))
    }

    @Test func killsLeaveNoMemoryBehind() async throws {
        let count = max(1_000, Int(ProcessInfo.processInfo.environment["SOAK_KILLS"] ?? "") ?? 3_000)
        let deliveries = try await Harness("return function() end")
        let host = ScriptHost(services: FakeServices().services)
        let destination = try await host.load(
            Harness.binding(
                """
                return function(event, ctx)
                  local kept, kind = {}, event.data.kind
                  local _ <close> = setmetatable({}, {__close = function() while true do end end})
                  if kind == "memory" then while true do kept[#kept + 1] = {kind} end end
                  if kind == "wall" then ctx.sleep(60) end
                  while true do pcall(function() kept[#kept % 100 + 1] = coroutine.wrap(function() return {} end)() end) end
                end
                """, cpu: .microseconds(500), memory: 512 << 10, timeout: .milliseconds(20)))
        let waiting = Mutex<CheckedContinuation<Settlements, Never>?>(nil)
        destination.start { settlements in
            waiting.withLock { waiting in
                waiting?.resume(returning: settlements)
                waiting = nil
            }
        }
        // Of these, few wait for the timeout: they take 20 ms each.
        let events: [Event] = ["loop", "memory", "wall"].map { .order(#"{"kind": "\#($0)"}"#) }
        let kinds = deliveries.deliveries(events)
        var first: Int?
        for done in 1...count {
            let delivery = kinds[done % 100 == 0 ? 2 : done % 10 == 0 ? 1 : 0]
            let settlements = await withCheckedContinuation { continuation in
                waiting.withLock { $0 = continuation }
                destination.deliver([delivery])
            }
            guard case .retry(nil, let reason)? = settlements.others.first?.outcome, reason.hasPrefix("stopped: ")
            else {
                Issue.record("\(settlements)")
                return
            }
            if done == count / 10 { first = Self.resident() }
            if count > 10_000, done % (count / 10) == 0 {
                print("\(done) kills: \(Self.resident() >> 10) KiB resident")
            }
        }
        let before = try #require(first)
        let after = Self.resident()
        await destination.stop(.removed, deadline: .seconds(1))
        // What a kill may leave behind without being seen here is less than 1 KiB.
        #expect(after < before + before / 50 + (2 << 20), "\(before >> 10) KiB grew to \(after >> 10) KiB")
    }
}
