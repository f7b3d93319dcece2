// SPDX-License-Identifier: Apache-2.0

import CoreMetrics
import Events
import Gateway
import HTTPTypes
import HummingbirdTesting
import Metrics
import NIOCore
import Testing

struct PrometheusMetricsTests {
    @Test func everyKindIsRenderedAsPrometheusReadsIt() throws {
        let metrics = PrometheusMetrics()
        metrics.describe("fairlead_events_published_total", "Events accepted, by topic.\nOnce each: \\o/")
        let published = Counter(
            label: "fairlead_events_published_total", dimensions: [("topic", "a\"b\\c\nd")], factory: metrics)
        published.increment(by: 5)
        published.increment()
        FloatingPointCounter(label: "fairlead.cpu.seconds", factory: metrics).increment(by: 1.5)
        let backlog = Meter(label: "fairlead_backlog_events", factory: metrics)
        backlog.set(7)
        backlog.decrement(by: 2.5)
        let wait = Metrics.Timer(label: "fairlead_wait", dimensions: [("b", "2"), ("a", "1")], factory: metrics)
        wait.recordNanoseconds(3_000_000)
        wait.recordNanoseconds(70_000_000_000)
        Recorder(label: "fairlead_batch_events", factory: metrics).record(Int64(3))

        let text = metrics.render()
        let families = try PrometheusText.parse(text)
        #expect(families["fairlead_events_published_total"]?.type == "counter")
        #expect(families["fairlead_events_published_total"]?.help == #"Events accepted, by topic.\nOnce each: \\o/"#)
        #expect(families["fairlead_events_published_total"]?.samples == [#"{topic="a\"b\\c\nd"}"#: 6])
        #expect(families["fairlead_cpu_seconds_total"]?.samples == ["": 1.5])
        #expect(families["fairlead_backlog_events"]?.samples == ["": 4.5])
        let waits = try #require(families["fairlead_wait_seconds"])
        #expect(waits.type == "histogram")
        #expect(waits.samples[#"_bucket{a="1",b="2",le="0.001"}"#] == 0)
        #expect(waits.samples[#"_bucket{a="1",b="2",le="0.005"}"#] == 1)
        #expect(waits.samples[#"_bucket{a="1",b="2",le="10"}"#] == 1)
        #expect(waits.samples[#"_bucket{a="1",b="2",le="+Inf"}"#] == 2)
        #expect(waits.samples[#"_count{a="1",b="2"}"#] == 2)
        #expect(waits.samples[#"_sum{a="1",b="2"}"#] == 70.003)
        #expect(families["fairlead_batch_events"]?.samples[#"_bucket{le="5"}"#] == 1)
    }

    @Test func theProcessShowsItself() throws {
        let families = try PrometheusText.parse(PrometheusMetrics().render())
        for name in [
            "process_cpu_seconds_total", "process_max_fds", "process_open_fds", "process_resident_memory_bytes",
            "process_start_time_seconds",
        ] {
            #expect(try #require(families[name]?.samples[""]) > 0, "\(name)")
        }
        #expect(try #require(families["process_start_time_seconds"]?.samples[""]) > 1.6e9)
    }

    @Test func theSameNameAndLabelsAreOneSeries() throws {
        let metrics = PrometheusMetrics()
        Counter(label: "a_total", dimensions: [("x", "1"), ("y", "2")], factory: metrics).increment()
        Counter(label: "a.total", dimensions: [("y", "2"), ("x", "1")], factory: metrics).increment()
        #expect(try PrometheusText.parse(metrics.render())["a_total"]?.samples == [#"{x="1",y="2"}"#: 2])
    }

    @Test func aNameKeepsItsKind() throws {
        let metrics = PrometheusMetrics()
        Counter(label: "a_total", factory: metrics).increment()
        Gauge(label: "a_total", factory: metrics).record(9)
        #expect(try PrometheusText.parse(metrics.render())["a_total"]?.samples == ["": 1])
    }

    @Test func whatIsDestroyedIsGone() throws {
        let metrics = PrometheusMetrics()
        let counter = Counter(label: "a", factory: metrics)
        counter.increment()
        counter.destroy()
        #expect(try PrometheusText.parse(metrics.render())["a_total"] == nil)
    }

    @Test func requestsAreCountedByRoute() async throws {
        let metrics = PrometheusMetrics()
        try await gateway(FakeBroker(), prometheus: metrics).application.test(.router) { client in
            _ = try await client.execute(uri: "/v1/dead/17", method: .get)
            _ = try await client.execute(uri: "/nowhere/18", method: .get)
            _ = try await client.execute(
                uri: "/v1/topics/orders/events", method: .post, headers: [.contentType: "application/json"],
                body: ByteBuffer(string: "{"))
            let response = try await client.execute(uri: "/metrics", method: .get)
            #expect(response.headers[.contentType] == "text/plain; version=0.0.4; charset=utf-8")
            let families = try PrometheusText.parse(String(buffer: response.body))
            let requests = try #require(families["fairlead_http_requests_total"]).samples
            #expect(requests[#"{method="GET",route="/v1/dead/{id}",status="404"}"#] == 1)
            #expect(requests[#"{method="GET",route="none",status="404"}"#] == 1)
            #expect(
                families["fairlead_publishes_rejected_total"]?.samples == [#"{reason="malformed",topic="orders"}"#: 1])
        }
    }
}

/// Reads Prometheus text strictly: any line that isn't exactly right throws.
enum PrometheusText {
    struct Family {
        var help = ""
        var type = ""
        /// By what follows the family's name: suffix and labels.
        var samples: [String: Double] = [:]
    }

    struct Wrong: Error {
        var line: String
    }

    static func parse(_ text: String) throws -> [String: Family] {
        guard text.hasSuffix("\n") else { throw Wrong(line: "the last line isn't ended") }
        var families: [String: Family] = [:]
        var current = ""
        let sample =
            /([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"(?:,[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*")*\})? (\S+)/
        for line in text.dropLast().split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
            if let match = line.wholeMatch(of: /# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)/) {
                current = String(match.1)
                guard families[current] == nil else { throw Wrong(line: line) }
                families[current] = Family(help: String(match.2))
            } else if let match = line.wholeMatch(of: /# TYPE (\S+) (counter|gauge|histogram)/) {
                guard match.1 == current, families[current]?.type == "" else { throw Wrong(line: line) }
                families[current]?.type = String(match.2)
            } else if let match = line.wholeMatch(of: sample) {
                let name = String(match.1)
                let type = families[current]?.type ?? ""
                let suffixes = type == "histogram" ? ["_bucket", "_sum", "_count"] : [""]
                guard !type.isEmpty, let suffix = suffixes.first(where: { name == current + $0 }),
                    let value = match.3 == "+Inf" ? .infinity : Double(match.3), type != "counter" || value >= 0
                else { throw Wrong(line: line) }
                let key = suffix + (match.2.map(String.init) ?? "")
                guard families[current]?.samples.updateValue(value, forKey: key) == nil else { throw Wrong(line: line) }
            } else {
                throw Wrong(line: line)
            }
        }
        return families
    }
}
