// SPDX-License-Identifier: Apache-2.0

import Events
import Gateway
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import ServiceLifecycle
import Testing

@testable import Broker

struct RoutesTests {
    static func call(
        _ broker: FakeBroker, _ method: HTTPRequest.Method, _ uri: String, _ body: String? = nil,
        reload: ReloadVerdict = .applied(generation: 4, changes: []), obstacle: String? = nil
    ) async throws -> (status: HTTPResponse.Status, headers: HTTPFields, body: String) {
        try await gateway(broker, obstacle: { obstacle }, reload: { _, _ in reload }).application.test(.router) {
            client in
            let response = try await client.execute(
                uri: uri, method: method, headers: [:], body: body.map { ByteBuffer(string: $0) })
            return (response.status, response.headers, String(buffer: response.body))
        }
    }

    // MARK: Routing

    @Test(arguments: ["/v2", "/v1/topics/orders", "/v1/topics/orders/events/1", "/v1/dead/1/2", "/favicon.ico"])
    func whatIsNotThereIsSaidSo(_ path: String) async throws {
        let response = try await Self.call(FakeBroker(), .get, path)
        #expect(response.status == .notFound)
        #expect(
            response.body
                == #"{"type":"urn:fairlead:problem:not-found","title":"Not found","status":404,"#
                + #""detail":"nothing is at \#(path); GET / lists what there is"}"#)
    }

    @Test(arguments: [
        (HTTPRequest.Method.delete, "/v1/topics/orders/events", "GET, POST"),
        (.get, "/v1/subscribers/history/pull", "POST"),
        (.post, "/v1/status", "GET"), (.put, "/v1/dead/1", "DELETE, GET, PATCH"), (.get, "/v1/reload", "POST"),
        // Not the dead letter of that name.
        (.patch, "/v1/dead/redrive", "POST"), (.delete, "/v1/dead/groups", "GET"),
    ])
    func aWrongMethodIsToldTheRightOnes(_ method: HTTPRequest.Method, _ path: String, _ allow: String) async throws {
        let response = try await Self.call(FakeBroker(), method, path)
        #expect(response.status == .methodNotAllowed)
        #expect(response.headers[.allow] == allow)
        #expect(response.body.contains(#""detail":"\#(method.rawValue) isn't answered here; use \#(allow)""#))
    }

    @Test func headIsGetWithoutABody() async throws {
        let response = try await Self.call(FakeBroker(), .head, "/healthz")
        #expect(response.status == .ok)
        #expect(response.body.isEmpty)
    }

    @Test func theFrontPageSaysWhatThisIs() async throws {
        let response = try await Self.call(FakeBroker(), .get, "/")
        #expect(response.status == .ok)
        #expect(response.body.hasPrefix(#"{"name":"fairlead","version":"1.2.3""#))
        #expect(response.body.contains(#""POST /v1/topics/{topic}/events""#))
    }

    // MARK: Pull

    static func lease() -> Lease {
        let record = record(
            Event(id: "1", source: "/s", type: "t", data: .json(Array("{ \"a\":\n1}".utf8))), offset: 42)
        return Lease(
            id: "L1", delivery: Delivery(record: record, attempt: 2, replay: true),
            expires: Timestamp(milliseconds: 1_773_065_130_000))
    }

    @Test func aPullGivesLeases() async throws {
        let broker = FakeBroker()
        broker.with { $0.leases = [Self.lease()] }
        let response = try await Self.call(
            broker, .post, "/v1/subscribers/history/pull", #"{"max":5,"wait":"20s"}"#)
        #expect(response.status == .ok)
        #expect(
            response.body
                == #"{"deliveries":[{"lease":"L1","expires":"2026-03-09T14:05:30.000Z","attempt":2,"offset":42,"#
                + #""topic":"orders","replay":true,"event":{"specversion":"1.0","id":"1","source":"/s","type":"t","#
                + "\"data\":{ \"a\":\n1}}}]}")
        let pull = broker.with { $0.pulls[0] }
        #expect(pull.max == 5)
        #expect(pull.wait == .seconds(20))
    }

    @Test func aPullWithoutABodyAsksForTheDefault() async throws {
        let broker = FakeBroker()
        let response = try await Self.call(broker, .post, "/v1/subscribers/history/pull")
        #expect(response.body == #"{"deliveries":[]}"#)
        let pull = broker.with { $0.pulls[0] }
        #expect(pull.max == 100)
        #expect(pull.wait == .zero)
    }

