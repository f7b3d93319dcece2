// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering

extension Resolver {
    func resolveSubscriber(_ entry: Checked) {
        let name = entry.string(0)
        guard subscriberNames[name]?.range == entry.values[0].range else { return }
        let block = entry.statement.block ?? Block(statements: [], open: entry.statement.range)
        let lines = check(block.statements, in: .subscriber)
        let isWhole = !block.isDamaged && lines.count == block.statements.count
        let methods = lines.filter { ["run", "push", "pull"].contains($0.keyword.name) }
        if let second = methods.dropFirst().first {
            diagnostics.error(
                .conflict, "a subscriber has one of `run`, `push` and `pull`",
                hint: "declare a second subscriber (the first is at \(methods[0].statement.place))",
                related: methods[0].statement.related("the first"),
                in: second.statement.source, second.statement.range)
        }
        if isWhole {
            require(lines, ["from"], "`from`", "for instance: from orders", entry)
            require(lines, ["run", "push", "pull"], "`run`, `push` or `pull`", "how are events delivered?", entry)
        }
        var route = SubscriberRoute(
            name: name, from: [], filter: lines.first { $0.keyword.takesFilter }?.statement.filter,
            delivery: .pull(lease: Self.defaultLease))
        route.place = entry.statement.place
        let batch = lines.first { $0.keyword.name == "batch" }
        if let method = methods.first {
            route.delivery = delivery(
                method, batch: batch.map { BatchPolicy(count: $0.integer(0), every: $0.duration(2)) }, &route.origins)
        }
        for line in lines { apply(line, method: methods.first, isWhole: isWhole, to: &route) }
        checkTimeToLive(route, lines)
        route.fingerprint = Fingerprint.of(route)
        subscriberIndex[name] = table.subscribers.count
        table.subscribers.append(route)
    }

    static let defaultLease: Duration = .seconds(30)

    private func require(_ lines: [Checked], _ names: [String], _ what: String, _ hint: String, _ entry: Checked) {
        guard !lines.contains(where: { names.contains($0.keyword.name) }) else { return }
        diagnostics.error(
            .missingStatement, "subscriber \"\(entry.string(0))\" needs \(what)", hint: hint,
            in: entry.statement.source,
            entry.values[0].range)
    }

    private func apply(_ line: Checked, method: Checked?, isWhole: Bool, to route: inout SubscriberRoute) {
        let source = line.statement.source
        route.origins[line.keyword.name] = .line(line.statement.place)
        switch line.keyword.name {
        case "from": route.from = line.values.compactMap { pattern($0, source) }
        case "retry": route.retry = retry(line, &route.origins)
        case "concurrency": route.concurrency = line.integer(0)
        case "rate":
            if case .rate(let rate) = line.values[0].value {
                if rate.count == 0 {
                    diagnostics.error(
                        .outOfRange, "a rate of zero delivers nothing", hint: "write: pause", in: source,
                        line.values[0].range)
                }
                route.rate = rate
            }
        case "ordered": route.ordered = true
        case "deliver": route.deliverAfter = line.duration(1)
        case "ttl": route.ttl = line.duration(0)
        case "pause": route.paused = true
        case "on":
            route.origins[line.statement.form] = .line(line.statement.place)
            if line.string(0) == "dead" { route.onDead = deadAction(line) } else { onBadReload(line, method, &route) }
        case "replay": route.refusesReplay = true
        case "was": was(line, &route)
        case "start": route.start = start(line)
        case "allow":
            needsRun(line, method, isWhole)
            let grants = grants(line)
            for grant in grants { route.origins["allow \(grant.text)"] = .line(line.statement.place) }
            route.grants += grants
        case "limits":
            needsRun(line, method, isWhole)
            limits(line, &route)
        case "batch":
            if method?.keyword.name != "push" { needsRun(line, method, isWhole) }
        default: break
        }
    }

    private func checkTimeToLive(_ route: SubscriberRoute, _ lines: [Checked]) {
        guard let ttl = route.ttl, let line = lines.first(where: { $0.keyword.name == "ttl" }),
            ttl <= route.deliverAfter ?? .zero
        else { return }
        let hint = route.deliverAfter.map {
            "write more than \(DurationText.format($0)), which is when it is delivered"
        }
        diagnostics.error(
            .outOfRange, "with this `ttl` nothing would ever be delivered", hint: hint ?? "write for instance: ttl 1h",
            in: line.statement.source, line.values[0].range)
    }

