// SPDX-License-Identifier: Apache-2.0

import Routes
import Testing

@Suite struct SubscriberChangeTests {
    @Test(arguments: [
        ("from orders", "from orders, stock", "from orders → orders, stock"),
        ("where type = 'a'", "where type = 'b'", "where type = 'a' → type = 'b'"),
        ("where type = 'a'", "", "where removed, was: type = 'a'"),
        ("ordered", "", "ordered removed"),
        ("run p { one 1; key secret(\"K\") }", "run p { one 2; key secret(\"L\") }", "settings of p: key, one"),
        ("run p { one 1; key secret(\"K\") }", "push \"http://localhost/\"", "run p → push"),
        ("rate 5/s", "rate 10/m", "rate 5/s → 10/m"),
        ("retry { attempts 3; backoff 90s }", "retry { attempts unlimited; backoff 90s }", "attempts 3 → unlimited"),
        (
            "retry { attempts 3; backoff 90s }", "retry { attempts 3; backoff 1s to 10m }",
            "backoff 90s jitter 20% → 1s to 10m jitter 20%"
        ),
        (
            "retry { attempts 3; backoff 90s }", "retry { attempts 3; backoff 90s; timeout 1500ms }",
            "timeout 10s → 1500ms"
        ),
        ("allow publish stock", "", "allow publish stock removed"),
        ("allow publish stock", "allow publish stock; allow mail", "allow mail added"),
    ])
    func aChangeIsSaidInTheWordsOfTheFile(_ before: String, _ after: String, _ says: String) throws {
        let old = """
            topic orders
            topic stock
            subscriber a {
              from orders
              where type = 'a'
              run p { one 1; key secret("K") }
              ordered
              rate 5/s
              retry { attempts 3; backoff 90s }
              allow publish stock
            }
            """
        let new = old.replacing(before, with: after)
            .replacing(after.hasPrefix("push") ? "allow publish stock" : "\u{0}", with: "")
        func subscriber(_ text: String) throws -> SubscriberRoute {
            let sources = MemorySources(text, secrets: ["K": "one", "L": "two"])
            let compiled = RouteCompiler.compile("routes.conf", from: sources, strictEnvironment: true)
            return try #require(compiled.table?.subscribers.first, "\(compiled.diagnostics)")
        }
        let changes = try subscriber(new).changes(since: try subscriber(old))
        #expect(changes.contains(says), "\(changes)")
        #expect(!changes.joined().contains("two"), "no secret is said")
        #expect(try subscriber(old).changes(since: try subscriber(old)).isEmpty)
    }

    @Test(arguments: [
        ("mode structured", "mode binary → structured"), ("handshake yes", "handshake"),
        ("breaker off", "breaker 10 probe 5s to 5m → off"),
        ("breaker 3 probe 1s to 1m", "breaker 10 probe 5s to 5m → 3 probe 1s to 1m"), ("", "batch"),
    ])
    func aChangeOfPushIsSaidToo(_ line: String, _ says: String) throws {
        func subscriber(_ line: String, _ more: String) throws -> SubscriberRoute {
            let text = "topic orders\nsubscriber a {\nfrom orders\npush \"http://localhost/\" {\n\(line)\n}\n\(more)\n}"
            let compiled = compile(text)
            return try #require(compiled.table?.subscribers.first, "\(compiled.diagnostics)")
        }
        let (old, new) = (try subscriber("", ""), try subscriber(line, line.isEmpty ? "batch 5 every 1s" : ""))
        #expect(new.changes(since: old) == [says])
        #expect(new.fingerprint != old.fingerprint)
    }
}
