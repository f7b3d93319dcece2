// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// `push` on the real program, with endpoints in trouble.
struct PushTests {
    private static func routes(_ port: Int, _ more: String = "", push: String = "breaker 4 probe 200ms to 400ms")
        -> String
    {
        """
        topic orders { retain 30d }
        subscriber hook {
          from orders
          push "http://127.0.0.1:\(port)/hook" {
            \(push)
          }
          retry { attempts 3; backoff 20ms; timeout 5s }
          \(more)
        }
        """
    }

    private func publish(_ server: RunningServer, _ numbers: ClosedRange<Int>) async throws {
        let lines = numbers.map { #"{"n":\#($0)}"# }.joined(separator: "\n")
        let answer = try await server.post("/v1/topics/orders/events", lines, type: "application/x-ndjson")
        #expect(answer.status == 202, "\(answer.text)")
    }

    /// What is on `$alert`, in order.
    private func alerts(_ server: RunningServer) async throws -> [String] {
        try await server.get("/v1/topics/$alert/events?from=0&max=100&wait=0s").text.split(separator: "\n").compactMap {
            guard let start = $0.range(of: #""type":""#) else { return nil }
            return String($0[start.upperBound...].prefix { $0 != "\"" })
        }
    }

    private func metric(_ server: RunningServer, _ name: String) async throws -> String? {
        try await server.get("/metrics").text.split(separator: "\n")
            .first { $0.hasPrefix(#"\#(name){subscriber="hook"}"#) }.map { String($0.split(separator: " ")[1]) }
    }

    /// Far more attempts fail than an event has, and still none is lost; the story of the subscriber that is down for days.
    @Test(.timeLimit(.minutes(1)))
    func anEndpointThatIsDownIsProbedAndGetsEverythingWhenItIsBack() async throws {
        let sink = try Sink()
        sink.answer("500 Broken")
        let server = try RunningServer(routes: Self.routes(sink.port))
        try await server.start()
        try await publish(server, 1...20)
        try await eventually("it is down") { try await server.subscriber("hook")["state"] as? String == "down" }
        let count = sink.requests.count
        try await eventually("it is probed") { sink.requests.count >= count + 8 }
        let hook = try await server.subscriber("hook")
        #expect(hook["dead"] as? Int == 0)
        #expect(hook["backlog"] as? Int == 20)
        #expect((hook["lastError"] as? String)?.contains("answered 500") == true)
        #expect(try await metric(server, "fairlead_endpoint_down") == "1")
        try await eventually("the table says until when") {
            try await server.command("status").output.contains("down until 2")
        }

        sink.answer("204 No Content")
        try await eventually("all are taken") { try await server.subscriber("hook")["acked"] as? Int == 20 }
        #expect(try await server.subscriber("hook")["state"] as? String == "live")
        #expect(try await server.subscriber("hook")["dead"] as? Int == 0)
        #expect(try await metric(server, "fairlead_endpoint_down") == "0")
        #expect(try await metric(server, "fairlead_endpoint_outages_total") == "1")
        #expect(try await alerts(server) == ["fairlead.endpoint.down", "fairlead.endpoint.back"])
    }

    @Test(.timeLimit(.minutes(1)))
    func anEventThatTheEndpointChokesOnIsADeadLetterAsBefore() async throws {
        let sink = try Sink()
        sink.answer("500 Broken")
        let server = try RunningServer(routes: Self.routes(sink.port))
        try await server.start()
        try await publish(server, 1...1)
        try await eventually("it is dead") { try await server.subscriber("hook")["dead"] as? Int == 1 }
        #expect(sink.requests.count == 3)
        #expect(Set(sink.requests.compactMap { $0.headers["webhook-id"] }).count == 1, "one id for all its attempts")
    }

    @Test(.timeLimit(.minutes(1)))
    func anEndpointThatIsGonePausesTheSubscriberUntilSomebodyResumesIt() async throws {
        let sink = try Sink()
        sink.answer("410 Gone")
        let server = try RunningServer(routes: Self.routes(sink.port))
        try await server.start()
        try await publish(server, 1...3)
        try await eventually("it is gone") { try await server.subscriber("hook")["state"] as? String == "gone" }
        try await publish(server, 4...5)
        #expect(sink.requests.count == 1)
        #expect(try await server.subscriber("hook")["dead"] as? Int == 0)
        #expect(try await alerts(server) == ["fairlead.endpoint.gone"])

        sink.answer("204 No Content")
        let resumed = try await server.command("resume", "hook")
        #expect(resumed.code == 0)
        try await eventually("all are taken") { try await server.subscriber("hook")["acked"] as? Int == 5 }
    }

    @Test(.timeLimit(.minutes(2)))
    func anEndpointThatIsGoneStaysSoOverARestartUntilItIsAnotherOneOrResumed() async throws {
        let sink = try Sink()
        sink.answer("410 Gone")
        let server = try RunningServer(routes: Self.routes(sink.port))
        try await server.start()
        try await publish(server, 1...3)
        try await eventually("it is gone") { try await server.subscriber("hook")["state"] as? String == "gone" }
        try await eventually("it is on disk") { try await alerts(server) == ["fairlead.endpoint.gone"] }
        server.killHard()
        try await server.start()
        #expect(try await server.subscriber("hook")["state"] as? String == "gone")
        let status = try await server.command("status")
        #expect(status.output.contains("hook is paused as its endpoint is gone since "), "\(status.output)")
        try await publish(server, 4...4)
        #expect(sink.requests.count == 1, "nothing was sent after the restart")

        // Another endpoint, written down while the server is stopped.
        server.killHard()
        sink.answer("204 No Content")
        try server.write(routes: Self.routes(sink.port, push: "breaker off"))
        try await server.start()
        try await eventually("all are taken") { try await server.subscriber("hook")["acked"] as? Int == 4 }

        sink.answer("410 Gone")
        try await publish(server, 5...5)
        try await eventually("it is gone again") { try await server.subscriber("hook")["state"] as? String == "gone" }
        sink.answer("204 No Content")
        #expect(try await server.command("resume", "hook").code == 0)
        try await eventually("the last is taken") { try await server.subscriber("hook")["acked"] as? Int == 5 }
        server.killHard()
        try await server.start()
        #expect(try await server.subscriber("hook")["state"] as? String == "live", "what was resumed stays so")
    }

    @Test(.timeLimit(.minutes(2)))
    func anOutageIsRememberedOverARestartAndBeginsWithOneProbe() async throws {
        let sink = try Sink()
        sink.answer("500 Broken")
        let server = try RunningServer(
            routes: Self.routes(sink.port, push: "breaker 3 probe 1h to 1h"))
        try await server.start()
        try await publish(server, 1...20)
        try await eventually("it is down") { try await server.subscriber("hook")["state"] as? String == "down" }
        try await eventually("it is on disk") { try await alerts(server) == ["fairlead.endpoint.down"] }
        server.killHard()
        let before = sink.requests.count
        try await server.start()
        try await eventually("the probe has failed") {
            try await server.subscriber("hook")["until"] != nil && sink.requests.count > before
        }
        #expect(sink.requests.count == before + 1, "one probe, and the rest waits")
        #expect(try await server.subscriber("hook")["state"] as? String == "down")
        #expect(try await alerts(server) == ["fairlead.endpoint.down"], "it is no news")
        server.killHard()
        sink.answer("204 No Content")
        try await server.start()
        try await eventually("all are taken") { try await server.subscriber("hook")["acked"] as? Int == 20 }
        try await eventually("it is back") {
            try await alerts(server) == ["fairlead.endpoint.down", "fairlead.endpoint.back"]
        }
    }

    @Test(.timeLimit(.minutes(1)), arguments: ["429 Too Many\nRetry-After: 2", "503 Unavailable\nRetry-After: 2"])
    func aBusyEndpointIsLeftAloneByTheWholeSubscriberAndNoAttemptIsCounted(_ answer: String) async throws {
        let sink = try Sink()
        sink.answer(answer)
        let server = try RunningServer(routes: Self.routes(sink.port))
        try await server.start()
        let began = ContinuousClock.now
        try await publish(server, 1...10)
        try await eventually("it is busy") { try await server.subscriber("hook")["state"] as? String == "busy" }
        #expect(sink.requests.count == 1)
        try await eventually("it is tried again") { sink.requests.count == 2 }
        #expect(ContinuousClock.now - began >= .seconds(1.9))
        sink.answer("204 No Content")
        try await eventually("all are taken") { try await server.subscriber("hook")["acked"] as? Int == 10 }
        #expect(try await server.subscriber("hook")["dead"] as? Int == 0)
    }

    @Test(.timeLimit(.minutes(1)))
    func nothingIsPostedBeforeTheEndpointConsentsAndItsRateIsObeyed() async throws {
        let sink = try Sink()
        let server = try RunningServer(
            routes: Self.routes(sink.port, push: #"handshake "shop.example.com"; breaker 4 probe 200ms to 400ms"#))
        try await server.start()
        try await publish(server, 1...3)
        try await eventually("it is asked again and again") { sink.requests.count >= 3 }
        #expect(sink.requests.allSatisfy { $0.method == "OPTIONS" })
        #expect(try await server.subscriber("hook")["state"] as? String == "down")

        sink.answer("200 OK\nWebHook-Allowed-Origin: shop.example.com\nWebHook-Allowed-Rate: 60")
        let began = ContinuousClock.now
        try await eventually("all are taken") { try await server.subscriber("hook")["acked"] as? Int == 3 }
        #expect(ContinuousClock.now - began >= .seconds(1.9), "one a second, the first at once")
        let posts = sink.requests.filter { $0.method == "POST" }
        #expect(posts.count == 3 && posts.allSatisfy { $0.headers["webhook-request-origin"] == "shop.example.com" })
    }

    @Test(.timeLimit(.minutes(1)))
    func batchesAreFilledOrSentAfterTheirTime() async throws {
        let sink = try Sink()
        let server = try RunningServer(routes: Self.routes(sink.port, "batch 10 every 1s"))
        try await server.start()
        try await publish(server, 1...25)
        try await eventually("all are taken") { try await server.subscriber("hook")["acked"] as? Int == 25 }
        let sizes = try sink.requests.map { try (JSONSerialization.jsonObject(with: Data($0.body)) as? [Any])?.count }
        #expect(sizes == [10, 10, 5])
    }

    /// Its certificate is its own; nothing is sent to whoever can't show who he is.
    @Test(.timeLimit(.minutes(1)))
    func anEndpointWhoseCertificateNobodyVouchesForGetsNothing() async throws {
        let receiver = try RunningServer(routes: "")
        try receiver.write(
            routes: """
                tls { certificate "cert.pem"; key "key.pem" }
                topic orders { retain 30d }
                """)
        let made = try await RunningServer.command(
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "key.pem",
                "-out", "cert.pem",
            ], of: URL(fileURLWithPath: "/usr/bin/openssl"), in: receiver.folder)
        #expect(made.code == 0, "\(made.errors)")
        try await receiver.start(until: "Listening")

        let server = try RunningServer(
            routes: Self.routes(0).replacing(
                "http://127.0.0.1:0/hook", with: "https://localhost:\(receiver.port)/v1/topics/orders/events"))
        try await server.start()
        try await publish(server, 1...1)
        try await eventually("it is refused") {
            try await (server.subscriber("hook")["lastError"] as? String)?.lowercased().contains("certificate") == true
        }
        #expect(try await server.subscriber("hook")["acked"] as? Int == 0)
    }

    /// What docs/push.md tells people to do.
    @Test(.timeLimit(.minutes(1)), arguments: ["python", "javascript"])
    func theManualsExamplesVerifyWhatIsSent(_ language: String) async throws {
        let interpreter = URL(fileURLWithPath: language == "python" ? "/usr/bin/python3" : "/usr/bin/node")
        // Python is what the tests need in any case; Node may be missing.
        if language == "javascript", !FileManager.default.fileExists(atPath: interpreter.path) { return }
        let manual = try String(
            contentsOf: URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
                "../../docs/push.md"),
            encoding: .utf8)
        let start = try #require(manual.range(of: "```\(language)\n")).upperBound
        let example = manual[start..<(try #require(manual.range(of: "```", range: start..<manual.endIndex)).lowerBound)]

        let sink = try Sink()
        let server = try RunningServer(routes: Self.routes(sink.port, push: #"sign secret("NEW"), secret("OLD")"#))
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        try await server.start(environment: ["NEW": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "OLD": secret])
        try await publish(server, 1...1)
        try await eventually("it has come") { sink.requests.count == 1 }
        let request = try #require(sink.requests.first)

        let call: String
        switch language {
        case "python":
            call = """
                import sys
                headers, body = json.loads(sys.argv[1]), sys.argv[2].encode()
                print(verify("\(secret)", headers, body), verify("\(secret)", headers, body + b" "))
                """
        default:
            call = """
                const [headers, body] = [JSON.parse(process.argv[2]), Buffer.from(process.argv[3])];
                const text = (b) => String(verify("\(secret)", headers, b)).replace(/^./, (c) => c.toUpperCase());
                console.log(text(body), text(Buffer.concat([body, Buffer.from(" ")])));
                """
        }
        let file = server.folder.appendingPathComponent("verify.\(language == "python" ? "py" : "js")")
        let head = language == "python" ? "import json\n" : ""
        try Data("\(head)\(example)\n\(call)\n".utf8).write(to: file)
        let headers = String(decoding: try JSONSerialization.data(withJSONObject: request.headers), as: UTF8.self)
        let verified = try await RunningServer.command(
            [file.path, headers, String(decoding: request.body, as: UTF8.self)], of: interpreter, in: server.folder)
        #expect(verified.output == "True False\n", "\(verified.errors)")
        #expect(!server.output.contains(secret))
    }
}
