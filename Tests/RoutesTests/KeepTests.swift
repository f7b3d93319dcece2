// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Routes

struct KeepTests {
    @Test func whatIsRememberedHasDefaultsAndCanBeSaid() {
        #expect(compile("topic orders").table?.keep == KeepSettings())
        let said = compile("topic orders\nkeep { attempts 30d; dead 400d }").table?.keep
        #expect(said?.attempts == .seconds(30 * 86_400))
        #expect(said?.dead == .seconds(400 * 86_400))
        #expect(compile("topic orders\nkeep { dead forever }").table?.keep.dead == nil)
    }

    @Test func aChangeOfItNeedsNoRestart() throws {
        let before = try #require(compile("topic orders").table)
        let after = try #require(compile("topic orders\nkeep { attempts 1d }").table)
        let diff = RouteDiff(from: before, to: after)
        #expect(diff.settings == ["keep"])
        #expect(diff.restartOnly.isEmpty)
    }
}
