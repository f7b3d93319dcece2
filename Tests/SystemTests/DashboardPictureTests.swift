// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The pictures of docs/dashboard.md: the shop of the repository, busy, with a subscriber that fails. `make pictures`.
struct DashboardPictureTests {
    private static let folder = ProcessInfo.processInfo.environment["PICTURES"]
    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    private static let tax = """
        local rates = { DE = 0.19, FR = 0.2, IT = 0.22 }

        return function(event, ctx)
          local country = event.data.customer.country
          local rate = rates[country] or error("no tax rate for the country " .. tostring(country))
          ctx.state.add("cents", math.floor(event.data.total * rate * 100))
        end
        """

    private static let more = """

        subscriber tax {
          from  orders
          where type = 'order.placed'
          run   tax
          retry standard { attempts 2; backoff 200ms }
        }

        subscriber slack {
          from  orders
          where type = 'order.placed' and data.total >= 280
          run   slack { webhook secret("SLACK"); channel "#sales" }
          allow http "127.0.0.1:PORT"
          retry standard
        }
        """

    private static let later = """

        subscriber big_orders {
          from  orders
          where data.total >= 250 and data.customer.country in ('DE', 'FR')
          pull
        }

        """

    private func shop(warehouse: Int, slack: Int) async throws -> RunningServer {
        let server = try RunningServer(routes: "", plugins: ["tax": Self.tax])
        let plugins = Self.repository.appendingPathComponent("Plugins")
        for file in try FileManager.default.contentsOfDirectory(atPath: plugins.path)
        where file == "lib" || file.hasSuffix(".lua") {
            try FileManager.default.copyItem(
                at: plugins.appendingPathComponent(file), to: server.folder.appendingPathComponent("Plugins/\(file)"))
        }
        let routes = try String(contentsOf: Self.repository.appendingPathComponent("routes.conf"), encoding: .utf8)
            .split(separator: "\n", omittingEmptySubsequences: false).filter { !$0.hasPrefix("listen") }
            .joined(separator: "\n").replacing("127.0.0.1:9090", with: "127.0.0.1:\(warehouse)")
            .replacing("initial 30", with: "initial 1000000")
        try server.write(routes: routes + Self.more.replacing("PORT", with: "\(slack)"))
        try await server.start(environment: ["SLACK": "http://127.0.0.1:\(slack)/hook"])
        return server
    }

