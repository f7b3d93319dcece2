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

    func started(at time: Timestamp) {
        lastSuccess.record(1)
        lastSuccessTime.record(Double(time.milliseconds) / 1_000)
    }

    func ended(_ verdict: ReloadVerdict, at time: Timestamp) {
        results[verdict.result]?.increment()
        if verdict.isApplied { started(at: time) } else { lastSuccess.record(0) }
    }
}
