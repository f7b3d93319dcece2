// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import Routes
import Testing

@testable import Gateway

struct DeadLetterTests {
    static func letter(_ id: Int64) -> DeadLetter {
        DeadLetter(
            id: id, subscriber: "receipts", topic: "orders", offset: 5, key: "o-5", reason: "no address", trace: nil,
            attempts: 8, time: FixedClock().now(),
            event: Event(id: "1", source: "/s", type: "t", data: .json(Array(#"{"total":5,"tag":"x"}"#.utf8))))
    }

    static let letterText =
        #""state":"open","subscriber":"receipts","topic":"orders","offset":5,"key":"o-5","reason":"no address","group":"","#
        + #""attempts":8,"generation":0,"time":"2026-03-09T14:05:00.000Z","#
        + #""event":{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"total":5,"tag":"x"}}"#

    private func broker(_ ids: Int64...) -> FakeBroker {
        let broker = FakeBroker()
        broker.with { $0.letters = ids.map(Self.letter) }
        return broker
    }

    @Test func deadLettersAreListedInPages() async throws {
        let broker = broker(9, 8)
        let first = try await RoutesTests.call(broker, .get, "/v1/dead?subscriber=receipts&q=no%20address&limit=1")
        #expect(first.body == #"{"dead":[{"id":9,"# + Self.letterText + "}]}")
        #expect(
            first.headers[HTTPField.Name("Link")!]
                == "</v1/dead?subscriber=receipts&q=no%20address&before=9&limit=1>; rel=\"next\"")
        let last = try await RoutesTests.call(broker, .get, "/v1/dead?before=9&state=any&since=2026-03-09T14:05:00Z")
        #expect(last.headers[HTTPField.Name("Link")!] == nil)
        let listings = broker.with { $0.listings }
        #expect(listings[0].filter == DeadLetterFilter(subscriber: "receipts", text: "no address"))
        #expect(listings[0].limit == 1)
        #expect(listings[1].before == 9)
        #expect(listings[1].filter == DeadLetterFilter(state: .any, since: FixedClock().time))
    }

    @Test func oneOfAnImportIsShownWithItsRealTopic() async throws {
        let broker = broker(9)
        broker.with { $0.letters[0].topic = Topic.imported(7, for: "orders.eu").name }
        let answer = try await RoutesTests.call(broker, .get, "/v1/dead/9")
        #expect(answer.body.contains(#""topic":"orders.eu","import":7,"offset":5"#), "\(answer.body)")
    }

    @Test(arguments: [
        ("state=gone", "it may be open, underway, resolved, any"), ("since=yesterday", "write a time such as"),
    ])
    func aFilterThatMakesNoSenseIsRefused(_ query: String, _ text: String) async throws {
        let response = try await RoutesTests.call(broker(9), .get, "/v1/dead?" + query)
        #expect(response.status == .badRequest)
        #expect(response.body.contains(text), "\(response.body)")
    }

    @Test func deadLettersAreGroupedByWhatTheyHaveInCommon() async throws {
        let response = try await RoutesTests.call(broker(9, 8), .get, "/v1/dead/groups")
        #expect(response.body.contains(#""count":2,"reason":"no address""#), "\(response.body)")
    }

    @Test func aDeadLetterIsReadWithEveryAttempt() async throws {
        let broker = broker(9)
        broker.with { state in
            state.attempts = [
                Attempt(
                    topic: "orders", offset: 5, number: 8, began: FixedClock().time,
                    ended: FixedClock().time + .milliseconds(12), outcome: .dead, reason: "no address",
                    trace: "email.lua:3", generation: 2)
            ]
        }
        let whole = try await RoutesTests.call(broker, .get, "/v1/dead/9")
        #expect(
            whole.body
                == #"{"id":9,"# + Self.letterText
                + #","history":[{"attempt":8,"outcome":"dead","began":"2026-03-09T14:05:00.000Z","#
                + #""ended":"2026-03-09T14:05:00.012Z","milliseconds":12,"reason":"no address","trace":"email.lua:3","#
                + #""generation":2}]}"#)
        #expect(try await RoutesTests.call(broker, .get, "/v1/dead/x").status == .badRequest)
        let missing = try await RoutesTests.call(broker, .get, "/v1/dead/7")
        #expect(missing.status == .notFound)
        #expect(missing.body.contains("no dead letter 7; GET /v1/dead lists those there are"))
    }

    @Test func aDeadLetterIsMendedByAMergePatch() async throws {
        let mended = try await RoutesTests.call(
            broker(9), .patch, "/v1/dead/9", #"{"data":{"tag":null,"email":"a@example.com"}}"#)
        #expect(mended.status == .ok)
        #expect(mended.body.contains(#""data":{"email":"a@example.com","total":5}"#), "\(mended.body)")
        #expect(mended.body.contains(#""original":{"specversion":"1.0","id":"1","source":"/s""#), "\(mended.body)")
    }

    @Test(arguments: [
        ("{}", "an empty patch changes nothing"), (#"{"type":null}"#, "type"), (#"{"Bad Name":1}"#, "Bad Name"),
        ("[1]", "must be a JSON object"),
    ])
    func aPatchThatLeavesNoEventIsRefused(_ patch: String, _ text: String) async throws {
        let response = try await RoutesTests.call(broker(9), .patch, "/v1/dead/9", patch)
        #expect(response.status == .badRequest)
        #expect(response.body.contains(text), "\(response.body)")
    }

    @Test func deadLettersAreDiscardedWithAReason() async throws {
        let broker = broker(9, 8)
        #expect(try await RoutesTests.call(broker, .delete, "/v1/dead/9?reason=a+test").status == .noContent)
        #expect(try await RoutesTests.call(broker, .delete, "/v1/dead/9").status == .notFound)
        let all = try await RoutesTests.call(broker, .post, "/v1/dead/discard", #"{"all":true,"reason":"tests"}"#)
        #expect(all.body == #"{"discarded":1}"#)
        #expect(broker.with { $0.discards } == ["a test", "tests"])
        let unsaid = try await RoutesTests.call(broker, .post, "/v1/dead/discard", #"{"all":true}"#)
        #expect(unsaid.status == .badRequest)
        #expect(unsaid.body.contains("say why"))
    }

    @Test func deadLettersAreSentAgain() async throws {
        let broker = broker(9)
        let ids = try await RoutesTests.call(
            broker, .post, "/v1/dead/redrive", #"{"ids":[9,8],"canary":true,"rate":"50/s"}"#)
        #expect(ids.status == .accepted)
        #expect(
            ids.body
                == #"{"run":1,"state":"running","total":2,"waiting":2,"underway":0,"succeeded":0,"failed":0,"skipped":0}"#
        )
        _ = try await RoutesTests.call(
            broker, .post, "/v1/dead/redrive", #"{"subscriber":"receipts","group":"ab","keepGoing":true}"#)
        _ = try await RoutesTests.call(broker, .post, "/v1/dead/redrive", #"{"all":true}"#)
        let redrives = broker.with { $0.redrives }
        #expect(redrives[0].ids == [9, 8])
        #expect(redrives[0].options == .init(isCanary: true, rate: Rate(count: 50, per: .seconds(1))))
        #expect(redrives[1].filter == DeadLetterFilter(subscriber: "receipts", group: "ab"))
        #expect(redrives[1].options == .init(keepsGoing: true))
        #expect(redrives[2].filter == DeadLetterFilter())
        let stopped = try await RoutesTests.call(broker, .get, "/v1/dead/redrives/1")
        #expect(stopped.body.contains(#""state":"stopped","stoppedBy":8,"reason":"still closed","total":2"#))
        let cancelled = try await RoutesTests.call(broker, .delete, "/v1/dead/redrives/1")
        #expect(cancelled.body.contains(#""state":"cancelled""#))
        #expect(try await RoutesTests.call(broker, .get, "/v1/dead/redrives/2").status == .notFound)
    }

    @Test(arguments: ["{}", #"{"all":false}"#, #"{"ids":[1],"all":true}"#, ""])
    func aRedriveMustSayWhich(_ body: String) async throws {
        let broker = FakeBroker()
        let response = try await RoutesTests.call(broker, .post, "/v1/dead/redrive", body)
        #expect(response.status == .badRequest)
        #expect(response.body.contains("say which"))
        #expect(broker.with { $0.redrives.isEmpty })
    }

    @Test(arguments: [#"{"all":true,"canary":"yes"}"#, #"{"all":1}"#, #"{"ids":[1],"keepGoing":0}"#])
    func aFlagThatIsNoneIsRefusedAndNotIgnored(_ body: String) async throws {
        let broker = FakeBroker()
        let response = try await RoutesTests.call(broker, .post, "/v1/dead/redrive", body)
        #expect(response.status == .badRequest)
        #expect(response.body.contains("must be true or false"))
        #expect(broker.with { $0.redrives.isEmpty })
    }

    @Test func aRateThatIsNoneIsRefused() async throws {
        let response = try await RoutesTests.call(
            FakeBroker(), .post, "/v1/dead/redrive", #"{"all":true,"rate":"fast"}"#)
        #expect(response.status == .badRequest)
        #expect(response.body.contains("write a number per unit, such as 50/s"))
    }
}
