// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering
import Routes
import Testing

@Suite struct ExplanationTests {
    static let text = """
        topic orders { key data.order_id }
        topic stock.low
        retry standard {
          attempts 5
          timeout  30s
        }
        subscriber slack {
          from  stock.*, orders
          where type = 'order.placed' and data.total >= 100
          run   slack { channel "#sales"; webhook secret("HOOK"); after [1, 2s] }
          allow mail
          allow http "hooks.slack.com"
          retry standard { attempts 20 }
          rate  50/m
          limits { memory 16MiB }
        }
        subscriber receipts {
          from  orders
          where exists data.email or data.total > 1000 or data.country = 'PL'
          push  "https://example.com/x"
        }
        subscriber history { from **; pull; start earliest; on dead publish stock.low }
        subscriber levels { from stock.*; where data.sku = 'a'; pull }
        subscriber stopped { from orders; pull { lease 90s }; pause }
        """

    private func explain(_ data: String, by text: String = text, topic: String = "orders") throws -> RouteExplanation {
        let compiled = RouteCompiler.compile(
            "routes.conf", from: MemorySources(text, secrets: ["HOOK": "hidden"]), strictEnvironment: true)
        let event = Event(id: "1", source: "shop", type: "order.placed", data: .json(Array(data.utf8)))
        return RouteExplanation(
            try #require(compiled.table), topic: topic, event: event, received: Timestamp(milliseconds: 1_000))
    }

    private static let placed = #"{"order_id": "o-1", "total": 250}"#

    @Test func everySubscriberHasAnOutcomeAndItsPattern() throws {
        let explanation = try explain(Self.placed)
        #expect(explanation.isDeclared)
        #expect(explanation.key == "o-1")
        #expect(explanation.subscribers.map(\.name) == ["slack", "receipts", "history", "levels", "stopped"])
        #expect(explanation.subscribers.map(\.outcome) == [.delivered, .filtered, .kept, .unmatched, .held])
        #expect(explanation.subscribers.map(\.outcome.isTaken) == [true, false, true, false, true])
        #expect(explanation.subscribers.map { $0.pattern?.text } == ["orders", "orders", "**", nil, "orders"])
        #expect(explanation.subscribers[0].pattern?.place == Place(file: "routes.conf", line: 8, column: 18))
        #expect(explanation.subscribers[0].patterns.map(\.text) == ["stock.*", "orders"])
    }

    @Test func howLongTheTopicKeepsTheEventIsSaidWhereRoutesConfSays() throws {
        let text = "topic orders {\n  retain 7d 10GB unless unsettled\n}\ntopic stock"
        let kept = try explain(Self.placed, by: text)
        #expect(kept.retain?.value == "7d 10GB unless unsettled")
        #expect(kept.text().contains("\nretain 7d 10GB unless unsettled  routes.conf:2:3\n"), "\(kept.text())")
        #expect(try explain(Self.placed, by: text, topic: "stock").retain == nil)
    }

    @Test func outcomesAreThoseOfAnInFileTest() throws {
        let tested =
            Self.text + """

                test "t" { publish orders { type "order.placed"; data.total 250 }; expect slack, history; reject receipts, levels }
                """
        let table = try #require(compile(tested).table)
        #expect(run(table.tests[0], table: table) == [])
    }

    @Test func everyPartOfAFilterHasItsValue() throws {
        let subscribers = try explain(Self.placed).subscribers
        let slack = try #require(subscribers[0].filter)
        #expect(slack.text == "type = 'order.placed' and data.total >= 100")
        #expect(slack.place == Place(file: "routes.conf", line: 9, column: 3))
        #expect(slack.explanation.verdict == .isTrue)
        let receipts = try #require(subscribers[1].filter).explanation
        #expect(receipts.verdict == .unknown)
        #expect(receipts.leaves.map(\.verdict) == [.isFalse, .isFalse, .unknown])
        #expect(
            receipts.leaves.map(\.values) == [
                ["data.email = missing"], ["data.total = 250"], ["data.country = missing"],
            ])
        #expect(subscribers[2].filter == nil)
        #expect(subscribers[3].filter?.explanation.verdict == .unknown)
    }

