// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// SIGTERM on the real program, with work in flight.
@Suite(.timeLimit(.minutes(5))) struct StopTests {
    private static func routes(_ port: Int) -> String {
        """
        topic orders { retain 30d }
        topic idle { retain 30d }
        retry patient { attempts 3; backoff 20ms; timeout 5m }
        subscriber script {
          from orders
          run script
          retry patient
          allow http "127.0.0.1:\(port)"
          start earliest
        }
        subscriber hook { from orders; push "http://127.0.0.1:\(port)/hook"; retry patient; start earliest }
        subscriber worker { from orders; pull { lease 5m }; start earliest }
        subscriber waiting { from idle; pull { lease 5m }; start earliest }
        """
    }

    private static func script(_ port: Int) -> String {
        """
        return function(event, ctx)
          ctx.http.post("http://127.0.0.1:\(port)/script/" .. event.attempt, { json = {} })
        end
        """
    }

    /// With one event in flight at the plugin and at the endpoint, both of which wait for the sink.
    private func busy(_ sink: Sink, drain: String) async throws -> RunningServer {
        let server = try RunningServer(
            routes: Self.routes(sink.port), plugins: ["script": Self.script(sink.port)])
        try await server.start("--drain", drain)
        sink.hold()
        #expect(try await server.post("/v1/topics/orders/events", "{}").status == 202)
        try await eventually("both are at work") { sink.requests.count == 2 }
        return server
    }

    private func stopping(_ server: RunningServer) async throws {
        server.signal(SIGTERM)
        try await eventually("it says that it isn't ready") { try await server.get("/readyz").status == 503 }
    }

    private func ended(_ server: RunningServer) async throws {
        try await eventually("the process has ended") { !server.process.isRunning }
        #expect(server.process.terminationStatus == 0, "\(server.output)")
    }

    @Test func whatIsInFlightIsFinishedAndNothingComesTwice() async throws {
        let sink = try Sink()
        let server = try await busy(sink, drain: "5m")
        let pulled = try await server.post("/v1/subscribers/worker/pull", #"{"max":1,"wait":"10s"}"#)
        let lease = try #require((try pulled.object["deliveries"] as? [[String: Any]])?.first?["lease"] as? String)
        let port = server.port
        async let waiting = Loopback.send(
            "POST", port, "/v1/subscribers/waiting/pull", body: Array(#"{"max":1,"wait":"60s"}"#.utf8))
        try await eventually("a pull waits") {
            try await server.get("/metrics").text.contains("fairlead_http_requests_total")
        }
        try await stopping(server)
        #expect(try await server.get("/healthz").status == 200)
        let refused = try await server.post("/v1/topics/orders/events", "{}")
        #expect(refused.status == 503 && refused.text.contains("shutting down"), "\(refused.text)")
        #expect(try await server.post("/v1/reload", "").text.contains("the server is stopping"))
        let answer = try await waiting
        #expect(answer.status == 200 || answer.status == 503, "\(answer.text)")
        let settled = try await server.post("/v1/subscribers/worker/settle", #"{"ack":["\#(lease)"]}"#)
        #expect(settled.text.contains(#""result":"done""#), "\(settled.text)")
        #expect(server.process.isRunning, "it waits for what is in flight")
        sink.hold(false)
        try await ended(server)
        #expect(server.output.contains("Stopped"))

        try await server.start()
        #expect(try await server.post("/v1/topics/orders/events", "{}").status == 202)
        try await eventually("the second is done") {
            let (script, hook) = (try await server.acked("script"), try await server.acked("hook"))
            return script == 1 && hook == 1
        }
        #expect(sink.requests.count == 4, "\(sink.requests.map(\.line))")
        let left = try await server.post("/v1/subscribers/worker/pull", #"{"max":10,"wait":"10s"}"#)
        #expect((try left.object["deliveries"] as? [[String: Any]])?.count == 1, "\(left.text)")
    }

    @Test(arguments: [true, false])
    func whatTakesTooLongIsGivenBackAndComesAgainWithoutAnAttemptCounted(_ isHurried: Bool) async throws {
        let sink = try Sink()
        let server = try await busy(sink, drain: isHurried ? "5m" : "300ms")
        if isHurried { try await stopping(server) }
        server.signal(SIGTERM)
        try await ended(server)
        #expect(server.output.contains("Stopping at once") == isHurried)
        sink.hold(false)
        try await server.start()
        try await eventually("both are done after the restart") {
            let (script, hook) = (try await server.acked("script"), try await server.acked("hook"))
            return script == 1 && hook == 1
        }
        #expect(
            sink.requests.filter { $0.line.hasPrefix("POST /script") }.map(\.line) == [
                "POST /script/1", "POST /script/1",
            ])
        let dead = try await server.subscriber("script")["dead"] as? Int
        #expect(dead == 0)
    }
}
