// SPDX-License-Identifier: Apache-2.0

import Events
import Testing

@testable import Routes

struct EventSizeTests {
    @Test func theLimitOfAnEventHasADefaultAndCanBeSaid() {
        #expect(compile("topic orders").table?.server.eventBytesMax == 1 << 20)
        #expect(compile("event max 64KiB\ntopic orders").table?.server.eventBytesMax == 65_536)
        #expect(compile("event max 200KB\ntopic orders").table?.server.eventBytesMax == 200_000)
    }

    @Test(arguments: ["63KiB", "65535B", "0B", "1025KiB", "1GiB"])
    func itIsNeverLessThanCloudEventsAsksForNorMoreThanARecordHolds(_ size: String) {
        let compiled = compile("event max \(size)\ntopic orders")
        #expect(compiled.table == nil)
        #expect(compiled.diagnostics.map(\.message) == ["`event max` is from 64KiB to 1MiB"])
    }

    @Test func aChangeOfItNeedsNoRestart() throws {
        let before = try #require(compile("topic orders").table)
        let after = try #require(compile("event max 64KiB\ntopic orders").table)
        let diff = RouteDiff(from: before, to: after)
        #expect(diff.settings == ["event max"])
        #expect(diff.restartOnly.isEmpty && !diff.isEmpty)
    }

    @Test func itIsLaidOutAsAnyOtherLine() {
        let text = RouteFormatter.format(Array("event   max    64KiB\n".utf8)).bytes
        #expect(String(decoding: text, as: UTF8.self) == "event max 64KiB\n")
    }
}