    @Test func everySettingSaysWhereItComesFrom() throws {
        let settings = try explain(Self.placed).subscribers[0].settings
        func place(_ line: Int, _ column: Int) -> Place { Place(file: "routes.conf", line: line, column: column) }
        let expected: [(String, String, SettingOrigin)] = [
            ("run", "slack", .line(place(10, 3))), ("run channel", "\"#sales\"", .line(place(10, 17))),
            ("run webhook", "secret(\"HOOK\")", .line(place(10, 35))), ("run after", "[1, 2s]", .line(place(10, 59))),
            ("cpu", "100ms", .standard), ("memory", "16MiB", .line(place(15, 12))),
            ("allow", "mail", .line(place(11, 3))), ("allow", "http \"hooks.slack.com\"", .line(place(12, 3))),
            ("attempts", "20", .line(place(13, 20))),
            ("backoff", "1s to 10m jitter 20%", .standard), ("timeout", "30s", .policy("standard", place(5, 3))),
            ("on dead", "keep", .standard), ("on bad_reload", "rollback", .standard),
            ("concurrency", "1", .standard), ("rate", "50/m", .line(place(14, 3))),
            ("ordered", "no", .standard), ("start", "latest", .standard), ("pause", "no", .standard),
            ("replay", "allowed", .standard),
        ]
        #expect(settings.map(\.name) == expected.map(\.0))
        #expect(settings.map(\.value) == expected.map(\.1))
        #expect(settings.map(\.origin) == expected.map(\.2))
    }

