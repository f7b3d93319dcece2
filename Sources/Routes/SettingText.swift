// SPDX-License-Identifier: Apache-2.0

import Events

// Values as routes.conf writes them. Secrets by name.

extension SettingValue {
    package var text: String {
        switch self {
        case .string(let text): JSONText.quoted(text)
        case .name(let name): name
        case .integer(let number): String(number)
        case .number(let number): number.description
        case .boolean(let truth): truth ? "true" : "false"
        case .duration(let duration): DurationText.format(duration)
        case .size(let bytes): Self.sizeText(bytes)
        case .rate(let rate): "\(rate.count)/\(DurationText.format(rate.per).drop { $0.isNumber })"
        case .percent(let percent): "\(percent)%"
        case .secret(let secret): secret.description
        case .read(let call, _): call
        case .list(let values): "[\(values.map(\.text).joined(separator: ", "))]"
        case .block(let settings):
            settings.isEmpty ? "{ }" : "{ \(settings.map { "\($0.name) \($0.value.text)" }.joined(separator: "; ")) }"
        }
    }

    /// In the largest unit that leaves nothing over.
    private static func sizeText(_ bytes: Int) -> String {
        let units = [
            ("TiB", 1 << 40), ("TB", 1_000_000_000_000), ("GiB", 1 << 30), ("GB", 1_000_000_000), ("MiB", 1 << 20),
            ("MB", 1_000_000), ("KiB", 1 << 10), ("KB", 1_000),
        ]
        let unit = units.first { bytes >= $0.1 && bytes % $0.1 == 0 } ?? ("B", 1)
        return "\(bytes / unit.1)\(unit.0)"
    }
}

extension RetryPolicy {
    package var backoffText: String {
        let times =
            switch backoff {
            case .constant(let delay): DurationText.format(delay)
            case .exponential(let first, let last): "\(DurationText.format(first)) to \(DurationText.format(last))"
            }
        return "\(times) jitter \(jitterPercent)%"
    }
}

extension BatchPolicy {
    package var text: String { "\(count) every \(DurationText.format(every))" }
}

extension BreakerPolicy {
    package var text: String { "\(failures) probe \(DurationText.format(first)) to \(DurationText.format(last))" }
}

extension DeadAction {
    package var text: String {
        switch self {
        case .keep: "keep"
        case .pause: "pause"
        case .publish(let topic): "publish \(topic)"
        }
    }
}

extension StartPosition {
    package var text: String {
        switch self {
        case .earliest: "earliest"
        case .latest: "latest"
        case .offset(let offset): "offset \(offset)"
        case .time(let time): "time \(JSONText.quoted(RFC3339.format(time)))"
        }
    }
}

extension Grant {
    package var text: String {
        switch self {
        case .mail: "mail"
        case .http(let host): "http \(JSONText.quoted(host))"
        case .publish(let topic): "publish \(topic)"
        case .env(let name): "env \(name)"
        case .file(let path): "file \(JSONText.quoted(path))"
        }
    }
}
