// SPDX-License-Identifier: Apache-2.0

import Events
import Gateway
import Metrics

/// What reloads ended in, for `/metrics`. Every series is there from the start.
struct ReloadMetrics: Sendable {
    private let results: [String: Counter]
    private let lastSuccess = Gauge(label: "fairlead_config_last_reload_success")
    private let lastSuccessTime = Gauge(label: "fairlead_config_last_reload_success_timestamp_seconds")

    init() {
        results = Dictionary(
            uniqueKeysWithValues: ReloadVerdict.results.map { result in
                (result, Counter(label: "fairlead_config_reload_total", dimensions: [("result", result)]))
            })
        for counter in results.values { counter.increment(by: 0) }
    }

    static func describe(in prometheus: PrometheusMetrics) {
        prometheus.describe("fairlead_config_generation", "Number of the running generation.")
        prometheus.describe("fairlead_config_reload_total", "Reloads and rollbacks, by what they ended in.")
        prometheus.describe(
            "fairlead_config_last_reload_success", "1 where the last reload or rollback was applied, else 0.")
        prometheus.describe(
            "fairlead_config_last_reload_success_timestamp_seconds", "When the running generation took over.")
    }

    func started(at time: Timestamp) {
        lastSuccess.record(1)
        lastSuccessTime.record(Double(time.milliseconds) / 1_000)
    }

    func ended(_ verdict: ReloadVerdict, at time: Timestamp) {
        results[verdict.result]?.increment()
        if verdict.isApplied { started(at: time) } else { lastSuccess.record(0) }
    }
}
