// SPDX-License-Identifier: Apache-2.0

import Routes
import Testing

@Suite struct ReloadTests {
    static let base = """
        topic orders { retain 1d }
        topic stock
        subscriber a { from orders; where data.x = 1 and type = 'a'; run p { one 1; two 2s } }
        subscriber b { from stock; pull }
        """

    @Test func layoutAndOrderOfSettingsChangeNothing() throws {
        let old = try #require(compile(Self.base).table)
        let new = try #require(
            compile(
                """
                # the same, written otherwise
                subscriber b {
                    from stock
                    pull { lease 30s }
                }
                topic stock
                topic orders {
                  retain 24h
                }
                subscriber a {
                  run p {
                    two 2000ms
                    one 1
                  }
                  from orders
                  where (data.x=1) AND type = "a"
                  concurrency 1
                }
                """
            ).table)
        let diff = RouteDiff(from: old, to: new)
        #expect(diff.isEmpty)
        #expect(Set(diff.unchangedSubscribers) == ["a", "b"])
    }

    @Test(arguments: [
        "where data.x = 1 and type = 'a'": "where data.x = 2 and type = 'a'", "one 1": "one 2", "two 2s": "two \"2s\"",
        "from orders": "from orders, stock", "run p {": "ordered; run p {",
        "subscriber a { ": "subscriber a { retry { attempts 3 }; ",
        "run p { one": "run q { one", "subscriber a {": "subscriber a { start earliest;",
        "subscriber a { from": "subscriber a { on dead pause; from",
        "from orders; where d": "on bad_reload keep; from orders; where d",
        "from orders; where": "on dead publish stock; from orders; where", "from orders; w": "pause; from orders; w",
        "from orders; wh": "replay deny; from orders; wh", "orders; where": "orders; was z; where",
        "; run p": "; limits { cpu 50ms }; run p", "where data.x": "allow mail; where data.x",
        "; where data.x": "; rate 5/s; where data.x", "subscriber a { from ": "subscriber a { concurrency 2; from ",
    ])
    func everyChangeOfMeaningIsSeen(_ old: String, _ new: String) throws {
        let text = Self.base.replacing(old, with: new)
        #expect(text != Self.base)
        let diff = RouteDiff(from: try #require(compile(Self.base).table), to: try #require(compile(text).table))
        #expect(diff.changedSubscribers == ["a"])
        #expect(diff.unchangedSubscribers == ["b"])
    }

    @Test func whatComesAndGoesIsNamed() throws {
        let old = try #require(compile(Self.base).table)
        let new = try #require(
            compile(
                """
                listen 127.0.0.1:9090
                data "elsewhere"
                plugins "Lua"
                mail { directory "post" }
                topic orders { retain 2d }
                topic more
                subscriber b { from orders; pull }
                subscriber c { from more; pull }
                """
            ).table)
        let diff = RouteDiff(from: old, to: new)
        #expect(diff.addedSubscribers == ["c"])
        #expect(diff.removedSubscribers == ["a"])
        #expect(diff.changedSubscribers == ["b"])
        #expect(diff.addedTopics == ["more"])
        #expect(diff.removedTopics == ["stock"])
        #expect(diff.changedTopics == ["orders"])
        #expect(diff.restartOnly == ["listen 127.0.0.1:8080 → 127.0.0.1:9090", "data \"data\" → \"elsewhere\""])
        #expect(diff.settings == ["plugins", "mail"])
    }

    @Test func aSecretsNewValueIsAChange() throws {
        let text = "topic t\nsubscriber s { from t; push \"https://example.com\" { sign secret(\"K\") } }"
        let tables = try ["one", "two"].map { value in
            let sources = MemorySources(text, secrets: ["K": value])
            return try #require(RouteCompiler.compile("routes.conf", from: sources, strictEnvironment: true).table)
        }
        #expect(RouteDiff(from: tables[0], to: tables[1]).changedSubscribers == ["s"])
        #expect(!tables[0].subscribers[0].fingerprint.contains("one"))
    }

    @Test func aFailingTestSaysWhy() throws {
        let table = try #require(
            compile(
                """
                topic orders
                topic stock
                subscriber a { from orders; where data.total >= 100; pull }
                subscriber b { from orders; pull }
                subscriber c { from stock; pull }
                test "t" {
                  publish orders { type "x"; data.total 50; data.lines [1, "two", null]; data.customer { name "Z\\"oë"; vip true } }
                  expect a, c
                  reject b
                }
                """
            ).table)
        #expect(
            run(table.tests[0], table: table) == [
                "a should get an event and gets none: `data.total >= 100` is false (data.total = 50)",
                "c should get an event and gets none: it takes from stock", "b should get no event and gets one",
            ])
    }
}
