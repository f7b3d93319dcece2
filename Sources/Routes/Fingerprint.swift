// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering

/// A subscriber's meaning as one short text, the same in every process.
enum Fingerprint {
    static func of(_ route: SubscriberRoute) -> String {
        var text = Canonical()
        text.add("name", route.name)
        text.add("from", route.from.map(\.text).sorted().joined(separator: ","))
        text.add("where", route.filter?.text ?? "")
        text.add("delivery", route.delivery)
        text.add(
            "retry", "\(route.retry.attempts ?? 0) \(route.retry.jitterPercent) \(route.retry.timeout.milliseconds)")
        switch route.retry.backoff {
        case .constant(let delay): text.add("backoff", "\(delay.milliseconds)")
        case .exponential(let first, let last): text.add("backoff", "\(first.milliseconds) \(last.milliseconds)")
        }
        text.add("concurrency", "\(route.concurrency)")
        text.add("rate", route.rate.map { "\($0.count) \($0.per.milliseconds)" } ?? "")
        text.add("ordered", "\(route.ordered) \(route.paused) \(route.refusesReplay)")
        text.add("deliver", "\(route.deliverAfter?.milliseconds ?? 0) \(route.ttl?.milliseconds ?? -1)")
        text.add("start", "\(route.start)")
        text.add("dead", "\(route.onDead)")
        text.add("bad reload", route.onBadReload.rawValue)
        text.add("was", route.was ?? "")
        text.add("grants", route.grants.map { "\($0)" }.sorted().joined(separator: "\u{1}"))
        text.add("limits", "\(route.limits.cpu.milliseconds) \(route.limits.memory)")
        return text.hash
    }
}

/// Named parts, hashed as they come with FNV-1a (two lanes of 64 bits), so that no secret is kept.
private struct Canonical {
    private var lanes: (UInt64, UInt64) = (0xCBF2_9CE4_8422_2325, 0x6C62_272E_07BB_0142)

    mutating func add(_ name: String, _ value: String) {
        for part in [name, String(value.utf8.count), value] {
            for byte in part.utf8 { add(byte) }
            add(0)
        }
    }

    private mutating func add(_ byte: UInt8) {
        lanes.0 = (lanes.0 ^ UInt64(byte)) &* 0x100_0000_01B3
        lanes.1 = (lanes.1 ^ UInt64(byte)) &* 0x100_0000_01B3 ^ (lanes.1 >> 29)
    }

    mutating func add(_ name: String, _ delivery: DeliveryMethod) {
        switch delivery {
        case .run(let plugin, let settings, let batch):
            add(name, "run \(plugin) \(batch.map { "\($0.count) \($0.every.milliseconds)" } ?? "")")
            add(settings)
        case .push(let push):
            add(name, "push \(push.url)")
            for secret in push.signing { add("sign", secret.value) }
            for (header, value) in push.headers.sorted(by: { $0.key < $1.key }) { add("header \(header)", value) }
            add("mode", push.mode.rawValue)
            add("handshake", push.handshake.map { $0.origin ?? "yes" } ?? "no")
            add("breaker", push.breaker?.text ?? "off")
            add("batch", push.batch.map { "\($0.count) \($0.every.milliseconds)" } ?? "")
        case .pull(let lease): add(name, "pull \(lease.milliseconds)")
        }
    }

    private mutating func add(_ settings: [Setting]) {
        for setting in settings.sorted(by: { $0.name < $1.name }) { add(setting.name, setting.value) }
        add("end", "")
    }

    private mutating func add(_ name: String, _ value: SettingValue) {
        switch value {
        case .string(let text): add(name, "s\(text)")
        case .name(let text): add(name, "n\(text)")
        case .integer(let number): add(name, "i\(number)")
        case .number(let number): add(name, "f\(number)")
        case .boolean(let truth): add(name, "b\(truth)")
        case .duration(let duration): add(name, "d\(duration.milliseconds)")
        case .size(let bytes): add(name, "z\(bytes)")
        case .rate(let rate): add(name, "r\(rate.count) \(rate.per.milliseconds)")
        case .percent(let percent): add(name, "p\(percent)")
        case .secret(let secret): add(name, "x\(secret.value)")
        case .read(_, let value): add(name, value)
        case .list(let values):
            add(name, "l\(values.count)")
            for value in values { add("item", value) }
        case .block(let settings):
            add(name, "block")
            add(settings)
        }
    }

    var hash: String {
        [lanes.0, lanes.1].map { lane in
            let text = String(lane, radix: 16)
            return String(repeating: "0", count: 16 - text.count) + text
        }.joined()
    }
}