    @Test func askingForTooMuchGivesTheMost() async throws {
        let broker = FakeBroker()
        _ = try await Self.call(broker, .post, "/v1/subscribers/history/pull", #"{"max":999999,"wait":"1h"}"#)
        let pull = broker.with { $0.pulls[0] }
        #expect(pull.max == Limits.pullEventsMax)
        #expect(pull.wait == Limits.waitMax)
    }

    @Test(arguments: [
        (#"{"max":0}"#, #"member \"max\" must be a whole number from 1 to 10000"#),
        (#"{"max":"5"}"#, #"member \"max\" must be a whole number from 1 to 10000"#),
        (#"{"max":1.5}"#, #"member \"max\" must be a whole number from 1 to 10000"#),
        (#"{"wait":20}"#, #"member \"wait\" must be a string"#),
        (#"{"wait":"20"}"#, #"member \"wait\" is \"20\"; write a number and a unit, such as 20s or 500ms"#),
        (#"{"wiat":"20s"}"#, #"unknown member \"wiat\"; known are max, wait"#),
        ("[]", "the body must be a JSON object"),
        ("{", "not valid JSON at byte 1: an object isn't closed"),
    ])
    func aPullThatIsWrongIsRefused(_ body: String, _ detail: String) async throws {
        let response = try await Self.call(FakeBroker(), .post, "/v1/subscribers/history/pull", body)
        #expect(response.status == .badRequest)
        #expect(response.body.contains(#""detail":"\#(detail)""#), "\(response.body)")
    }

    @Test func anUnknownSubscriberIsSaidSo() async throws {
        for path in ["pull", "settle", "pause", "resume"] {
            let response = try await Self.call(FakeBroker(), .post, "/v1/subscribers/nobody/\(path)", "{}")
            #expect(response.status == .notFound)
            #expect(response.body.contains("urn:fairlead:problem:unknown-subscriber"))
        }
    }

    @Test(.timeLimit(.minutes(1))) func aPullThatWaitsIsAnsweredWhenSomethingComes() async throws {
        let broker = FakeBroker()
        broker.with { $0.holdsPulls = true }
        async let response = Self.call(broker, .post, "/v1/subscribers/history/pull", #"{"wait":"20s"}"#)
        await until { broker.with { !$0.waiting.isEmpty } }
        broker.with { $0.leases = [Self.lease()] }
        broker.release()
        #expect(try await response.body.contains(#""lease":"L1""#))
    }

    @Test(.timeLimit(.minutes(1))) func aPullThatWaitsEndsAtShutdown() async throws {
        let broker = FakeBroker()
        broker.with { $0.holdsPulls = true }
        let gateway = gateway(broker)
        let group = ServiceGroup(services: [gateway], logger: silent)
        async let running: Void = group.run()
        let port = try #require(await gateway.port())
        try await TestClient.withClient(host: "127.0.0.1", port: port) { client in
            let request = TestClient.Request(
                "/v1/subscribers/history/pull", method: .post, authority: "localhost",
                body: ByteBuffer(string: #"{"wait":"50s"}"#))
            async let response = client.execute(request)
            await until { broker.with { !$0.waiting.isEmpty } }
            await group.triggerGracefulShutdown()
            let status = try await response.status
            #expect(status == .ok)
        }
        try await running
    }

    // MARK: Settle

    @Test func leasesAreSettled() async throws {
        let broker = FakeBroker()
        broker.with { $0.results = [.done, .expired, .done, .done, .done] }
        let body = """
            {"ack":["a","b"],"retry":[{"lease":"c","after":"1500ms","reason":"busy"}],
             "dead":[{"lease":"d","reason":"no such order"}],"extend":["e"]}
            """
        let response = try await Self.call(broker, .post, "/v1/subscribers/history/settle", body)
        #expect(response.status == .ok)
        #expect(
            response.body
                == #"{"results":[{"lease":"a","result":"done"},{"lease":"b","result":"expired","#
                + #""detail":"it ran out before it was settled; the event is delivered again. Extend leases that need longer"},"#
                + #"{"lease":"c","result":"done"},{"lease":"d","result":"done"},{"lease":"e","result":"done"}]}"#)
        let settlements = broker.with { $0.settlements.map { "\($0.lease) \($0.action)" } }
        #expect(
            settlements == [
                "a ack", "b ack", #"c retry(after: Optional(1.5 seconds), reason: "busy")"#,
                #"d dead(reason: "no such order")"#, "e extend",
            ])
    }

    @Test(arguments: [
        (#"{"ack":"a"}"#, #"member \"ack\" must be an array"#),
        (#"{"ack":[1]}"#, #"each entry of \"ack\" names a lease, as a pull gave it"#),
        (#"{"retry":[{}]}"#, #"each entry of \"retry\" names a lease, as a pull gave it"#),
        (#"{"retry":[1]}"#, #"each entry of \"retry\" is a lease, or an object with \"lease\""#),
        (#"{"retry":[{"lease":"a","after":"soon"}]}"#, #"\"after\" of a retry is \"soon\"; write a number and a unit"#),
        (#"{"dead":[{"lease":"a","why":"x"}]}"#, #"unknown member \"why\"; known are lease, reason"#),
        (#"{"nack":["a"]}"#, #"unknown member \"nack\"; known are ack, dead, extend, retry"#),
        (#"{"ack":[],"ack":[]}"#, #"member \"ack\" occurs twice"#),
    ])
    func aSettlementThatIsWrongIsRefused(_ body: String, _ detail: String) async throws {
        let response = try await Self.call(FakeBroker(), .post, "/v1/subscribers/history/settle", body)
        #expect(response.status == .badRequest)
        #expect(response.body.contains(#""detail":"\#(detail)"#), "\(response.body)")
    }

    // MARK: Tail

    @Test func aTailIsLinesOfEvents() async throws {
        let broker = FakeBroker()
        broker.with { $0.records = [Self.lease().delivery.record] }
        let response = try await Self.call(
            broker, .get, "/v1/topics/orders/events?from=40&max=7&wait=5s")
        #expect(response.headers[.contentType] == "application/x-ndjson")
        #expect(response.headers[HTTPField.Name("Link")!] == "</v1/topics/orders/events?from=43&max=7>; rel=\"next\"")
        #expect(
            response.body
                == #"{"offset":42,"time":"2026-03-09T14:05:00.000Z","event":{"specversion":"1.0","id":"1","#
                + "\"source\":\"/s\",\"type\":\"t\",\"data\":{ \"a\": 1}}}\n")
        let tail = broker.with { $0.tails[0] }
        #expect(tail.from == 40)
        #expect(tail.max == 7)
        #expect(tail.wait == .seconds(5))
    }

    @Test(arguments: [
        ("from=-1", #"query parameter \"from\" is \"-1\"; it must be a whole number from 0"#),
        ("max=0", #"query parameter \"max\" is \"0\"; it must be a number from 1 to 1000"#),
        ("wait=5", #"query parameter \"wait\" is \"5\"; write a number and a unit, such as 20s or 500ms"#),
    ])
    func aTailThatIsWrongIsRefused(_ query: String, _ detail: String) async throws {
        let response = try await Self.call(FakeBroker(), .get, "/v1/topics/orders/events?\(query)")
        #expect(response.status == .badRequest)
        #expect(response.body.contains(#""detail":"\#(detail)""#), "\(response.body)")
    }

    @Test func whatAPluginKeepsIsReadAndChanged() async throws {
        let broker = FakeBroker()
        broker.with { $0.kept = ["stock:a/b": Array("5".utf8), "stock:c": Array(#"{"n":1}"#.utf8)] }
        try await gateway(broker).application.test(.router) { client in
            let list = try await client.execute(
                uri: "/v1/subscribers/history/state?prefix=stock:&limit=1", method: .get)
            #expect(String(buffer: list.body) == #"{"entries":[{"key":"stock:a/b","value":5}]}"#)
            #expect(
                list.headers[.init("Link")!]
                    == "</v1/subscribers/history/state?prefix=stock%3A&after=stock%3Aa%2Fb&limit=1>; rel=\"next\"")
            let one = try await client.execute(uri: "/v1/subscribers/history/state/stock:a%2Fb", method: .get)
            #expect(String(buffer: one.body) == "5")
            let put = try await client.execute(
                uri: "/v1/subscribers/history/state/x", method: .put, body: ByteBuffer(string: "[1]"))
            #expect(put.status == .noContent)
            let bad = try await client.execute(
                uri: "/v1/subscribers/history/state/x", method: .put, body: ByteBuffer(string: "[1"))
            #expect(bad.status == .badRequest)
            let gone = try await client.execute(uri: "/v1/subscribers/history/state/stock:c", method: .delete)
            #expect(gone.status == .noContent)
            let missing = try await client.execute(uri: "/v1/subscribers/history/state/stock:c", method: .get)
            #expect(missing.status == .notFound)
        }
        #expect(broker.with { $0.kept } == ["stock:a/b": Array("5".utf8), "x": Array("[1]".utf8)])
    }

    // MARK: Admin and health

    @Test func theLastFailuresOfASubscriberAreListed() async throws {
        let broker = FakeBroker()
        broker.with { state in
            state.attempts = (1...3).map { number in
                Attempt(
                    topic: "orders", offset: 41, number: number, began: Timestamp(milliseconds: 1_000),
                    ended: Timestamp(milliseconds: 1_007), outcome: .retry, reason: "busy", trace: "a.lua:1",
                    generation: 2)
            }
        }
        let list = try await Self.call(broker, .get, "/v1/subscribers/history/failures?limit=1")
        #expect(
            list.body
                == #"{"failures":[{"topic":"orders","offset":41,"attempt":3,"outcome":"retry","#
                + #""began":"1970-01-01T00:00:01.000Z","ended":"1970-01-01T00:00:01.007Z","milliseconds":7,"reason":"busy","#
                + #""trace":"a.lua:1","generation":2}]}"#, "\(list.body)")
        #expect(try await Self.call(broker, .get, "/v1/subscribers/nobody/failures").status == .notFound)
        #expect(try await Self.call(broker, .get, "/v1/subscribers/history/failures?limit=0").status == .badRequest)
    }

    @Test func theStatusIsWhole() async throws {
        let broker = FakeBroker()
        broker.with {
            $0.status.topics = [TopicStatus(name: "orders", first: 10, end: 15, bytes: 99)]
            $0.status.subscribers = [
                SubscriberStatus(
                    name: "history", method: "pull", state: "live", backlog: 3, inFlight: 1, retrying: 1, dead: 0,
                    oldestUnsettled: Timestamp(milliseconds: 1_773_065_040_000), acked: 7, retried: 2, dropped: 0,
                    lastError: "boom")
            ]
            $0.status.orphans = [
                OrphanStatus(
                    name: "old", since: Timestamp(milliseconds: 0), until: Timestamp(milliseconds: 604_800_000),
                    deferred: 2, dead: 1)
            ]
        }
        let response = try await Self.call(broker, .get, "/v1/status")
        #expect(
            response.body
                == #"{"generation":3,"config":{"hash":"","trigger":"","differsFromDisk":false},"ending":[],"#
                + #""started":"1970-01-01T00:00:00.000Z","time":"2026-03-09T14:05:00.000Z","#
                + #""topics":[{"name":"orders","first":10,"end":15,"events":5,"bytes":99}],"#
                + #""subscribers":[{"name":"history","method":"pull","state":"live","backlog":3,"inFlight":1,"#
                + #""retrying":1,"dead":0,"oldestUnsettled":"2026-03-09T14:04:00.000Z","oldestUnsettledSeconds":60,"#
                + #""acked":7,"retried":2,"dropped":0,"lastError":"boom"}],"#
                + #""orphans":[{"name":"old","since":"1970-01-01T00:00:00.000Z","until":"1970-01-08T00:00:00.000Z","#
                + #""deferred":2,"dead":1,"history":0}],"#
                + #""plugins":[{"name":"slack","path":"Plugins/slack.lua","version":"1","subscribers":["alerts"]}]}"#)
        #expect(try await Self.call(broker, .get, "/v1/topics").body.hasPrefix(#"{"topics":[{"name":"orders""#))
        #expect(
            try await Self.call(broker, .get, "/v1/subscribers").body.hasPrefix(#"{"subscribers":[{"name":"history""#))
        #expect(
            try await Self.call(broker, .get, "/v1/plugins").body
                == #"{"plugins":[{"name":"slack","path":"Plugins/slack.lua","version":"1","subscribers":["alerts"]}]}"#)
    }

    @Test func whyASubscriberStandsStillIsShown() async throws {
        let broker = FakeBroker()
        let asked = try await Self.call(
            broker, .post, "/v1/subscribers/history/pause", #"{"reason":"the warehouse moves"}"#)
        #expect(asked.status == .noContent)
        #expect(broker.with { $0.pauseReasons } == ["the warehouse moves"])
        broker.with {
            var status = SubscriberStatus(
                name: "history", method: "pull", state: "paused", backlog: 0, inFlight: 0, retrying: 0, dead: 0,
                acked: 0,
                retried: 0, dropped: 0)
            status.pause = PauseStatus(cause: "hand", since: Timestamp(milliseconds: 0), reason: "the warehouse moves")
            $0.status.subscribers = [status]
        }
        let response = try await Self.call(broker, .get, "/v1/subscribers")
        #expect(
            response.body.contains(
                #""pause":{"cause":"hand","since":"1970-01-01T00:00:00.000Z","reason":"the warehouse moves"}"#))
    }

    @Test func anOrphanIsForgottenAndARunningSubscriberIsNot() async throws {
        let broker = FakeBroker()
        #expect(try await Self.call(broker, .delete, "/v1/subscribers/old").status == .noContent)
        #expect(broker.with { $0.forgotten } == ["old"])
        #expect(try await Self.call(broker, .delete, "/v1/subscribers/history").status == .conflict)
    }

    @Test func aSubscriberIsPausedAndResumed() async throws {
        let broker = FakeBroker()
        #expect(try await Self.call(broker, .post, "/v1/subscribers/history/pause").status == .noContent)
        #expect(broker.with { $0.paused } == ["history"])
        #expect(try await Self.call(broker, .post, "/v1/subscribers/history/resume").status == .noContent)
        #expect(broker.with { $0.paused } == [])
    }

    @Test(arguments: [
        (
            ReloadVerdict.applied(generation: 4, changes: ["+ subscriber slack"]), 200,
            #"{"generation":4,"changes":["+ subscriber slack"]}"#
        ),
        (
            .refused(diagnostics: ["error[R034] routes.conf:1:2: unknown topic", "and more"]), 422,
            #"{"type":"urn:fairlead:problem:reload-refused","title":"Reload refused","status":422,"#
                + #""detail":"error[R034] routes.conf:1:2: unknown topic","#
                + #""diagnostics":["error[R034] routes.conf:1:2: unknown topic","and more"]}"#
        ),
        (
            .restartNeeded(diagnostics: ["listen"]), 409,
            #"{"type":"urn:fairlead:problem:restart-needed","title":"Restart needed","status":409,"#
                + #""detail":"listen","diagnostics":["listen"]}"#
        ),
        (
            .timedOut(after: .seconds(2), diagnostics: ["init of slow"]), 504,
            #"{"type":"urn:fairlead:problem:reload-timed-out","title":"Reload timed out","status":504,"#
                + #""detail":"the new configuration was not ready within 2s; the running one goes on","#
                + #""diagnostics":["init of slow"]}"#
        ),
    ])
    func aReloadGivesItsVerdict(_ verdict: ReloadVerdict, _ status: Int, _ body: String) async throws {
        let response = try await Self.call(FakeBroker(), .post, "/v1/reload", reload: verdict)
        #expect(response.status.code == status)
        #expect(response.body == body)
    }

    @Test(arguments: [#"{"wait":"30"}"#, #"{"wait":"0s"}"#, #"{"wait":"1d"}"#, #"{"waits":"3s"}"#])
    func aReloadsWaitIsADurationWithinBounds(_ body: String) async throws {
        let response = try await Self.call(FakeBroker(), .post, "/v1/reload", body)
        #expect(response.status == .badRequest)
        #expect(response.body.contains("wait"))
    }

    @Test func healthAndReadinessAreToldApart() async throws {
        #expect(try await Self.call(FakeBroker(), .get, "/readyz").body == "ready\n")
        let unready = try await Self.call(FakeBroker(), .get, "/readyz", obstacle: "the disk is full")
        #expect(unready.status == .serviceUnavailable)
        #expect(unready.headers[.retryAfter] == "1")
        #expect(unready.body.contains(#""detail":"the disk is full""#))
        #expect(try await Self.call(FakeBroker(), .get, "/healthz", obstacle: "the disk is full").body == "ok\n")
    }
}

/// Waits for a condition, giving others time to run; the test's time limit ends it.
func until(_ condition: () -> Bool) async {
    while !condition(), !Task.isCancelled { await Task.yield() }
}
