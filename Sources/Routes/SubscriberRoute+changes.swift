// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering

extension SubscriberRoute {
    /// What differs from an older block of the same subscriber, in the block's own words: `rate 5/s → 10/s`. Of settings
    /// only the names are said, since a value may be a secret. Empty where both mean the same.
    package func changes(since old: SubscriberRoute) -> [String] {
        var changes: [String] = []
        func compare(_ keyword: String, _ before: String?, _ after: String?) {
            guard before != after else { return }
            switch (before, after) {
            case (nil, let after?): changes.append("\(keyword) added: \(after)")
            case (let before?, nil): changes.append("\(keyword) removed, was: \(before)")
            case (let before?, let after?): changes.append("\(keyword) \(before) → \(after)")
            case (nil, nil): break
            }
        }
        compare("from", old.from.map(\.text).joined(separator: ", "), from.map(\.text).joined(separator: ", "))
        compare("where", old.filter?.text, filter?.text)
        changes += delivery.changes(since: old.delivery)
        compare(
            "attempts", old.retry.attempts.map(String.init) ?? "unlimited",
            retry.attempts.map(String.init) ?? "unlimited")
        compare("backoff", old.retry.backoffText, retry.backoffText)
        compare("timeout", DurationText.format(old.retry.timeout), DurationText.format(retry.timeout))
        compare("concurrency", "\(old.concurrency)", "\(concurrency)")
        compare("rate", old.rate.map { SettingValue.rate($0).text }, rate.map { SettingValue.rate($0).text })
        compare("deliver after", old.deliverAfter.map(DurationText.format), deliverAfter.map(DurationText.format))
        compare("ttl", old.ttl.map(DurationText.format), ttl.map(DurationText.format))
        if old.ordered != ordered { changes.append(ordered ? "ordered added" : "ordered removed") }
        if old.paused != paused { changes.append(paused ? "pause added" : "pause removed") }
        if old.refusesReplay != refusesReplay {
            changes.append(refusesReplay ? "replay deny added" : "replay deny removed")
        }
        let (before, after) = (Set(old.grants), Set(grants))
        for grant in grants where !before.contains(grant) { changes.append("allow \(grant.text) added") }
        for grant in old.grants where !after.contains(grant) { changes.append("allow \(grant.text) removed") }
        compare("on dead", old.onDead.text, onDead.text)
        compare("on bad_reload", old.onBadReload.rawValue, onBadReload.rawValue)
        compare("cpu", DurationText.format(old.limits.cpu), DurationText.format(limits.cpu))
        compare("memory", SettingValue.size(old.limits.memory).text, SettingValue.size(limits.memory).text)
        return changes
    }
}

extension DeliveryMethod {
    fileprivate func changes(since old: DeliveryMethod) -> [String] {
        switch (old, self) {
        case (.run(let before, let oldSettings, let oldBatch), .run(let after, let settings, let batch)):
            var changes = before == after ? [] : ["run \(before) → \(after)"]
            let names = Self.differing(oldSettings, settings)
            if !names.isEmpty { changes.append("settings of \(after): \(names.joined(separator: ", "))") }
            if oldBatch != batch { changes.append("batch") }
            return changes
        case (.push(let before), .push(let after)):
            var changes = before.url == after.url ? [] : ["push \(before.url) → \(after.url)"]
            if before.signing != after.signing { changes.append("sign") }
            for header in Set(before.headers.keys).union(after.headers.keys).sorted()
            where before.headers[header] != after.headers[header] { changes.append("header \(header)") }
            if before.mode != after.mode { changes.append("mode \(before.mode.rawValue) → \(after.mode.rawValue)") }
            if before.handshake != after.handshake { changes.append("handshake") }
            let (breaker, newBreaker) = (before.breaker?.text ?? "off", after.breaker?.text ?? "off")
            if breaker != newBreaker { changes.append("breaker \(breaker) → \(newBreaker)") }
            if before.batch != after.batch { changes.append("batch") }
            return changes
        case (.pull(let before), .pull(let after)):
            return before == after ? [] : ["lease \(DurationText.format(before)) → \(DurationText.format(after))"]
        case (let before, let after): return ["\(before.keyword) → \(after.keyword)"]
        }
    }

    private var keyword: String {
        switch self {
        case .run(let plugin, _, _): "run \(plugin)"
        case .push: "push"
        case .pull: "pull"
        }
    }

    private static func differing(_ old: [Setting], _ new: [Setting]) -> [String] {
        func values(_ settings: [Setting]) -> [String: SettingValue] {
            Dictionary(settings.map { ($0.name, $0.value.withoutPlaces) }) { first, _ in first }
        }
        let (before, after) = (values(old), values(new))
        return Set(before.keys).union(after.keys).sorted().filter { before[$0] != after[$0] }
    }
}

extension SettingValue {
    /// Where a setting stands is no part of what it says.
    fileprivate var withoutPlaces: SettingValue {
        switch self {
        case .list(let values): .list(values.map(\.withoutPlaces))
        case .block(let settings):
            .block(settings.map { Setting(name: $0.name, value: $0.value.withoutPlaces) })
        case .read(_, let value): value.withoutPlaces
        default: self
        }
    }
}
