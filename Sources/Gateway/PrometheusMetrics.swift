// SPDX-License-Identifier: Apache-2.0

package import Broker
package import CoreMetrics
package import Events
import Synchronization

/// Keeps what the program counts through swift-metrics, and renders it as Prometheus text (format 0.0.4,
/// https://prometheus.io/docs/instrumenting/exposition_formats/).
///
/// Names and label names are made of what Prometheus allows; counters end in `_total`, timers in `_seconds`. A metric
/// keeps the kind that it was made with first; one of another kind under its name is counted and not shown.
package final class PrometheusMetrics: MetricsFactory {
    package enum Format: Sendable {
        case prometheus
        /// https://prometheus.io/docs/specs/om/open_metrics_spec/: counters are declared without `_total`, bounds are
        /// written as floating-point numbers, and the end is marked.
        case openMetrics

        /// What a scraper asks for by its `Accept` header.
        package init(accept: String?) {
            self = accept?.lowercased().contains("application/openmetrics-text") ?? false ? .openMetrics : .prometheus
        }

        package var contentType: String {
            switch self {
            case .prometheus: "text/plain; version=0.0.4; charset=utf-8"
            case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
        }

        func declared(_ name: String, _ kind: String) -> String {
            self == .openMetrics && kind == "counter" && name.hasSuffix("_total") ? String(name.dropLast(6)) : name
        }

        func bound(_ value: Double) -> String {
            self == .openMetrics ? "\(value)" : PrometheusMetrics.number(value)
        }

        /// The two lines before a metric's samples.
        func heading(_ name: String, _ kind: String, _ help: String) -> String {
            let name = declared(name, kind)
            return "# HELP \(name) \(PrometheusMetrics.escapedHelp(help))\n# TYPE \(name) \(kind)\n"
        }
    }

    /// Seconds: those of OpenTelemetry's messaging metrics, and finer ones for what stays in memory.
    package static let secondsBuckets: [Double] = [
        0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]
    /// Counts of things, such as events in a batch.
    package static let countBuckets: [Double] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000]

    private struct Family {
        var kind: Kind
        var series: [String: Series] = [:]
    }

    private enum Kind: String {
        case counter, gauge, histogram
    }

    private struct State {
        var families: [String: Family] = [:]
        var help: [String: String] = [:]
        var seriesCount = 0
    }

    private let state = Mutex(State())

    package init() {}

    /// The line that explains `name`, as it is shown: with `_total` or `_seconds`.
    package func describe(_ name: String, _ help: String) {
        state.withLock { $0.help[name] = help }
    }

    package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        series(Self.name(label, suffix: "_total"), .counter, dimensions, buckets: [])
    }

    package func makeFloatingPointCounter(
        label: String, dimensions: [(String, String)]
    ) -> any FloatingPointCounterHandler {
        FloatingPointSeries(series(Self.name(label, suffix: "_total"), .counter, dimensions, buckets: []))
    }

    package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        series(Self.name(label), .gauge, dimensions, buckets: [])
    }

    package func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> any RecorderHandler {
        aggregate
            ? series(Self.name(label), .histogram, dimensions, buckets: Self.countBuckets)
            : series(Self.name(label), .gauge, dimensions, buckets: [])
    }

    package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        series(Self.name(label, suffix: "_seconds"), .histogram, dimensions, buckets: Self.secondsBuckets)
    }

    package func destroyCounter(_ handler: any CounterHandler) { remove(handler as? Series) }
    package func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) {
        remove((handler as? FloatingPointSeries)?.series)
    }
    package func destroyMeter(_ handler: any MeterHandler) { remove(handler as? Series) }
    package func destroyRecorder(_ handler: any RecorderHandler) { remove(handler as? Series) }
    package func destroyTimer(_ handler: any TimerHandler) { remove(handler as? Series) }

    private func series(_ name: String, _ kind: Kind, _ dimensions: [(String, String)], buckets: [Double]) -> Series {
        let labels = Self.labels(dimensions)
        return state.withLock { state in
            let made = Series(name: name, labels: labels, buckets: buckets)
            var family = state.families[name] ?? Family(kind: kind)
            guard family.kind == kind else { return made }
            if let known = family.series[labels] { return known }
            guard state.seriesCount < Limits.seriesMax else { return made }
            family.series[labels] = made
            state.families[name] = family
            state.seriesCount += 1
            return made
        }
    }

    private func remove(_ series: Series?) {
        guard let series else { return }
        state.withLock { state in
            guard state.families[series.name]?.series[series.labels] === series else { return }
            state.families[series.name]?.series[series.labels] = nil
            state.seriesCount -= 1
        }
    }

    /// Everything, sorted by name and labels, with the process's own numbers.
    ///
    /// - Parameter status: what the broker says of topics and subscribers; shown as of `now`.
    package func render(
        as format: Format = .prometheus, status: BrokerStatus? = nil, now: Timestamp = .distantPast,
        version: String = ""
    ) -> String {
        let (families, help) = state.withLock { ($0.families, $0.help) }
        var text = ""
        for (name, family) in families.sorted(by: { $0.key < $1.key }) where !family.series.isEmpty {
            text += format.heading(
                name, family.kind.rawValue, help[name] ?? MetricHelp.texts[name] ?? Self.words(name))
            for (_, series) in family.series.sorted(by: { $0.key < $1.key }) { series.render(as: format, to: &text) }
        }
        if let status { text += StatusMetrics.render(status, now: now, version: version, as: format) }
        text += ProcessMetrics.render(as: format)
        if format == .openMetrics { text += "# EOF\n" }
        return text
    }

    // MARK: Names

    /// `a.b-c` becomes `a_b_c`; `suffix` is added where it isn't there.
    private static func name(_ label: String, suffix: String = "") -> String {
        var name = ""
        for scalar in label.unicodeScalars {
            let isAllowed = scalar.isASCII && (scalar.properties.isAlphabetic || scalar == "_" || scalar == ":")
            let isDigit = scalar.isASCII && scalar.properties.numericType != nil
            if isDigit, name.isEmpty { name = "_" }
            name.unicodeScalars.append(isAllowed || isDigit ? scalar : "_")
        }
        return name.hasSuffix(suffix) ? name : name + suffix
    }

    static func labels(_ dimensions: [(String, String)]) -> String {
        dimensions.map { name, value in
            let name = self.name(name).replacing(":", with: "_")
            return "\(name)=\"\(escapedLabel(value))\""
        }.sorted().joined(separator: ",")
    }

    private static func escapedLabel(_ value: String) -> String {
        escapedHelp(value).replacing("\"", with: "\\\"")
    }

    fileprivate static func escapedHelp(_ value: String) -> String {
        value.replacing("\\", with: "\\\\").replacing("\n", with: "\\n")
    }

    /// What a name says by itself: enough for what nobody described.
    private static func words(_ name: String) -> String {
        name.split(separator: "_").joined(separator: " ")
    }

    static func number(_ value: Double) -> String {
        if let whole = Int64(exactly: value) { return String(whole) }
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        return "\(value)"
    }
}

