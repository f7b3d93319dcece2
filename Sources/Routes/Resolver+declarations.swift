// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering

extension Resolver {
    func declare(_ entry: Checked, _ what: String, _ first: Declared?) -> Declared? {
        let at = Declared(source: entry.statement.source, range: entry.values[0].range)
        guard let first else { return at }
        diagnostics.error(
            .duplicate, "\(what) \"\(entry.string(0))\" is declared twice",
            hint: "rename or remove one (the first is at \(first.place))", related: first.related("the first"),
            in: at.source, at.range)
        return nil
    }

    func declareTopic(_ entry: Checked) {
        let name = entry.string(0)
        if name.hasPrefix("$"), !Self.systemTopics.contains(name) {
            diagnostics.error(
                .badName, "there is no system topic \"\(name)\"",
                hint: "system topics: \(Self.systemTopics.joined(separator: ", ")); other names don't begin with `$`",
                in: entry.statement.source, entry.values[0].range)
            return
        }
        if let at = declare(entry, "topic", topicNames[name] ?? nil) { topicNames[name] = .some(at) }
    }

    func declarePolicy(_ entry: Checked) {
        guard let at = declare(entry, "retry policy", policies[entry.string(0)]?.at) else { return }
        var places: [String: Place] = [:]
        let policy = policy(entry.statement.block, from: RetryPolicy(), &places)
        policies[entry.string(0)] = Policy(policy: policy, at: at, places: places)
    }

    func declareSubscriber(_ entry: Checked) {
        if let at = declare(entry, "subscriber", subscriberNames[entry.string(0)]) {
            subscriberNames[entry.string(0)] = at
        }
    }

    // MARK: topics

    func resolveTopic(_ entry: Checked) {
        let name = entry.string(0)
        guard topicNames[name]??.range == entry.values[0].range || topicNames[name] == nil else { return }
        var topic = TopicRoute(name: name)
        topic.place = entry.statement.place
        if name.hasPrefix("$") { topic.retainAge = Self.systemTopicRetention }
        for line in check(entry.statement.block?.statements ?? [], in: .topic) {
            switch line.keyword.name {
            case "retain":
                topic.retainPlace = line.statement.place
                topic.retainAge = nil
                for value in line.values {
                    switch value.value {
                    case .duration(let age):
                        positive(age > .zero, "retain", value, line)
                        topic.retainAge = age
                    case .size(let bytes):
                        positive(bytes > 0, "retain", value, line)
                        topic.retainBytes = bytes
                    case .word("unsettled"): topic.keepsUnsettled = true
                    default: break
                    }
                }
            case "key":
                if case .keyPath(let path) = line.values[0].value { topic.key = path }
            case "dedupe": topic.dedupe = line.duration(0)
            case "sync":
                if line.values.count == 2 {
                    topic.syncInterval = line.duration(1)
                    positive(topic.syncInterval != .zero, "sync interval", line.values[1], line)
                }
            default: break
            }
        }
        table.topics.append(topic)
    }

    private func positive(_ isPositive: Bool, _ what: String, _ value: PlacedBound, _ entry: Checked) {
        guard !isPositive else { return }
        diagnostics.error(
            .outOfRange, "`\(what)` must be more than zero", in: entry.statement.source, value.range)
    }

    /// Whether a topic of this name is declared; reported where not.
    func isKnown(topic name: String, _ range: Range<Int>, _ source: SourceText) -> Bool {
        if topicNames.keys.contains(name) { return true }
        let nearest = nearest(name, topicNames.compactMap { name, at in at.map { (name, $0) } })
        diagnostics.error(
            .unknownTopic, "unknown topic \"\(Self.shortened(name))\"",
            hint: lets[name] != nil
                ? "`let` names values, not topics"
                : nearest?.hint ?? "declare it: topic \(Self.shortened(name)) { … }",
            related: lets[name]?.at.related("the `let`") ?? nearest?.related ?? [],
            in: source, range)
        return false
    }

    /// Whether a subscriber of this name is declared; reported where not.
    func isKnown(subscriber name: String, _ range: Range<Int>, _ source: SourceText) -> Bool {
        if subscriberNames.keys.contains(name) { return true }
        let nearest = nearest(name, subscriberNames.map { ($0.key, $0.value) })
        diagnostics.error(
            .unknownSubscriber, "unknown subscriber \"\(name)\"", hint: nearest?.hint, related: nearest?.related ?? [],
            in: source, range)
        return false
    }

    func nearest(
        _ name: String, _ declared: [(String, Declared)]
    ) -> (hint: String, related: [Diagnostic.Related])? {
        // Every name is looked at, which is for the errors that will be shown.
        guard !diagnostics.isFull else { return nil }
        guard let nearest = Suggestion.nearest(to: name, in: declared.map(\.0).sorted()),
            let at = declared.first(where: { $0.0 == nearest })?.1
        else { return nil }
        return (
            "did you mean \"\(nearest)\"? (declared at \(at.place.file):\(at.place.line))",
            at.related("\"\(nearest)\" is declared here")
        )
    }

