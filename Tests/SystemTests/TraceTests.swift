// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// A failure in a plugin can be found: its file, its line and how it came there are in the log, in the status and in the
/// dead letter.
struct TraceTests {
    private static let routes = """
        topic orders { retain 30d }
        retry once { attempts 2; backoff 10ms; timeout 5s }
        subscriber pricer { from orders; run pricer; retry once }
        """
    private static let pricer = """
        local function price(order)
          return order.total.amount
        end
        return function(event, ctx)
          local found = price(event.data)
          return found > 0
        end
        """
    private static let error = "Plugins/pricer.lua:2: attempt to index a nil value (field 'total')"
    private static let steps = ["Plugins/pricer.lua:2: in upvalue 'price'", "Plugins/pricer.lua:5: in function"]

    private func failed() async throws -> RunningServer {
        let server = try RunningServer(routes: Self.routes, plugins: ["pricer": Self.pricer])
        try await server.start()
        _ = try await server.post("/v1/topics/orders/events", #"{"n":1}"#)
        // It is counted before it is written.
        try await eventually("it is given up on") { try await server.get("/v1/dead/1").status == 200 }
        return server
    }

    @Test func theLogHasTheTraceOfAFailureOnceAndOfItsDeadLetter() async throws {
        let server = try await failed()
        let lines = server.output.split(separator: "\n")
        let failures = lines.filter { $0.contains("warning  Delivery failed") }
        #expect(failures.count == 1, "\(server.output)")
        let letters = lines.filter { $0.contains("warning  Delivery is a dead letter") }
        #expect(letters.count == 1)
        for line in failures + letters {
            #expect(line.contains(Self.error))
            for step in Self.steps { #expect(line.contains(step), "\(line)") }
        }
    }

    @Test func theStatusHasTheTraceOfTheLastError() async throws {
        let server = try await failed()
        let subscriber = try await server.subscriber("pricer")
        #expect(subscriber["lastError"] as? String == Self.error)
        let trace = try #require(subscriber["lastTrace"] as? String)
        for step in Self.steps { #expect(trace.contains(step), "\(trace)") }
        let status = try await server.command("status")
        #expect(
            status.output.contains("\n\nlast error of pricer: \(Self.error)\n  \(Self.steps[0])\n  "),
            "\(status.output)")
        #expect(status.output.contains(Self.steps[1]))
    }

    @Test func theDeadLetterHasTheTrace() async throws {
        let server = try await failed()
        let letter = try await server.get("/v1/dead/1").object
        #expect(letter["reason"] as? String == "gave up after 2 attempts: \(Self.error)")
        let trace = try #require(letter["trace"] as? String)
        for step in Self.steps { #expect(trace.contains(step), "\(trace)") }
        let shown = try await server.command("dead", "show", "1")
        #expect(shown.output.contains(Self.steps[0]), "\(shown.output)")
    }

    private static let mistakes = [
        ("nonsense", "return 42", "plugin bug: the handler returned a number (42); return nothing or true when done"),
        ("yields", "table.sort({ 2, 1 }, function() ctx.sleep(1) end)", "cannot wait here"),
        (
            "ungranted", "ctx.http.get('https://example.com/')",
            "add `allow http \"example.com\"` to subscriber ungranted"
        ),
        ("global", "return undeclaredname", "undeclared global 'undeclaredname'"),
        ("stores", "ctx.state.put('f', function() end)", "a function can't be JSON"),
        ("cyclic", "local t = {} t.t = t ctx.publish('stock', t)", "or containing itself, can't be JSON"),
        ("bytes", "ctx.publish('stock', '\\255')", "is not UTF-8 and can't be JSON"),
    ]

    /// By policy: tried as often as it says, then kept as a dead letter that names plugin and line.
    @Test func everyMistakeOfAPluginEndsAsADeadLetterThatNamesItsLine() async throws {
        var routes = "topic orders\ntopic stock\nretry once { attempts 2; backoff 10ms }\n"
        var plugins: [String: String] = [:]
        for (name, body, _) in Self.mistakes {
            routes += "subscriber \(name) { from orders; run \(name); allow publish stock; retry once }\n"
            plugins[name] = "return function(event, ctx) \(body) end"
        }
        let server = try RunningServer(routes: routes, plugins: plugins)
        try await server.start()
        _ = try await server.post("/v1/topics/orders/events", #"{"n":1}"#)
        for (name, _, text) in Self.mistakes {
            var reason = ""
            try await eventually("\(name) is given up on") {
                let letters = try await server.get("/v1/dead?subscriber=\(name)").object["dead"] as? [[String: Any]]
                reason = letters?.first?["reason"] as? String ?? ""
                return !reason.isEmpty
            }
            #expect(reason.hasPrefix("gave up after 2 attempts: Plugins/\(name).lua:1: "), "\(reason)")
            #expect(reason.contains(text), "\(reason)")
        }
        let topics = try await server.get("/v1/status").object["topics"] as? [[String: Any]] ?? []
        #expect(topics.first { $0["name"] as? String == "stock" }?["end"] as? Int == 0, "nothing was published")
    }
}