    /// Publishes about thirty orders a second, and takes for `accounting`, until it is cancelled.
    private static func trade(_ port: Int) async throws {
        var random = SystemRandomNumberGenerator()
        let names = ["Ada", "Grace", "Linus", "Edsger", "Barbara", "Margaret"]
        var number = 4_000
        while !Task.isCancelled {
            let lines = (0..<Int.random(in: 3...12, using: &random)).map { _ in
                number += 1
                let name = names.randomElement(using: &random)!
                let country = number % 90 == 0 ? "IS" : ["DE", "FR", "IT"].randomElement(using: &random)!
                let kind = ["placed", "placed", "placed", "placed", "placed", "refunded"].randomElement(using: &random)!
                let total = Double(Int.random(in: 500...30_000, using: &random)) / 100
                return
                    #"{"specversion":"1.0","id":"order-\#(number)","source":"/shop","type":"order.\#(kind)","data":{"#
                    + #""order_id":"o-\#(number)","total":\#(total),"currency":"EUR","#
                    + #""items":[{"sku":"TEA-07","quantity":1,"price":\#(total)}],"#
                    + #""customer":{"name":"\#(name)","country":"\#(country)","email":"\#(name.lowercased())@example.com"}}}"#
            }
            _ = try await Loopback.send(
                "POST", port, "/v1/topics/orders/events", body: Array(lines.joined(separator: "\n").utf8),
                type: "application/x-ndjson")
            let pulled = try await Loopback.send(
                "POST", port, "/v1/subscribers/accounting/pull", body: Array(#"{"max":1000}"#.utf8)
            ).object
            let leases = (pulled["deliveries"] as? [[String: Any]] ?? []).compactMap { $0["lease"] as? String }
            _ = try await Loopback.send(
                "POST", port, "/v1/subscribers/accounting/settle",
                body: Array(try JSONSerialization.data(withJSONObject: ["ack": leases])))
            try await Task.sleep(for: .milliseconds(250))
        }
    }

    @Test(.enabled(if: folder != nil), .timeLimit(.minutes(5)), .browser)
    func picturesForTheDocumentation() async throws {
        let target = URL(fileURLWithPath: try #require(Self.folder))
        let sink = try Sink()
        // Nobody listens there.
        let server = try await shop(warehouse: sink.port, slack: try Loopback.freePort())
        let port = server.port
        let trade = Task { try await Self.trade(port) }
        defer { trade.cancel() }
        let browser = try await Browser.fresh()
        try await browser.size(1280, 760)
        try await browser.open("http://127.0.0.1:\(port)/")
        try await eventually("some are dead, and rates are known", within: .seconds(120)) {
            try await server.subscriber("tax")["dead"] as? Int ?? 0 >= 6
        }
        /// The page from the first panel that has `first`, or from its top, to the end of the last that has `last`.
        func keep(_ name: String, from first: String? = nil, to last: String) async throws {
            let edges =
                try await browser.script(
                    """
                    const parts = (text) => [...document.querySelectorAll("main .panel, main .events, main .why")]
                      .filter((e) => e.textContent.includes(text)).map((e) => e.getBoundingClientRect());
                    const top = arguments[0] === null ? 0 : parts(arguments[0]).at(-1).top + scrollY - 12;
                    return [Math.floor(top), Math.ceil(parts(arguments[1]).at(-1).bottom + scrollY + 14)];
                    """, first ?? NSNull(), last) as? [Int]
            let (top, bottom) = (try #require(edges?.first), try #require(edges?.last))
            try await browser.size(1280, bottom - top)
            // A note that is about to go would hide something.
            _ = try await browser.script(
                "document.querySelectorAll('.toast').forEach((e) => e.remove()); scrollTo(0, arguments[0])", top)
            try await browser.picture().write(to: target.appendingPathComponent("\(name).png"))
        }
        func view(_ address: String, _ text: String) async throws {
            try await browser.open("http://127.0.0.1:\(port)/#/\(address)")
            try await browser.see(text, in: "main")
        }
        let routes = server.folder.appendingPathComponent("routes.conf")
        try await browser.see(" dead", in: ".picture")
        try await keep("routing", to: "Who gets what")
        try await browser.use(dark: true)
        try await keep("routing-dark", to: "Who gets what")
        try await browser.use(dark: false)
        try await view("dead", "no tax rate")
        try await keep("dead-letters", to: "Letters")
        try await view("dead/1", "Attempt 2")
        try await keep("dead-letter", to: "Send again")
        try await browser.use(dark: true)
        try await browser.click("main a", "order-")
        try await browser.see("Its subscribers", in: "main")
        try await keep("why-dark", from: "daily_digest", to: "Not for these")
        try await browser.use(dark: false)

        try await browser.size(1280, 760)
        try await view("tail/orders?where=data.total%20%3E%20200", "order.placed")
        try await browser.click("main button", "Hold")
        try await browser.click(".events summary")
        try await browser.see("Who got it, and why", in: ".events")
        try await keep("tail", to: "order.")
        try await browser.size(1280, 760)
        try await view("events", "By time and filter")
        try await browser.fill("input[placeholder='data.total >= 100']", "data.customer.country = 'IS'")
        try await browser.click("main button", "Search")
        try await browser.see("that were looked at")
        try await keep("events", to: "order.")
        try await view("subscriber/tax", "before it alike")
        for text in ["gave up after", "Stands at"] { try await browser.see(text, in: "main") }
        try await keep("subscriber", to: "Stands at")
        let replay = try await server.post(
            "/v1/subscribers/order_history/replay",
            #"{"from":"earliest","where":"type = 'order.refunded'","rate":"5/s"}"#)
        #expect(replay.status == 202, "\(replay.text)")
        try await view("history", "running")
        try await keep("history", to: "Over")
        try Data((try String(contentsOf: routes, encoding: .utf8) + Self.later).utf8).write(to: routes)
        try await browser.size(1280, 760)
        try await view("generations", "Loaded")
        try await browser.click("main button", "Reload")
        try await browser.see("generation 2", in: ".link")
        try await view("generations/2", "Generation 2 against 1")
        try await keep("generations", to: "Loaded")
        try await browser.size(390, 844)
        try await view("", "Who gets what")
        try await browser.picture().write(to: target.appendingPathComponent("phone.png"))
        try await browser.expectClean(port: port)
    }
}