    // MARK: retry policies

    /// Notes in `places` where its lines stand, by keyword.
    func policy(_ block: Block?, from base: RetryPolicy, _ places: inout [String: Place]) -> RetryPolicy {
        var policy = base
        for line in check(block?.statements ?? [], in: .retry) {
            places[line.keyword.name] = line.statement.place
            switch line.keyword.name {
            case "attempts":
                policy.attempts = if case .integer(let count) = line.values[0].value { count } else { nil }
            case "timeout":
                policy.timeout = line.duration(0)
                positive(policy.timeout > .zero, "timeout", line.values[0], line)
            case "backoff": backoff(line, &policy)
            default: break
            }
        }
        return policy
    }

    private func backoff(_ line: Checked, _ policy: inout RetryPolicy) {
        let first = line.duration(0)
        policy.backoff = .constant(first)
        for (place, value) in line.values.enumerated() {
            switch value.value {
            case .duration(let last) where place > 0:
                guard last >= first, first > .zero else {
                    diagnostics.error(
                        .outOfRange, "`backoff` goes from a shorter time to a longer one",
                        hint: "for instance: backoff 1s to 10m", in: line.statement.source, value.range)
                    return
                }
                policy.backoff = .exponential(from: first, to: last)
            case .percent(let percent):
                guard percent <= 100 else {
                    diagnostics.error(
                        .outOfRange, "`jitter` is at most 100%", in: line.statement.source, value.range)
                    return
                }
                policy.jitterPercent = percent
            default: break
            }
        }
    }

    func resolveEvent(_ entry: Checked) {
        guard case .size(let bytes) = entry.values[1].value else { return }
        guard (Limits.eventBytesMaxLeast...Limits.eventBytesMax).contains(bytes) else {
            diagnostics.error(
                .outOfRange, "`event max` is from 64KiB to 1MiB",
                hint: bytes < Limits.eventBytesMaxLeast
                    ? "CloudEvents asks for 64KiB at least: event max 64KiB"
                    : "write the most there may be: event max 1MiB", in: entry.statement.source,
                entry.values[1].range)
            return
        }
        table.server.eventBytesMax = bytes
    }

    func resolveKeep(_ entry: Checked) {
        let block = entry.statement.block ?? Block(statements: [], open: entry.statement.range)
        for line in check(block.statements, in: .keep) {
            switch line.keyword.name {
            case "attempts": table.keep.attempts = line.duration(0)
            case "dead":
                if case .duration(let age) = line.values[0].value {
                    table.keep.dead = age
                } else {
                    table.keep.dead = nil
                }
            default: break
            }
        }
    }

    // MARK: mail

    func resolveMail(_ entry: Checked) {
        let lines = check(entry.statement.block?.statements ?? [], in: .mail)
        if lines.count > 1 {
            diagnostics.error(
                .conflict, "mail goes either to a directory or to a server", hint: "remove one",
                related: lines[0].statement.related("the other"), in: lines[1].statement.source,
                lines[1].statement.range)
        }
        guard let line = lines.first else {
            if entry.statement.block?.isDamaged == false, entry.statement.block?.statements.isEmpty == true {
                diagnostics.error(
                    .missingStatement, "`mail` needs `directory` or `smtp`",
                    hint: #"for instance: directory "data/mail""#,
                    in: entry.statement.source, entry.statement.range)
            }
            return
        }
        guard line.keyword.name == "smtp", case .address(let host, let port) = line.values[0].value else {
            table.mail = .directory(line.string(0))
            return
        }
        var user: String?
        var password: Secret?
        var from: String?
        for part in check(line.statement.block?.statements ?? [], in: .smtp) {
            switch part.keyword.name {
            case "user": user = part.string(0)
            case "from": from = part.string(0)
            case "password":
                if case .secret(let secret) = part.values[0].value { password = secret }
            default: break
            }
        }
        if (user == nil) != (password == nil), line.statement.block?.isDamaged == false {
            diagnostics.error(
                .missingStatement, "`user` and `password` belong together",
                hint: "add the other one, or remove this one",
                in: line.statement.source, line.statement.range)
        }
        table.mail = .smtp(host: host, port: port, user: user, password: password, from: from)
    }
}

extension Resolver.Checked {
    func duration(_ index: Int) -> Duration {
        if case .duration(let duration) = values[index].value { duration } else { .zero }
    }

    func integer(_ index: Int) -> Int {
        if case .integer(let integer) = values[index].value { integer } else { 0 }
    }
}