    private func needsRun(_ line: Checked, _ method: Checked?, _ isWhole: Bool) {
        guard isWhole, let method, method.keyword.name != "run" else { return }
        diagnostics.error(
            .conflict, "`\(line.keyword.name)` goes with `run`, and this subscriber has `\(method.keyword.name)`",
            hint: "remove it", in: line.statement.source, line.statement.range)
    }

    func pattern(_ value: PlacedBound, _ source: SourceText) -> TopicPattern? {
        guard case .name(let text) = value.value else { return nil }
        let pattern = TopicPattern(text, place: source.place(of: value.range.lowerBound))
        guard pattern.isWildcard else { return isKnown(topic: text, value.range, source) ? pattern : nil }
        if topicIndex.names(matching: pattern).isEmpty {
            diagnostics.warning(.patternMatchesNothing, "no topic matches `\(text)`", in: source, value.range)
        }
        return pattern
    }

    private func retry(_ line: Checked, _ origins: inout [String: SettingOrigin]) -> RetryPolicy {
        var own: [String: Place] = [:]
        defer { for (name, place) in own { origins[name] = .line(place) } }
        guard let name = line.values.first else {
            if line.statement.block == nil {
                diagnostics.error(
                    .missingArgument, "`retry` needs a policy's name or a block", hint: "write: \(usage(line.keyword))",
                    in: line.statement.source, line.statement.range)
            }
            return policy(line.statement.block, from: RetryPolicy(), &own)
        }
        guard let known = policies[line.string(0)] else {
            let nearest = nearest(line.string(0), policies.map { ($0.key, $0.value.at) })
            diagnostics.error(
                .unknownPolicy, "unknown retry policy \"\(line.string(0))\"",
                hint: nearest?.hint ?? "declare it at the top level: retry \(line.string(0)) { … }",
                related: nearest?.related ?? [], in: line.statement.source, name.range)
            return policy(line.statement.block, from: RetryPolicy(), &own)
        }
        for (keyword, place) in known.places { origins[keyword] = .policy(line.string(0), place) }
        return policy(line.statement.block, from: known.policy, &own)
    }

    private func onBadReload(_ line: Checked, _ method: Checked?, _ route: inout SubscriberRoute) {
        route.onBadReload = BadReloadAction(rawValue: line.string(1)) ?? .rollback
        guard method?.keyword.name == "pull" else { return }
        diagnostics.error(
            .conflict,
            "`on bad_reload` goes with `run` and `push`: what a client does with what it pulls is not reloaded",
            hint: "remove it", in: line.statement.source, line.statement.range)
    }

    private func deadAction(_ line: Checked) -> DeadAction {
        switch line.string(1) {
        case "pause": return .pause
        case "publish":
            let topic = line.string(2)
            guard !refusedAsSystem(topic, line.values[2].range, line.statement.source),
                isKnown(topic: topic, line.values[2].range, line.statement.source)
            else { return .keep }
            return .publish(topic)
        default: return .keep
        }
    }

    /// Whether `topic` is a system topic, which nobody may publish to; reported where it is.
    func refusedAsSystem(_ topic: String, _ range: Range<Int>, _ source: SourceText) -> Bool {
        guard topic.hasPrefix("$") else { return false }
        diagnostics.error(
            .badGrant, "system topics are written by Fairlead alone", hint: "name a topic of your own", in: source,
            range)
        return true
    }

    private func was(_ line: Checked, _ route: inout SubscriberRoute) {
        let name = line.string(0)
        if let other = subscriberNames[name] {
            diagnostics.error(
                .conflict,
                name == route.name ? "`was` names the subscriber itself" : "\"\(name)\" is still a subscriber",
                hint: name == route.name ? "remove it" : "remove the old block (at \(other.place)), or this line",
                related: other.related("the subscriber \"\(name)\""),
                in: line.statement.source, line.values[0].range)
        }
        route.was = name
    }

    private func start(_ line: Checked) -> StartPosition {
        switch line.string(0) {
        case "earliest": .earliest
        case "offset": .offset(Offset(line.integer(1)))
        case "time": .time(Timestamp(milliseconds: (Instant.microseconds(line.string(1)) ?? 0) / 1_000))
        default: .latest
        }
    }

    private func limits(_ line: Checked, _ route: inout SubscriberRoute) {
        for part in check(line.statement.block?.statements ?? [], in: .limits) {
            route.origins[part.keyword.name] = .line(part.statement.place)
            switch part.values[0].value {
            case .duration(let cpu):
                if cpu == .zero {
                    diagnostics.error(
                        .outOfRange, "`cpu` must be more than zero", in: part.statement.source, part.values[0].range)
                }
                route.limits.cpu = cpu
            case .size(let bytes):
                if bytes < Self.pluginMemoryMin {
                    diagnostics.error(
                        .outOfRange, "a plugin's state needs 1MiB at least", hint: "write for instance: memory 16MiB",
                        in: part.statement.source, part.values[0].range)
                }
                route.limits.memory = bytes
            default: break
            }
        }
    }

