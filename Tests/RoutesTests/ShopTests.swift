// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering
import Foundation
import Routes
import Testing

@Suite struct ShopTests {
    let compiled: CompiledRoutes

    init() throws {
        let url = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/shop.conf")
        let text = try String(contentsOf: url, encoding: .utf8)
        compiled = RouteCompiler.compile(
            "routes.conf",
            from: MemorySources(
                text, secrets: ["FULFIL_SECRET": "whsec_a", "SLACK_WEBHOOK_URL": "https://hooks.slack.com/x"]),
            strictEnvironment: true)
    }

    @Test func theShopCompilesAndOnlyItsUnreadTopicIsMentioned() throws {
        #expect(compiled.diagnostics.map(\.message) == ["no subscriber takes from topic \"stock\""])
        let table = try #require(compiled.table)
        #expect(
            table.subscribers.map(\.name) == [
                "receipts", "inventory", "fulfilment", "order_history", "slack", "daily_digest", "oncall",
            ])
        #expect(table.topics.map(\.name) == ["orders", "stock", "$dead", "$config", "$alert"])
    }

    @Test func itsTestPasses() throws {
        let table = try #require(compiled.table)
        #expect(table.tests.count == 1)
        for test in table.tests { #expect(run(test, table: table) == []) }
    }
}
