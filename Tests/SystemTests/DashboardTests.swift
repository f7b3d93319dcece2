// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The dashboard of the real program in a real browser.
@Suite(.serialized, .browser)
struct DashboardTests {
    static let routes = """
        topic orders { retain 30d; key data.order_id }
        topic stock { retain 30d }
        retry twice { attempts 2; backoff 10ms; timeout 5s }
        subscriber receipts { from orders; where type = 'order.placed'; run receipts; retry twice; start earliest }
        subscriber books { from orders, stock; pull; start earliest }
        """

    static let strict = """
        return function(event, ctx)
          if not event.data.email then
            error("order " .. event.data.order_id .. " has no address")
          end
          ctx.state.add("sent", 1)
        end
        """

    func shop(_ routes: String = routes) async throws -> RunningServer {
        let server = try RunningServer(routes: routes, plugins: ["receipts": Self.strict])
        try await server.start()
        return server
    }

    func publish(
        _ server: RunningServer, _ id: String, type: String = "order.placed", _ data: String
    ) async throws {
        let answer = try await server.post(
            "/v1/topics/orders/events",
            #"{"specversion":"1.0","id":"\#(id)","source":"/shop","type":"\#(type)","data":\#(data)}"#,
            type: "application/cloudevents+json")
        #expect(answer.status == 202, "\(answer.text)")
    }

    func open(_ server: RunningServer, _ view: String = "") async throws -> Browser {
        let browser = try await Browser.fresh()
        try await browser.open("http://127.0.0.1:\(server.port)/\(view)")
        try await browser.see("live", in: ".link")
        return browser
    }

    /// Without a suite's browser: one of its own.
    @Test(.timeLimit(.minutes(3)))
    func aBrowserLeavesNothingBehind() async throws {
        var process: BrowserProcess?
        try await Browser.run { browser in
            process = browser.process
            try await Browser.$current.withValue(browser) { try await Browser.fresh().open("about:blank") }
            #expect(try browser.process.remaining().count > 3, "the shell, the driver and Chromium are seen")
        }
        let gone = try #require(process)
        #expect(try gone.remaining() == [])
        #expect(!FileManager.default.fileExists(atPath: gone.folder.path))
    }

    // MARK: Dead letters