    /// A fresh Lua state with the standard functions takes 20 KB; below a mebibyte nothing useful runs.
    private static let pluginMemoryMin = 1 << 20

    private func grants(_ line: Checked) -> [Grant] {
        let rest = line.values.dropFirst()
        switch line.string(0) {
        case "mail": return [.mail]
        case "http":
            return rest.compactMap { value in
                guard case .string(let host) = value.value else { return nil }
                guard !host.isEmpty, !host.contains("/"), !host.contains(" ") else {
                    let bare = host.split(separator: "/").dropFirst(host.contains("://") ? 1 : 0).first.map(String.init)
                    diagnostics.error(
                        .badGrant, "`allow http` takes a host, not a URL", hint: bare.map { "write \"\($0)\"" },
                        in: line.statement.source, value.range)
                    return nil
                }
                return .http(host)
            }
        case "publish":
            return rest.compactMap { value in
                guard case .name(let topic) = value.value else { return nil }
                guard !refusedAsSystem(topic, value.range, line.statement.source) else { return nil }
                return isKnown(topic: topic, value.range, line.statement.source) ? .publish(topic) : nil
            }
        case "env": return rest.compactMap { if case .name(let name) = $0.value { .env(name) } else { nil } }
        default: return rest.compactMap { if case .string(let path) = $0.value { .file(path) } else { nil } }
        }
    }

    // MARK: delivery

    private func delivery(
        _ line: Checked, batch: BatchPolicy?, _ origins: inout [String: SettingOrigin]
    ) -> DeliveryMethod {
        let statements = line.statement.block?.statements ?? []
        switch line.keyword.name {
        case "run": return .run(plugin: line.string(0), settings: settings(statements), batch: batch)
        case "push":
            var push = PushRoute(url: line.string(0))
            push.batch = batch
            for part in check(statements, in: .push) { apply(part, to: &push, &origins) }
            return .push(push)
        default:
            var lease = Self.defaultLease
            for part in check(statements, in: .pull) {
                origins["lease"] = .line(part.statement.place)
                lease = part.duration(0)
                if lease == .zero {
                    diagnostics.error(
                        .outOfRange, "`lease` must be more than zero", in: part.statement.source, part.values[0].range)
                }
            }
            return .pull(lease: lease)
        }
    }

    /// A plugin's settings: any keyword; one value, several as a list, a block, or nothing for true.
    func settings(_ statements: [Statement]) -> [Setting] {
        var first: [String: Statement] = [:]
        var result: [Setting] = []
        for statement in statements where !diagnostics.isFull {
            if let first = first[statement.keyword] {
                diagnostics.error(
                    .repeated, "`\(statement.keyword)` stands twice here",
                    hint: "several values: \(statement.keyword) [a, b] (the first is at \(first.place))",
                    related: first.related("the first"),
                    in: statement.source, statement.range)
                continue
            }
            first[statement.keyword] = statement
            guard !statement.isDamaged || statement.block != nil, let value = value(of: statement) else { continue }
            result.append(Setting(name: statement.keyword, value: value, place: statement.place))
        }
        return result
    }

    private func value(of statement: Statement) -> SettingValue? {
        if let block = statement.block {
            if let argument = statement.arguments.first {
                diagnostics.error(
                    .tooManyArguments, "a setting has a value or a block", hint: "remove one", in: statement.source,
                    argument.range)
                return nil
            }
            return .block(settings(block.statements))
        }
        if let loose = statement.arguments.dropFirst().first(where: { !$0.followsComma }) {
            diagnostics.error(
                .tooManyArguments, "`\(statement.keyword)` has a value already",
                hint: "end the setting with a line break or `;`, or put `,` between several values",
                in: statement.source, loose.range)
            return nil
        }
        let values = statement.arguments.compactMap { settingValue($0, statement.source) }
        guard values.count == statement.arguments.count else { return nil }
        return values.isEmpty ? .boolean(true) : values.count == 1 ? values[0] : .list(values)
    }

    func settingValue(_ argument: Argument, _ source: SourceText) -> SettingValue? {
        switch read(argument, as: .value, in: source) {
        case .value(.setting(let value)): return value
        case .refused(.bad(let code, let message, let hint)):
            diagnostics.error(code, message, hint: hint, in: source, argument.range)
        case .value, .refused: break
        }
        return nil
    }
}