/// One line, or one histogram: a name with its labels.
private final class Series: CounterHandler, MeterHandler, RecorderHandler, TimerHandler, RepeatedTiming {
    let name: String
    let labels: String
    private let buckets: [Double]

    private struct Value {
        /// Of a counter while it only takes whole numbers, so that none is lost beyond 2^53.
        var whole: Int64 = 0
        var fraction = 0.0
        var count: Int64 = 0
        /// Not cumulative; the last is for what is above the largest bound.
        var counts: [Int64] = []
    }

    private let value: Mutex<Value>

    init(name: String, labels: String, buckets: [Double]) {
        self.name = name
        self.labels = labels
        self.buckets = buckets
        value = Mutex(Value(counts: Array(repeating: 0, count: buckets.isEmpty ? 0 : buckets.count + 1)))
    }

    func increment(by amount: Int64) {
        value.withLock { value in
            let (sum, overflow) = value.whole.addingReportingOverflow(max(0, amount))
            value.whole = overflow ? .max : sum
        }
    }

    func incrementFraction(by amount: Double) { value.withLock { $0.fraction += max(0, amount) } }
    func reset() { value.withLock { $0 = Value(counts: $0.counts.map { _ in 0 }) } }

    func set(_ amount: Int64) { set(Double(amount)) }
    func set(_ amount: Double) { value.withLock { $0.fraction = amount } }
    func increment(by amount: Double) { value.withLock { $0.fraction += amount } }
    func decrement(by amount: Double) { value.withLock { $0.fraction -= amount } }

    func record(_ amount: Int64) { record(Double(amount)) }
    func record(_ amount: Double) { record(amount, times: 1) }

    private func record(_ amount: Double, times: Int64) {
        guard !buckets.isEmpty else {
            set(amount)
            return
        }
        let bucket = buckets.firstIndex { amount <= $0 } ?? buckets.count
        value.withLock { value in
            value.counts[bucket] += times
            value.count += times
            value.fraction += amount * Double(times)
        }
    }

    func recordNanoseconds(_ duration: Int64) { record(nanoseconds: duration, times: 1) }

    func record(nanoseconds: Int64, times: Int) { record(Double(nanoseconds) / 1e9, times: Int64(times)) }

    func render(as format: PrometheusMetrics.Format, to text: inout String) {
        let value = value.withLock { $0 }
        guard !buckets.isEmpty else {
            let number =
                value.whole == 0
                ? PrometheusMetrics.number(value.fraction)
                : value.fraction == 0
                    ? String(value.whole) : PrometheusMetrics.number(Double(value.whole) + value.fraction)
            text += line("", "", number)
            return
        }
        var sum: Int64 = 0
        for (at, count) in value.counts.enumerated() {
            sum += count
            let bound = at < buckets.count ? format.bound(buckets[at]) : "+Inf"
            text += line("_bucket", "le=\"\(bound)\"", String(sum))
        }
        text += line("_sum", "", PrometheusMetrics.number(value.fraction))
        text += line("_count", "", String(value.count))
    }

    private func line(_ suffix: String, _ extra: String, _ number: String) -> String {
        let all = [labels, extra].filter { !$0.isEmpty }.joined(separator: ",")
        return all.isEmpty ? "\(name)\(suffix) \(number)\n" : "\(name)\(suffix){\(all)} \(number)\n"
    }
}

private final class FloatingPointSeries: FloatingPointCounterHandler {
    let series: Series

    init(_ series: Series) { self.series = series }

    func increment(by amount: Double) { series.incrementFraction(by: amount) }
    func reset() { series.reset() }
}