    @Test func headersAndSignaturesHaveTheirPlaces() throws {
        let text = """
            topic orders
            subscriber s {
              from orders
              push "https://example.com/x" {
                sign secret("HOOK")
                header "X-Shop" "one"
              }
            }
            """
        let settings = try explain("{}", by: text).subscribers[0].settings.prefix(3)
        #expect(
            settings.map { "\($0.name) \($0.value)" } == [
                #"push "https://example.com/x""#, #"sign secret("HOOK")"#, #"header "X-Shop" "one""#,
            ])
        #expect(settings.map { $0.origin.description } == ["routes.conf:4:3", "routes.conf:5:5", "routes.conf:6:5"])
    }

    @Test func aTopicThatIsNotDeclaredIsSaid() throws {
        let explanation = try explain(Self.placed, topic: "ordres")
        #expect(!explanation.isDeclared)
        #expect(explanation.key == nil)
        #expect(
            explanation.text().hasPrefix(
                "event order.placed on topic ordres\nno such topic: publishing to it is refused\n"))
    }

    @Test func theTimeOfReceiptCanBeFilteredBy() throws {
        let text =
            "topic orders\nsubscriber s { from orders; where meta.topic = 'orders' and exists meta.received; pull }"
        #expect(try explain("{}", by: text).subscribers[0].outcome == .kept)
        #expect(try explain("{}", by: text).text().contains("meta.received = 1000 ms"))
    }

    @Test func noSecretIsEverPrinted() throws {
        #expect(!(try explain(Self.placed)).text(isFull: true).contains("hidden"))
    }

    @Test func theTextShowsWhoGetsItAndWhy() throws {
        #expect(
            try explain(Self.placed).text() == """
                event order.placed on topic orders, key "o-1"

                slack (routes.conf:7:1): delivered
                  from orders                                        routes.conf:8:18
                  where type = 'order.placed' and data.total >= 100  routes.conf:9:3
                    true     type = 'order.placed'  type = 'order.placed'
                    true     data.total >= 100      data.total = 250
                  run slack                                          routes.conf:10:3
                  run channel "#sales"                               routes.conf:10:17
                  run webhook secret("HOOK")                         routes.conf:10:35
                  run after [1, 2s]                                  routes.conf:10:59
                  cpu 100ms                                          default
                  memory 16MiB                                       routes.conf:15:12
                  allow mail                                         routes.conf:11:3
                  allow http "hooks.slack.com"                       routes.conf:12:3
                  attempts 20                                        routes.conf:13:20
                  backoff 1s to 10m jitter 20%                       default
                  timeout 30s                                        retry standard, routes.conf:5:3
                  on dead keep                                       default
                  on bad_reload rollback                             default
                  concurrency 1                                      default
                  rate 50/m                                          routes.conf:14:3
                  ordered no                                         default
                  start latest                                       default
                  pause no                                           default
                  replay allowed                                     default

                receipts (routes.conf:17:1): not delivered: `where` is unknown
                  from orders                                                          routes.conf:18:9
                  where exists data.email or data.total > 1000 or data.country = 'PL'  routes.conf:19:3
                    false    exists data.email    data.email = missing
                    false    data.total > 1000    data.total = 250
                    unknown  data.country = 'PL'  data.country = missing

                history (routes.conf:22:1): kept until pulled
                  from **                       routes.conf:22:27
                  pull yes                      routes.conf:22:31
                  lease 30s                     default
                  attempts 8                    default
                  backoff 1s to 10m jitter 20%  default
                  timeout 10s                   default
                  on dead publish stock.low     routes.conf:22:53
                  concurrency 1                 default
                  rate unlimited                default
                  ordered no                    default
                  start earliest                routes.conf:22:37
                  pause no                      default
                  replay allowed                default

                levels (routes.conf:23:1): not delivered: `from` does not mean this topic
                  from stock.*  routes.conf:23:26

                stopped (routes.conf:24:1): held: the subscriber is paused
                  from orders                   routes.conf:24:27
                  pull yes                      routes.conf:24:35
                  lease 90s                     routes.conf:24:42
                  attempts 8                    default
                  backoff 1s to 10m jitter 20%  default
                  timeout 10s                   default
                  on dead keep                  default
                  concurrency 1                 default
                  rate unlimited                default
                  ordered no                    default
                  start latest                  default
                  pause yes                     routes.conf:24:55
                  replay allowed                default

                """)
    }

    @Test func theFullTextShowsSettingsOfAll() throws {
        let text = "topic orders\nsubscriber s { from $dead; where data.a = 1 or data.b = 'x'; pull; concurrency 3 }"
        #expect(
            try explain(#"{"a": 2}"#, by: text).text(isFull: true) == """
                event order.placed on topic orders

                s (routes.conf:2:1): not delivered: `from` does not mean this topic
                  from $dead                        routes.conf:2:21
                  where data.a = 1 or data.b = 'x'  routes.conf:2:28
                    false    data.a = 1    data.a = 2
                    unknown  data.b = 'x'  data.b = missing
                  pull yes                          routes.conf:2:62
                  lease 30s                         default
                  attempts 8                        default
                  backoff 1s to 10m jitter 20%      default
                  timeout 10s                       default
                  on dead keep                      default
                  concurrency 3                     routes.conf:2:68
                  rate unlimited                    default
                  ordered no                        default
                  start latest                      default
                  pause no                          default
                  replay allowed                    default

                """)
    }

    @Test func thereMayBeNoSubscribers() throws {
        #expect(
            try explain("{}", by: "topic orders").text()
                == "event order.placed on topic orders\nthere are no subscribers\n")
    }

    @Test func originsAreNoPartOfAMeaning() throws {
        let moved = "\n" + Self.text
        let tables = try [Self.text, moved].map { try #require(compile($0).table) }
        #expect(tables[0].subscribers[0].origins != tables[1].subscribers[0].origins)
        #expect(RouteDiff(from: tables[0], to: tables[1]).isEmpty)
    }
}
