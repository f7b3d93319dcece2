// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Promise P6 on the real program: a script that does nothing but use up processor time.
struct QuarantineTests {
    private static let routes = """
        topic orders { retain 30d }
        retry again { attempts 100; backoff 10ms; timeout 5s }
        subscriber looping { from orders; run looping; retry again; limits { cpu 20ms }; start earliest }
        subscriber steady { from orders; run steady; start earliest }
        """

    @Test(.timeLimit(.minutes(1)))
    func aPluginStoppedFiveTimesRunningIsQuarantinedReportedAndResumedByAReload() async throws {
        let server = try RunningServer(
            routes: Self.routes,
            plugins: [
                "looping": "return function() while true do end end", "steady": "return function() end",
            ])
        try await server.start()
        _ = try await server.post("/v1/topics/orders/events", #"{"n":1}"#)
        try await eventually("it is quarantined") {
            try await server.subscriber("looping")["state"] as? String == "quarantined"
        }
        #expect(try await server.subscriber("steady")["acked"] as? Int == 1, "the neighbour goes on")
        let alert = try await server.command("tail", "$alert", "--from", "0", "--max", "1")
        #expect(alert.output.contains(#""type":"fairlead.subscriber.quarantined""#), "\(alert.output)")
        #expect(alert.output.contains(#""kills":5"#) && alert.output.contains("processor time"), "\(alert.output)")

        let resumed = try await server.command("resume", "looping")
        #expect(resumed.code == 0)
        try await eventually("by hand it goes on, and into quarantine again") {
            try await server.get("/v1/topics/$alert/events?from=0&max=10&wait=0s").text.split(separator: "\n").count
                == 2
        }
        try server.write(plugin: "looping", "return function(event, ctx) ctx.state.put('attempts', event.attempt) end")
        _ = try await server.command("reload")
        try await eventually("mended, it is done") {
            try await server.subscriber("looping")["acked"] as? Int == 1
        }
        #expect(try await server.subscriber("looping")["state"] as? String == "live")
        let attempts = try await server.command("state", "get", "looping", "attempts")
        #expect(attempts.output == "11\n", "ten were stopped: \(attempts.output)\(attempts.errors)")
    }

    @Test(.timeLimit(.minutes(2)))
    func aQuarantineOutlivesARestartUntilThePluginIsChanged() async throws {
        let server = try RunningServer(
            routes: Self.routes,
            plugins: [
                "looping": "return function() while true do end end", "steady": "return function() end",
            ])
        try await server.start()
        _ = try await server.post("/v1/topics/orders/events", #"{"n":1}"#)
        try await eventually("it is reported, and with it on disk") {
            try await server.get("/v1/topics/$alert/events?from=0&max=10&wait=0s").text.contains("quarantined")
        }
        server.killHard()
        try await server.start()
        let looping = try await server.subscriber("looping")
        #expect(looping["state"] as? String == "quarantined")
        let pause = try #require(looping["pause"] as? [String: Any])
        #expect(pause["cause"] as? String == "quarantine" && pause["since"] != nil)
        #expect((pause["reason"] as? String)?.contains("processor time") == true, "\(pause)")

        server.killHard()
        try server.write(plugin: "looping", "return function() end")
        try await server.start()
        try await eventually("mended while the server was down, it goes on") {
            try await server.subscriber("looping")["acked"] as? Int == 1
        }
        server.killHard()
        try server.write(plugin: "looping", "return function() while true do end end")
        try await server.start()
        #expect(try await server.subscriber("looping")["state"] as? String == "live", "nothing is left of it")
    }

    @Test func stateIsListedChangedAndRemovedByHand() async throws {
        let server = try RunningServer(
            routes: "topic orders { retain 30d }\nsubscriber counter { from orders; run counter }",
            plugins: [
                "counter": "return function(event, ctx) ctx.state.add('n', 1) ctx.state.put('last', event.data) end"
            ])
        try await server.start()
        for number in 1...3 { _ = try await server.post("/v1/topics/orders/events", #"{"n":\#(number)}"#) }
        try await eventually("all are handled") { try await server.subscriber("counter")["acked"] as? Int == 3 }
        let list = try await server.command("state", "list", "counter")
        #expect(list.output == "KEY   VALUE\nlast  {\"n\":3}\nn           3\n", "\(list.output)\(list.errors)")
        _ = try await server.command("state", "put", "counter", "n", "10")
        _ = try await server.command("state", "delete", "counter", "last")
        _ = try await server.post("/v1/topics/orders/events", #"{"n":4}"#)
        try await eventually("the handler goes on from there") {
            try await server.command("state", "get", "counter", "n").output == "11\n"
        }
        let refused = try await server.command("state", "put", "counter", "n", "{")
        #expect(refused.code == 2 && refused.errors.contains("not valid JSON"), "\(refused.errors)")
        let unknown = try await server.command("state", "list", "nobody")
        #expect(unknown.code == 2 && unknown.errors.contains(#"no subscriber "nobody" is known"#), "\(unknown.errors)")
    }
}
