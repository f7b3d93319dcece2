// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// What the real server shows of itself: to Prometheus, in its log, and in the traces that events carry.
struct ObservabilityTests {
    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
    private static let folder = repository.appendingPathComponent("docs/observability")

    private static let routes = """
        topic orders { retain 30d; dedupe 1m }
        topic stock { retain 30d }
        subscriber script { from orders; where data.total > 100; run script; allow publish stock; retry { attempts 2; backoff 10ms } }
        subscriber taker { from orders; pull }
        """
    private static let plugins = [
        "script": """
        return function(event, ctx)
          if event.type == "order.bad" then error("no such customer") end
          ctx.log.info("looked at", { trace = event.traceparent })
          ctx.publish("stock", { n = 1 })
        end
        """
    ]

    /// From the machine, or from where `make deps` puts it.
    private static func promtool() throws -> String {
        let build = RunningServer.program.deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return try #require(
            ["/usr/bin/promtool", "/usr/local/bin/promtool", build.path + "/tools/usr/bin/promtool"].first {
                FileManager.default.isExecutableFile(atPath: $0)
            }, "no promtool; `make deps` gets it")
    }

    private static func promtool(_ arguments: String...) async throws -> (code: Int32, output: String, errors: String) {
        try await RunningServer.command(arguments, of: URL(fileURLWithPath: promtool()), in: folder)
    }

    /// Samples by name with labels.
    private static func samples(_ text: String) -> [String: Double] {
        var samples: [String: Double] = [:]
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            guard let space = line.lastIndex(of: " ") else { continue }
            samples[String(line[..<space])] = Double(line[line.index(after: space)...])
        }
        return samples
    }

    @Test(.timeLimit(.minutes(2)))
    func everyCounterOfTopicsAndSubscribersIsThereAtZeroBeforeAnythingHappened() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: Self.plugins)
        try await server.start()
        let samples = Self.samples(try await server.get("/metrics").text)
        var expected: [String] = []
        for topic in ["orders", "stock"] {
            for name in ["published", "duplicate", "expired"] {
                expected.append(#"fairlead_events_\#(name)_total{topic="\#(topic)"}"#)
            }
            for reason in ["malformed", "tooLarge", "unsupportedMediaType", "overloaded", "storage"] {
                expected.append(#"fairlead_publishes_rejected_total{reason="\#(reason)",topic="\#(topic)"}"#)
            }
        }
        for name in ["events", "candidates", "type_mismatch", "data_unparseable"] {
            expected.append(#"fairlead_filter_\#(name)_total{topic="orders"}"#)
        }
        for subscriber in ["script", "taker"] {
            for outcome in ["ack", "retry", "drop", "dead"] {
                expected.append(
                    #"fairlead_deliveries_total{outcome="\#(outcome)",subscriber="\#(subscriber)"}"#)
            }
            expected.append(#"fairlead_attempts_total{subscriber="\#(subscriber)"}"#)
            expected.append(#"fairlead_delivery_duration_seconds_count{subscriber="\#(subscriber)"}"#)
            expected.append(#"fairlead_events_lost_total{subscriber="\#(subscriber)",topic="orders"}"#)
            expected.append(#"fairlead_subscriber_backlog_events{subscriber="\#(subscriber)"}"#)
            expected.append(#"fairlead_subscriber_oldest_unsettled_seconds{subscriber="\#(subscriber)"}"#)
            expected.append(#"fairlead_subscriber_state{state="quarantined",subscriber="\#(subscriber)"}"#)
        }
        expected.append(#"fairlead_plugin_errors_total{plugin="script",subscriber="script"}"#)
        for name in expected { #expect(samples[name] == 0, "\(name)") }
        #expect(samples[#"fairlead_subscriber_state{state="live",subscriber="script"}"#] == 1)
        #expect(samples[#"fairlead_build_info{version="0.1.0"}"#] == 1)
        #expect(samples[#"fairlead_filter_unindexed{topic="orders"}"#] == 2)
    }

    @Test(.timeLimit(.minutes(2)))
    func whatHappensIsCountedAndPromtoolFindsNothingWrong() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: Self.plugins)
        try await server.start()
        func publish(_ body: String, _ query: String = "", type: String = "application/json") async throws {
            _ = try await server.post("/v1/topics/orders/events\(query)", body, type: type)
        }
        try await publish(#"{"total":250}"#)
        try await publish(#"{"total":"250"}"#)
        _ = try await Loopback.send(
            "POST", server.port, "/v1/topics/orders/events", body: Array("a text".utf8), type: "text/plain",
            headers: ["ce-specversion: 1.0", "ce-id: x-1", "ce-source: /shop", "ce-type: order.note"])
        try await publish("a text", type: "text/plain")
        try await publish(#"{"total":101}"#, "?type=order.bad")
        try await publish("{")
        try await eventually("the bad one is a dead letter") {
            try await server.subscriber("script")["dead"] as? Int == 1
        }
        try await eventually("the good one is settled") {
            try await server.subscriber("script")["acked"] as? Int == 1
        }
        let text = try await server.get("/metrics").text
        let samples = Self.samples(text)
        #expect(samples[#"fairlead_events_published_total{topic="orders"}"#] == 4)
        #expect(samples[#"fairlead_publishes_rejected_total{reason="malformed",topic="orders"}"#] == 1)
        #expect(samples[#"fairlead_publishes_rejected_total{reason="unsupportedMediaType",topic="orders"}"#] == 1)
        #expect(samples[#"fairlead_filter_events_total{topic="orders"}"#] == 4)
        #expect(samples[#"fairlead_filter_candidates_total{topic="orders"}"#] == 8)
        #expect(samples[#"fairlead_filter_type_mismatch_total{topic="orders"}"#] == 1)
        #expect(samples[#"fairlead_filter_data_unparseable_total{topic="orders"}"#] == 1)
        #expect(samples[#"fairlead_plugin_errors_total{plugin="script",subscriber="script"}"#] == 2)
        #expect(samples[#"fairlead_deliveries_total{outcome="dead",subscriber="script"}"#] == 1)
        #expect(samples[#"fairlead_delivery_duration_seconds_count{subscriber="script"}"#] == 3)
        #expect(samples[#"fairlead_subscriber_backlog_events{subscriber="taker"}"#] == 4)
        #expect((samples["fairlead_fsync_duration_seconds_count"] ?? 0) > 0)
        #expect(!text.contains("order.bad"), "no label comes from an event")

        let file = server.folder.appendingPathComponent("metrics.txt")
        try Data(text.utf8).write(to: file)
        let checked = try await RunningServer.command(
            ["-c", #""$0" check metrics < "$1""#, try Self.promtool(), file.path],
            of: URL(fileURLWithPath: "/bin/sh"), in: server.folder)
        #expect(checked.code == 0, "\(checked.output)\(checked.errors)")
        #expect(checked.errors.isEmpty, "\(checked.errors)")
    }

    @Test(.timeLimit(.minutes(2)))
    func openMetricsIsServedToWhoeverAsksForIt() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: Self.plugins)
        try await server.start()
        let answer = try await Loopback.send(
            "GET", server.port, "/metrics", headers: ["Accept: application/openmetrics-text; version=1.0.0"])
        #expect(answer.text.hasSuffix("# EOF\n"))
        #expect(answer.text.contains("# TYPE fairlead_events_published counter\n"))
        #expect(answer.text.contains("\nfairlead_events_published_total{topic=\"orders\"} 0\n"))
        #expect(answer.text.contains(#"le="1.0"}"#))
        #expect(!answer.text.contains(#"le="1"}"#))
        for line in answer.text.split(separator: "\n") where line.hasPrefix("# TYPE") && line.hasSuffix(" counter") {
            #expect(!line.contains("_total "), "\(line)")
        }
    }

    @Test func alertRulesAreRightAndTested() async throws {
        let checked = try await Self.promtool("check", "rules", "alerts.yml")
        #expect(checked.code == 0, "\(checked.output)\(checked.errors)")
        let tested = try await Self.promtool("test", "rules", "alerts_test.yml")
        #expect(tested.code == 0, "\(tested.output)\(tested.errors)")
        let rules = try String(contentsOf: Self.folder.appendingPathComponent("alerts.yml"), encoding: .utf8)
        let tests = try String(contentsOf: Self.folder.appendingPathComponent("alerts_test.yml"), encoding: .utf8)
        for match in rules.matches(of: /- alert: (\w+)/) {
            #expect(tests.contains(match.1), "\(match.1) has no test")
        }
    }

    /// A panel or a rule that asks for a metric of another name would stay empty and silent.
    @Test(.timeLimit(.minutes(2)))
    func rulesDashboardAndManualNameOnlyMetricsThatThereAre() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: Self.plugins)
        try await server.start()
        let text = try await server.get("/metrics").text
        var known: Set<String> = []
        for match in text.matches(of: /# TYPE (\w+) (\w+)/) {
            known.insert(String(match.1))
            if match.2 == "histogram" { for end in ["_bucket", "_sum", "_count"] { known.insert(match.1 + end) } }
        }
        // They come with the first replay, import or ctx.metric.
        known.formUnion(
            ["runs", "remaining", "per_second", "settled_total"].map { "fairlead_history_\($0)" }
                + ["fairlead_plugin_metric_total"])
        // They come with the first reload.
        known.formUnion(
            ["last_reload_success", "last_reload_success_timestamp_seconds", "reload_total"].map {
                "fairlead_config_\($0)"
            })
        let dashboard = try JSONSerialization.jsonObject(
            with: Data(contentsOf: Self.folder.appendingPathComponent("grafana.json")))
        var expressions: [String] = []
        func collect(_ value: Any) {
            if let object = value as? [String: Any] {
                for (key, value) in object {
                    if ["expr", "definition"].contains(key), let text = value as? String { expressions.append(text) }
                    collect(value)
                }
            } else if let array = value as? [Any] {
                array.forEach(collect)
            }
        }
        collect(dashboard)
        #expect(expressions.count > 30)
        let manual = try String(
            contentsOf: Self.repository.appendingPathComponent("docs/observability.md"), encoding: .utf8)
        let rules = try String(contentsOf: Self.folder.appendingPathComponent("alerts.yml"), encoding: .utf8)
        for (place, text) in [
            ("grafana.json", expressions.joined(separator: "\n")), ("observability.md", manual),
            ("alerts.yml", rules.split(separator: "\n").filter { $0.contains("expr:") }.joined(separator: "\n")),
        ] {
            for match in text.matches(of: /\b(?:fairlead|process)_[a-z_]+[a-z]\b/) {
                #expect(known.contains(String(match.0)), "\(place) names \(match.0)")
            }
        }
        for match in text.matches(of: /# TYPE (\w+) \w+/) {
            #expect(manual.contains("`\(match.1)"), "observability.md doesn't tell of \(match.1)")
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func aTraceIsCarriedUnchangedToEndpointsPluginsPullsAndWhatPluginsPublish() async throws {
        let sink = try Sink()
        let server = try RunningServer(
            routes: Self.routes + """

                subscriber hook { from orders; push "http://127.0.0.1:\(sink.port)/hook" }
                """, plugins: Self.plugins)
        try await server.start("--log-format", "json")
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        // The request has a trace of its own, which isn't the event's.
        let answer = try await Loopback.send(
            "POST", server.port, "/v1/topics/orders/events", body: Array(#"{"total":250}"#.utf8),
            type: "application/json",
            headers: [
                "ce-specversion: 1.0", "ce-id: t-1", "ce-source: /shop", "ce-type: order.placed",
                "ce-traceparent: \(parent)", "ce-tracestate: rojo=00f067aa0ba902b7",
                "traceparent: 00-11111111111111111111111111111111-2222222222222222-01",
            ])
        #expect(answer.status == 202, "\(answer.text)")
        try await eventually("the endpoint has it") { sink.requests.count == 1 }
        let request = try #require(sink.requests.first)
        #expect(request.headers["ce-traceparent"] == parent)
        #expect(request.headers["traceparent"] == parent)
        #expect(request.headers["tracestate"] == "rojo=00f067aa0ba902b7")
        let pulled = try await server.post("/v1/subscribers/taker/pull", #"{"max":1,"wait":"5s"}"#)
        #expect(pulled.text.contains("\"traceparent\":\"\(parent)\""), "\(pulled.text)")
        try await eventually("the plugin has published") { try await server.tail("stock").count == 1 }
        let published = try await server.get("/v1/topics/stock/events?from=0&max=1&wait=0s").text
        #expect(published.contains("\"traceparent\":\"\(parent)\""), "\(published)")
        #expect(published.contains("\"tracestate\":\"rojo=00f067aa0ba902b7\""), "\(published)")
        try await eventually("the plugin has logged") { server.output.contains("looked at") }
        let line = try #require(server.output.split(separator: "\n").first { $0.contains("looked at") })
        let entry = try JSONDecoder().decode([String: String].self, from: Data(line.utf8))
        #expect(entry["event.id"] == "t-1")
        #expect(entry["subscriber"] == "script")
        #expect(entry["attempt"] == "1")
        #expect(entry["trace"] == parent)
        #expect(entry["level"] == "info")
    }

    @Test(.timeLimit(.minutes(2)))
    func theJSONLogNamesEventSubscriberAndAttemptOfWhatFailed() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: Self.plugins)
        try await server.start("--log-format", "json")
        _ = try await server.post(
            "/v1/topics/orders/events",
            #"{"specversion":"1.0","id":"b-1","source":"/shop","type":"order.bad","data":{"total":250}}"#,
            type: "application/cloudevents+json")
        try await eventually("it is a dead letter") { server.output.contains("Delivery is a dead letter") }
        let entries = try server.output.split(separator: "\n").map {
            try JSONDecoder().decode([String: String].self, from: Data($0.utf8))
        }
        for (message, attempt) in [("Delivery failed", "1"), ("Delivery is a dead letter", "2")] {
            let entry = try #require(entries.first { $0["message"] == message }, "\(message)")
            #expect(entry["event.id"] == "b-1")
            #expect(entry["subscriber"] == "script")
            #expect(entry["attempt"] == attempt)
            #expect(entry["topic"] == "orders")
            #expect(entry["level"] == "warning")
            #expect(entry["time"]?.hasSuffix("Z") == true)
        }
    }
}
