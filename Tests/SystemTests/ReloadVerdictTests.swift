// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// What a reload answers and what is remembered of it, on the real program.
@Suite(.timeLimit(.minutes(5))) struct ReloadVerdictTests {
    private static let routes = """
        topic orders { retain 30d }
        subscriber first { from orders; run first; start earliest }
        """
    private static let good = "return function(event, ctx) end"

    private func started(_ routes: String = routes) async throws -> RunningServer {
        let server = try RunningServer(routes: routes, plugins: ["first": Self.good])
        try await server.start()
        return server
    }

    private func servesOn(_ server: RunningServer, acked: Int) async throws {
        #expect(try await server.post("/v1/topics/orders/events", "{}").status == 202)
        try await eventually("the old generation delivers") { try await server.acked("first") == acked }
        #expect(try await server.get("/v1/status").object["generation"] as? Int == 1)
    }

    private func config(_ server: RunningServer) async throws -> [String: Any] {
        try await server.get("/v1/status").object["config"] as? [String: Any] ?? [:]
    }

    @Test(arguments: [
        ("error('no such luck')", "init failed: no such luck"),
        ("while true do end", "init failed: stopped: used more than its 1000 ms of processor time"),
        ("ctx.sleep(3600)", "init failed: stopped: took longer than 10000 ms (timeout)"),
        ("ctx.state.put('a', 1)", "ctx.state.put is available only while an event is handled"),
    ])
    func anInitThatThrowsLoopsOrHangsIsRefusedAndTheOldGenerationServesOn(_ body: String, _ message: String)
        async throws
    {
        let server = try await started()
        try server.write(plugin: "first", "return { init = function(ctx) \(body) end, handle = print }")
        let refused = try await server.command("reload")
        #expect(refused.code == 2)
        #expect(refused.errors.contains(message), "\(refused.errors)")
        #expect(refused.errors.contains("subscriber \"first\""))
        try await servesOn(server, acked: 1)
    }

    @Test func whatIsNotReadyWithinTheWaitIsCalledOff() async throws {
        let routes = Self.routes + "\nsubscriber second { from orders; run second }"
        let server = try RunningServer(routes: routes, plugins: ["first": Self.good, "second": Self.good])
        try await server.start()
        let slow = "return { init = function(ctx) ctx.sleep(3600) end, handle = print }"
        try server.write(plugin: "first", slow)
        try server.write(plugin: "second", slow)
        let late = try await server.command("reload", "--wait", "500ms")
        #expect(late.code == 4)
        #expect(late.errors.contains("not ready within 500ms; everything is as it was"), "\(late.errors)")
        for name in ["first", "second"] {
            #expect(late.errors.contains("subscriber \"\(name)\": "), "\(late.errors)")
        }
        #expect(late.errors.contains("the time for loading the new configuration is over"))
        try await servesOn(server, acked: 1)
        #expect(try await server.metric(#"fairlead_config_reload_total{result="timed_out"}"#) == "1")
        try server.write(plugin: "first", Self.good)
        try server.write(plugin: "second", Self.good)
        #expect(try await server.command("reload", "--wait", "20s").code == 0)
        let wrong = try await server.command("reload", "--wait", "20")
        #expect(wrong.code == 64)
        #expect(wrong.errors.contains("write a number and a unit"), "\(wrong.errors)")
    }

    /// The `init` of the first reload waits for the sink, so that what is asked meanwhile comes while it runs.
    @Test func whoeverAsksDuringAReloadSharesExactlyOneMore() async throws {
        let sink = try Sink()
        let routes = Self.routes.replacing("run first", with: "run first; allow http \"127.0.0.1:\(sink.port)\"")
        let server = try await started(routes)
        func plugin(_ version: Int) -> String {
            """
            return { version = "\(version)", handle = function() end,
              init = function(ctx) ctx.http.post("http://127.0.0.1:\(sink.port)/\(version)", { json = {} }) end }
            """
        }
        try server.write(plugin: "first", plugin(2))
        sink.hold()
        let port = server.port
        async let one = Loopback.send("POST", port, "/v1/reload")
        try await eventually("the first reload is under way") { sink.requests.count == 1 }
        try server.write(plugin: "first", plugin(3))
        async let others = withThrowingTaskGroup(of: Loopback.Answer.self) { group in
            for _ in 0..<4 { group.addTask { try await Loopback.send("POST", port, "/v1/reload") } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        server.signal(SIGHUP)
        try await eventually("all of them wait") {
            server.output.components(separatedBy: "A reload runs; the next follows it").count == 6
        }
        sink.hold(false)
        #expect(try await one.object["generation"] as? Int == 2)
        for answer in try await others { #expect(try answer.object["generation"] as? Int == 3, "\(answer.text)") }
        #expect(sink.requests.map(\.line) == ["POST /2", "POST /3"])
        let generations = try await server.command("generations")
        #expect(generations.output.contains("SIGHUP") && generations.output.contains("HTTP"), "\(generations.output)")
        #expect(try await server.get("/v1/status").object["generation"] as? Int == 3)
        #expect(try await server.metric(#"fairlead_config_reload_total{result="applied"}"#) == "2")
    }

    @Test func aRefusedReloadIsRememberedAndToldEverywhere() async throws {
        let server = try await started()
        for result in ["applied", "refused", "restart_needed", "timed_out"] {
            #expect(try await server.metric("fairlead_config_reload_total{result=\"\(result)\"}") == "0")
        }
        #expect(try await server.metric("fairlead_config_last_reload_success") == "1")
        let hash = try #require(try await config(server)["hash"] as? String)
        try server.write(routes: Self.routes.replacing("from orders", with: "from orderz"))
        #expect(try await server.command("reload").code == 2)
        let config = try await config(server)
        #expect(config["hash"] as? String == hash)
        let attempt = try #require(config["lastAttempt"] as? [String: Any])
        #expect(attempt["verdict"] as? String == "refused")
        #expect(attempt["trigger"] as? String == "HTTP")
        let diagnostics = attempt["diagnostics"] as? [String] ?? []
        #expect(diagnostics.first?.contains("unknown topic \"orderz\"") == true, "\(diagnostics)")
        let status = try await server.command("status")
        #expect(status.output.contains("generation 1, \(hash.prefix(12)), since "), "\(status.output)")
        #expect(status.output.contains("last reload refused at "), "\(status.output)")
        #expect(status.output.contains("unknown topic"), "\(status.output)")
        let listed = try await server.command("generations").output
        #expect(listed.contains("refused") && listed.contains("unknown topic \"orderz\""), "\(listed)")
        #expect(try await server.metric(#"fairlead_config_reload_total{result="refused"}"#) == "1")
        #expect(try await server.metric("fairlead_config_last_reload_success") == "0")

        try server.write(routes: Self.routes + "\ntopic more { retain 1d }")
        #expect(try await server.command("reload").code == 0)
        #expect(try await server.metric("fairlead_config_last_reload_success") == "1")
        #expect(try await server.metric("fairlead_config_generation") == "2")
        try await eventually("both are on $config") { try await server.tail("$config").count == 2 }
        let events = try await server.tail("$config").map(\.data)
        #expect(events.map { $0["verdict"] as? String } == ["refused", "applied"])
        #expect((events[0]["diagnostics"] as? [String])?.first?.contains("orderz") == true)
        #expect(events[1]["changes"] as? [String] == ["nothing changed"])
        #expect(events[1]["trigger"] as? String == "HTTP")

        server.signal(SIGTERM)
        try await eventually("the process has ended") { !server.process.isRunning }
        try await server.start()
        #expect(try await server.command("generations").output.contains("orderz"), "a restart forgets nothing")
    }

    @Test func aSecretThatIsGoneAPluginThatIsMissingAndAPipeAreRefusedByName() async throws {
        let routes = """
            topic orders { retain 30d }
            subscriber first { from orders; run first { key secret("FIRST_KEY") }; start earliest }
            """
        let server = try RunningServer(routes: routes, plugins: ["first": Self.good])
        let secrets = server.folder.appendingPathComponent("secrets")
        try FileManager.default.createDirectory(at: secrets, withIntermediateDirectories: true)
        let secret = secrets.appendingPathComponent("FIRST_KEY")
        try Data("value-of-the-key".utf8).write(to: secret)
        try await server.start(environment: ["CREDENTIALS_DIRECTORY": secrets.path])
        try FileManager.default.removeItem(at: secret)
        let gone = try await server.command("reload")
        #expect(gone.code == 2)
        #expect(gone.errors.contains("FIRST_KEY") && gone.errors.contains("routes.conf:3:"), "\(gone.errors)")
        try Data("value-of-the-key".utf8).write(to: secret)
        #expect(try await server.command("reload").output.contains("nothing changed"))
        try Data("another-value".utf8).write(to: secret)
        #expect(try await server.command("reload").output.contains("first changed"), "secrets are read anew")

        let plugin = server.folder.appendingPathComponent("Plugins/first.lua")
        try FileManager.default.removeItem(at: plugin)
        let missing = try await server.command("reload")
        #expect(missing.code == 2)
        #expect(missing.errors.contains("no plugin \"first\""), "\(missing.errors)")
        #expect(mkfifo(plugin.path, 0o600) == 0)
        let pipe = try await server.command("reload")
        #expect(pipe.code == 2)
        #expect(pipe.errors.contains("first.lua is no regular file"), "\(pipe.errors)")
        #expect(try await server.post("/v1/topics/orders/events", "{}").status == 202)
        try await eventually("the old generation delivers") { try await server.acked("first") == 1 }
    }

    /// Fluent Bit, Vector and others wait for what fails before they load what mends it.
    @Test func aReloadThatMendsAFailingSubscriberIsNotHeldUpByItsRetries() async throws {
        let routes = """
            topic orders { retain 30d }
            retry slow { attempts 5; backoff 6h }
            subscriber first { from orders; run first; retry slow; start earliest }
            """
        let server = try RunningServer(routes: routes, plugins: ["first": "return function() error('boom') end"])
        try await server.start()
        for _ in 0..<3 { _ = try await server.post("/v1/topics/orders/events", #"{"n":1}"#) }
        try await eventually("all wait for their retry") {
            try await server.subscriber("first")["retrying"] as? Int == 3
        }
        let id = try #require(try await server.tail("orders").first).id
        func due() async throws -> String? {
            let why = try await server.get("/v1/events/\(id)/why").object
            return (why["subscribers"] as? [[String: Any]])?.first?["due"] as? String
        }
        let before = try #require(try await due())
        try server.write(plugin: "first", Self.good)
        try server.write(routes: routes.replacing("backoff 6h", with: "backoff 1m"))
        #expect(try await server.command("reload", "--wait", "20s").code == 0)
        #expect(try await due() == before, "its time stays")
        let status = try await server.get("/v1/status").object
        #expect((status["ending"] as? [Int]) == [], "nothing waits for the retries")
        _ = try await server.post("/v1/topics/orders/events", #"{"n":2}"#)
        try await eventually("the mended one works") { try await server.acked("first") == 1 }
        #expect(try await server.subscriber("first")["retrying"] as? Int == 3)
    }

    @Test func atMostTwoGenerationsLiveAndWhatTheOldestHadBegunIsDoneByTheNewest() async throws {
        let sink = try Sink()
        let routes = """
            topic orders { retain 30d }
            retry patient { attempts 3; backoff 20ms; timeout 2m }
            subscriber first {
              from orders
              run first
              retry patient
              allow http "127.0.0.1:\(sink.port)"
              start earliest
            }
            """
        func plugin(_ version: Int) -> String {
            """
            return function(event, ctx)
              ctx.http.post("http://127.0.0.1:\(sink.port)/\(version)/" .. event.attempt, { json = {} })
            end
            """
        }
        let server = try RunningServer(routes: routes, plugins: ["first": plugin(1)])
        try await server.start()
        sink.hold()
        _ = try await server.post("/v1/topics/orders/events", "{}")
        try await eventually("the first generation is at work") { sink.requests.count == 1 }
        func ending() async throws -> [Int] { try await server.get("/v1/status").object["ending"] as? [Int] ?? [] }
        for version in 2...5 {
            try server.write(plugin: "first", plugin(version))
            #expect(try await server.command("reload").code == 0)
            let ending = try await ending()
            #expect(ending.isEmpty || ending == [version - 1], "\(ending) still live beside \(version)")
        }
        try await eventually("a later one has the event") { sink.requests.count >= 2 }
        sink.hold(false)
        try await eventually("it is done once") { try await server.acked("first") == 1 }
        #expect(
            sink.requests.allSatisfy { $0.line.hasSuffix("/1") },
            "a reload costs no attempt: \(sink.requests.map(\.line))")
        try await eventually("nothing old is left") { try await ending().isEmpty }
    }
}