    @Test(.timeLimit(.minutes(3)))
    func deadLettersAreReadMendedAndSentAgainBehindACanaryByClicksAlone() async throws {
        let server = try await shop()
        for number in 1...2 {
            // Numbers that a browser's own would round.
            try await publish(
                server, "e-\(number)",
                #"{"order_id":"o-\#(number)","serial":9007199254740993,"price":10.50,"note":"gift"}"#)
            // One after the other, so that a letter has the number of its order: retries due at once run in any order.
            try await eventually("order \(number) is dead") {
                try await server.subscriber("receipts")["dead"] as? Int == number
            }
        }
        let browser = try await open(server)
        try await browser.see("2 dead", in: ".picture")

        // Both failed twice: each error is told once.
        try await browser.click(".picture a.subscriber", "receipts")
        try await browser.see("order o-2 has no address", in: "main .attempts")
        try await browser.see("order o-1 has no address", in: "main .attempts")
        try await browser.see("and 1 before it alike", in: "main .attempts")
        try await browser.see("in function <", in: "main .attempts .trace")
        try await browser.click("main .attempts a", "orders 1")
        try await browser.see("1 of 1 that were looked at", in: "main")
        try await browser.see("o-2", in: ".events")

        try await browser.click("nav a", "Dead letters")
        try await browser.see("has no address", in: "main")
        try await browser.click("main table a.reason")
        try await browser.see("A group of dead letters", in: "h1")
        for letter in 1...2 {
            try await browser.click("main a[href='#/dead/\(letter)']")
            try await browser.see("Dead letter \(letter)", in: "h1")
            try await browser.see("Attempt 2", in: ".attempts")
            try await browser.see("Plugins/receipts.lua:3: order o-\(letter) has no address", in: ".attempts")
            try await browser.see("in function <", in: ".attempts .trace")
            try await browser.fill("textarea", "{")
            try await browser.click("main button", "Save")
            try await browser.see("This is no JSON")
            // The note goes, the address comes; the rest stays as it was written.
            try await browser.fill(
                "textarea",
                #"{"order_id":"o-\#(letter)","serial":9007199254740993,"price":10.50,"email":"ada@example.com"}"#)
            try await browser.click("main button", "Save")
            try await browser.see("The event, as it was published")
            try await browser.see(#""note": "gift""#, in: "main pre")
            try await browser.click("main a", "All that failed alike")
            try await browser.see("A group of dead letters", in: "h1")
        }
        try await browser.see("mended", in: "main table")
        #expect(
            try await browser.script("return document.querySelector('input[type=checkbox]').checked") as? Bool == true)
        try await browser.click("main button", "Send again")
        try await browser.see("2 of 2 acknowledged", in: ".run")
        try await browser.see("There are no dead letters.", in: "main")
        try await eventually("none is dead") { try await server.subscriber("receipts")["dead"] as? Int == 0 }

        let kept = try await server.get("/v1/dead/1").text
        #expect(kept.contains(#""resolution":"acknowledged""#), "\(kept)")
        #expect(kept.contains(#""email":"ada@example.com""#), "\(kept)")
        #expect(kept.components(separatedBy: "9007199254740993").count == 3, "mended and original: \(kept)")
        #expect(kept.components(separatedBy: "10.50").count == 3, "\(kept)")
        #expect(kept.components(separatedBy: "gift").count == 2, "only the original: \(kept)")
        #expect(try await server.command("state", "get", "receipts", "sent").output == "2\n")
        try await browser.expectClean(port: server.port)
    }

    @Test(.timeLimit(.minutes(3)))
    func aCanaryThatFailsStopsTheOthersAndADiscardAsksWhy() async throws {
        let server = try await shop()
        for number in 1...3 { try await publish(server, "e-\(number)", #"{"order_id":"o-\#(number)"}"#) }
        try await eventually("three are dead") { try await server.subscriber("receipts")["dead"] as? Int == 3 }
        let browser = try await open(server, "#/dead?subscriber=receipts")
        try await browser.click("main button", "Send again")
        try await browser.see("stopped", in: ".run")
        try await browser.see("0 of 3 acknowledged, 1 failed again", in: ".run")
        try await browser.see("It stopped at letter", in: ".run")
        try await eventually("what was sent is dead again") {
            try await server.subscriber("receipts")["dead"] as? Int == 3
        }
        try await browser.click("main button", "Discard all 3")
        try await browser.click("dialog button", "Cancel")
        try await browser.click("main button", "Discard all 3")
        try await browser.fill("dialog input", "orders of a test")
        try await browser.click("dialog button", "Discard")
        try await browser.see("There are no dead letters.", in: "main")
        #expect(try await server.get("/v1/dead?state=resolved").text.contains("orders of a test"))
        try await browser.expectClean(port: server.port)
    }

    // MARK: Events

    @Test(.timeLimit(.minutes(3)))
    func theTailShowsWhatPassesItsFilter() async throws {
        let server = try await shop()
        try await publish(server, "before", #"{"order_id":"o-0","email":"a@example.com","total":900}"#)
        let browser = try await open(server)
        try await browser.click("nav a", "Tail")
        try await browser.see("order.placed", in: ".events")
        try await browser.fill("input.mono", "data.total >= 100 and type = 'order.placed'")
        try await browser.click("main button", "Apply")
        try await browser.see("o-0", in: ".events")
        try await publish(server, "small", #"{"order_id":"o-small","email":"a@example.com","total":5}"#)
        try await publish(server, "big", #"{"order_id":"o-big","email":"a@example.com","total":100}"#)
        try await browser.see("o-big", in: ".events")
        #expect(!(try await browser.text(of: ".events").contains("o-small")))

        try await browser.click("main button", "Hold")
        try await publish(server, "later", #"{"order_id":"o-later","email":"a@example.com","total":101}"#)
        try await browser.see("held; 1 event came meanwhile")
        #expect(!(try await browser.text(of: ".events").contains("o-later")))
        try await browser.click("main button", "Go on")
        try await browser.see("o-later", in: ".events")

        try await browser.fill("input.mono", "data.total >")
        try await browser.click("main button", "Apply")
        try await browser.see("is no filter", in: "main")
        try await browser.expectClean(port: server.port, refusals: [400])
    }

    @Test(.timeLimit(.minutes(3)))
    func eventsAreFoundByTimeFilterAndIdAndSayWhoGotThemAndWhy() async throws {
        let server = try await shop()
        for number in 1...150 {
            try await publish(
                server, "e-\(number)", type: number == 77 ? "order.lost" : "order.placed",
                #"{"order_id":"o-\#(number)","email":"a@example.com","total":\#(number)}"#)
        }
        let browser = try await open(server, "#/events")
        try await browser.click("main button", "Search")
        try await browser.see("100 of 100 that were looked at; there are older ones")
        try await browser.click("main button", "Go on searching")
        try await browser.see("150 of 150 that were looked at")
        try await browser.fill("input[placeholder='data.total >= 100']", "type = 'order.lost'")
        try await browser.click("main button", "Search")
        try await browser.see("1 of 150 that were looked at")
        try await browser.click(".events summary", "o-77")
        try await browser.click(".events a", "Who got it, and why")

        try await browser.see("Event e-77", in: "h1")
        try await browser.see("Its subscribers (1)", in: "main")
        try await browser.see("Not for these (1)", in: "main")
        try await browser.see("type = 'order.placed'", in: ".why .terms")
        try await browser.see("false", in: ".why .terms")

        try await browser.click("nav a", "Events")
        try await browser.fill("input[placeholder='order-4711']", "e-5")
        try await browser.press(.enter)
        try await browser.see("Event e-5", in: "h1")
        try await browser.see("Attempt 1", in: ".why")
        try await browser.click("nav a", "Events")
        try await browser.fill("input[placeholder='order-4711']", "nobody")
        try await browser.press(.enter)
        try await browser.see("no event with the id \"nobody\" is kept")
        try await browser.expectClean(port: server.port, refusals: [404])
    }

    @Test(.timeLimit(.minutes(3)))
    func markupInAnEventIsShownAndNeverRun() async throws {
        let server = try await shop()
        let evil = "<img src=x onerror=window.hit=1><script>window.hit=2</script>"
        try await publish(
            server, evil, #"{"order_id":"\#(evil)","\#(evil)":"\#(evil)","link":"javascript:window.hit=3"}"#)
        try await eventually("it is dead") { try await server.subscriber("receipts")["dead"] as? Int == 1 }
        let path = evil.addingPercentEncoding(withAllowedCharacters: .alphanumerics)!
        let browser = try await open(server)
        for view in [
            "dead", "dead/1", "tail/orders", "events/\(path)", "subscriber/receipts", "subscriber/\(path)",
            "tail/\(path)",
        ] {
            _ = try await browser.script("location.hash = arguments[0]", "#/\(view)")
            // Where nothing of that name exists, the refusal or the title shows it.
            try await browser.see(evil, in: "main, #toasts")
            let made = try await browser.script(
                "return document.querySelectorAll('main img, main script, main [onerror]').length")
            #expect(made as? Int == 0, "\(view)")
        }
        #expect(try await browser.script("return window.hit ?? 0") as? Int == 0)
        try await browser.expectClean(port: server.port, refusals: [404])
        // And were there a mistake: text doesn't become markup here.
        let held = try await browser.script(
            "try { document.createElement('p').innerHTML = '<b>x</b>'; return 'done' } catch (e) { return e.name }")
        #expect(held as? String == "TypeError")
    }

    // MARK: Switches

    @Test(.timeLimit(.minutes(3)))
    func aSubscriberIsPausedAndResumedWithTheKeyboardAlone() async throws {
        let server = try await shop()
        let browser = try await open(server)
        try await browser.see("receipts", in: ".picture")
        try await browser.press(.tab)
        #expect(try await browser.script("return document.activeElement.id") as? String == "skip")
        try await browser.press(.enter)
        #expect(try await browser.script("return document.activeElement.id") as? String == "main")
        try await browser.tab(to: "Subscriber receipts")
        try await browser.press(.enter)
        try await browser.see("receipts", in: "h1")
        try await browser.tab(to: "Pause")
        try await browser.press(.enter)
        try await browser.see("Nothing is lost", in: "dialog")
        try await browser.press(.escape)
        #expect(try await server.subscriber("receipts")["state"] as? String == "live")
        try await browser.tab(to: "Pause")
        try await browser.press(.space)
        try await browser.see("Nothing is lost", in: "dialog")
        try await browser.write("moving house")
        try await browser.press(.enter)
        try await browser.see("paused", in: ".standing")
        try await browser.see("moving house", in: ".standing")
        #expect(try await server.subscriber("receipts")["state"] as? String == "paused")
        try await browser.tab(to: "Resume")
        try await browser.press(.enter)
        try await browser.see("live", in: ".standing")
        #expect(try await server.subscriber("receipts")["state"] as? String == "live")
        // What changed is also said.
        let told = try await browser.script("return document.getElementById('announcer').textContent") as? String
        #expect(told?.contains("receipts is") == true, "\(told ?? "")")
        try await browser.expectClean(port: server.port)
    }

    @Test(.timeLimit(.minutes(3)))
    func aReplayIsStartedWatchedAndCancelled() async throws {
        let server = try await shop()
        for number in 1...40 {
            try await publish(server, "e-\(number)", #"{"order_id":"o-\#(number)","email":"a@example.com"}"#)
        }
        try await eventually("all are acknowledged") { try await server.subscriber("receipts")["acked"] as? Int == 40 }
        let browser = try await open(server, "#/history")
        try await browser.see("A new replay")
        try await browser.fill("input[placeholder='100/s']", "1/m")
        try await browser.click("main button", "Start replay")
        try await browser.see("of 40", in: "main table")
        try await browser.see("running", in: "main table")
        try await browser.click("main table button", "Cancel")
        try await browser.click("dialog button", "Cancel it")
        try await browser.see("cancelled", in: "main table")
        try await browser.see("None is under way.")
        try await browser.expectClean(port: server.port)
    }

    @Test(.timeLimit(.minutes(3)))
    func anImportIsWatchedUntilItsSubscriberHasTakenAll() async throws {
        let server = try await shop()
        let browser = try await open(server, "#/history")
        try await browser.see("None is under way.")
        try Data((1...3).map { #"{"n":\#($0)}"# }.joined(separator: "\n").utf8)
            .write(to: server.folder.appendingPathComponent("past.ndjson"))
        let taken = try await server.command("import", "stock", "past.ndjson", "--only", "books", "--no-wait")
        #expect(taken.code == 0, "\(taken)")
        try await browser.see("stock, 3 taken", in: "main table")
        try await browser.see("0 of 3", in: "main table")
        func pull(_ most: Int) async throws {
            let pulled = try await server.post("/v1/subscribers/books/pull", #"{"max":\#(most),"wait":"20s"}"#).object
            let leases = (pulled["deliveries"] as? [[String: Any]] ?? []).compactMap { $0["lease"] as? String }
            #expect(leases.count == most)
            let body = String(decoding: try JSONSerialization.data(withJSONObject: ["ack": leases]), as: UTF8.self)
            #expect(try await server.post("/v1/subscribers/books/settle", body).status == 200)
        }
        try await pull(1)
        try await browser.see("1 of 3", in: "main table")
        try await browser.click("main table a", "books")
        try await browser.see("1 of 3", in: "main table")
        try await browser.click("nav a", "History")
        try await pull(2)
        try await browser.see("None is under way.")
        try await browser.see("finished", in: "main table")
        try await browser.see("3 of 3", in: "main table")
        try await browser.expectClean(port: server.port)
    }

    @Test(.timeLimit(.minutes(3)))
    func aReloadThatWasUndoneIsShownWithWhatFailed() async throws {
        let server = try await shop()
        try await publish(server, "e-1", #"{"order_id":"o-1","email":"a@example.com"}"#)
        try await eventually("it is acknowledged") { try await server.acked("receipts") == 1 }
        let browser = try await open(server)
        try server.write(
            plugin: "receipts", "return function(event, ctx)\n  error('lost the address book')\nend\n")
        #expect(try await server.command("reload").code == 0)
        for number in 2...6 {
            try await publish(server, "e-\(number)", #"{"order_id":"o-\#(number)","email":"a@example.com"}"#)
        }
        try await browser.see("reload undone", in: "main table")
        try await browser.click("main table a", "receipts")
        try await browser.see("Generation 2 changed it", in: "main .failure")
        try await browser.see("It went back to what it was in generation 1", in: "main .failure")
        try await browser.see("Plugins/receipts.lua:2: lost the address book", in: "main .trace")
        try await browser.click("main .failure a", "Generation 2")
        try await browser.see("lost the address book", in: ".diff .added")
        try await browser.expectClean(port: server.port)
    }

    @Test(.timeLimit(.minutes(3)))
    func aReloadShowsWhatItWouldChangeAndWhatItChanged() async throws {
        let server = try await shop()
        let browser = try await open(server, "#/generations")
        try server.write(routes: Self.routes + "\nsubscriber extra { from orders; where data.total > 10; pull }")
        try await browser.click("main button", "What would a reload change?")
        try await browser.see("extra", in: "main table")
        try await browser.see("added", in: "main table")
        try await browser.click("main button", "Reload")
        try await browser.see("Generation 2: extra added", in: "#toasts")
        try await browser.see("generation 2", in: ".link")
        try await browser.click("main table a", "diff")
        try await browser.see("Generation 2 against 1", in: "main")
        try await browser.see("+subscriber extra { from orders; where data.total > 10; pull }", in: ".diff .added")
        try await browser.click("nav a", "Routing")
        try await browser.see("data.total > 10", in: ".picture")
        try server.write(routes: Self.routes + "\nsubscriber broken { from nowhere; pull }")
        try await browser.click("nav a", "Generations")
        try await browser.click("main button", "Reload")
        try await browser.see("unknown topic \"nowhere\"", in: "main")
        try await browser.see("generation 2", in: ".link")
        try await browser.expectClean(port: server.port, refusals: [422])
    }

    // MARK: Who may

    @Test(.timeLimit(.minutes(3)))
    func aTokenIsAskedForAndKeptForTheTabOnly() async throws {
        let server = try RunningServer(
            routes: Self.routes + """

                token "eyes" secret("EYES") { read }
                token "root" secret("ROOT") { admin }
                """, plugins: ["receipts": Self.strict])
        try await server.start(environment: ["EYES": "token-of-the-eyes", "ROOT": "token-of-root"])
        let browser = try await Browser.fresh()
        try await browser.open("http://127.0.0.1:\(server.port)/")
        try await browser.see("This server asks for a token", in: "dialog")
        try await browser.fill("dialog input", "wrong")
        try await browser.press(.enter)
        try await browser.see("no token of routes.conf is the one that was sent", in: "dialog")
        try await browser.fill("dialog input", "token-of-the-eyes")
        try await browser.press(.enter)
        try await browser.see("receipts", in: ".picture")
        try await browser.click(".picture a.subscriber", "receipts")
        try await browser.click("main button", "Pause")
        try await browser.click("dialog button", "Pause")
        try await browser.see("token \"eyes\" may not administer", in: "#toasts")
        #expect(try await server.get("/healthz").status == 200)
        let kept = try await browser.script("return [document.cookie, Object.keys(localStorage).length]") as? [Any]
        #expect(kept?[0] as? String == "" && kept?[1] as? Int == 0)
        try await browser.click(".link button", "Forget token")
        try await browser.see("This server asks for a token", in: "dialog")
        try await browser.fill("dialog input", "token-of-root")
        try await browser.press(.enter)
        try await browser.click("main button", "Pause")
        try await browser.click("dialog button", "Pause")
        try await browser.see("paused", in: ".standing")
        try await browser.expectClean(port: server.port, refusals: [401, 403])
    }
}
