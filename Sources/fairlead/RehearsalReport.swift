// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Routes
import Scripting

/// What `fairlead rehearse` shows: first how it stands as a whole, then whoever differs, then the rest in a line.
struct RehearsalReport {
    let result: Rehearsal.Result
    let candidate: String
    let baseline: String
    /// Which events, in words.
    let window: String
    let startsEmpty: Bool
    var policy = Policy()

    /// What makes the command fail.
    struct Policy {
        var kinds: Set<Kind> = [.changed]

        enum Kind: String, CaseIterable {
            case changed, matches, outcomes, effects, errors, cpu, never
        }
    }

    private typealias Ending = RehearsedResult.Ending
    private typealias Tally = RehearsalTally

    private func differs(_ subscriber: Rehearsal.Subscriber) -> Bool {
        subscriber.isAdded || subscriber.isRemoved || !subscriber.tally.isSame
    }

    private var differing: [Rehearsal.Subscriber] { result.subscribers.filter(differs) }

    /// Of those in ``Policy`` which come true; in the order of ``Policy/Kind``.
    var reasonsToFail: [Policy.Kind] {
        Policy.Kind.allCases.filter { kind in
            policy.kinds.contains(kind)
                && result.subscribers.contains { subscriber in
                    let tally = subscriber.tally
                    return switch kind {
                    case .changed: differs(subscriber)
                    case .matches: tally.hasOtherMatches
                    case .outcomes: tally.hasOtherOutcomes
                    case .effects: tally.hasOtherEffects
                    case .errors: tally.hasNewFailures
                    case .cpu: tally.hasNewKills
                    case .never: false
                    }
                }
        }
    }

    // MARK: For people

    /// Columns that a line has at most.
    var width = 100

    var text: String {
        var lines = [headline]
        for subscriber in differing { lines += [""] + show(subscriber) }
        let same = result.subscribers.filter { !differs($0) }
        if !differing.isEmpty { lines.append("") }
        lines += list("= changed, and behaves the same", same.filter { !$0.reasons.isEmpty }.map(\.name))
        lines += list("= behaves the same", same.filter(\.reasons.isEmpty).map(\.name))
        lines += list("= unchanged", result.unchanged)
        for subscriber in same {
            for note in subscriber.notes {
                lines.append(Console.styled(clipped("  \(subscriber.name): \(note)"), .yellow))
            }
        }
        if !result.subscribers.isEmpty { lines += [""] + footnotes.map { Console.styled($0, .dim) } }
        return lines.joined(separator: "\n")
    }

    private var headline: String {
        let total = result.subscribers.count + result.unchanged.count
        let what = "\(counted(result.events, "event")) of \(window)"
        if result.subscribers.isEmpty {
            return Console.styled("Nothing to rehearse", .green)
                + ": no subscriber of \(candidate) differs from \(baseline)."
        }
        if differing.isEmpty {
            return Console.styled("No difference", .green) + " over \(what): \(candidate) beside \(baseline)."
        }
        let head =
            "\(differing.count) of \(counted(total, "subscriber")) \(differing.count == 1 ? "differs" : "differ")"
        return Console.styled(head, .bold) + " over \(what): \(candidate) beside \(baseline)."
    }

    private func list(_ title: String, _ names: [String]) -> [String] {
        names.isEmpty ? [] : wrapped("\(title): \(names.sorted().joined(separator: ", "))", indent: 2)
    }

    private var footnotes: [String] {
        var notes: [String] = []
        let answers = result.answers
        if answers.stubbed + answers.recorded > 0 {
            var note = "\(counted(answers.stubbed, "request")) answered by a stub (200 {} unless --http says otherwise)"
            if answers.recorded > 0 { note += ", \(answers.recorded) as it was recorded" }
            notes += wrapped(note + ".", indent: 0)
        }
        notes += wrapped(
            "Both sides began \(startsEmpty ? "without state" : "with a copy of the state as it is now"), at the events' own "
                + "time. Nothing was sent, published or stored.", indent: 0)
        return notes
    }

    private func show(_ subscriber: Rehearsal.Subscriber) -> [String] {
        let tally = subscriber.tally
        let (mark, style): (String, Console.Style) =
            subscriber.isAdded ? ("+", .green) : subscriber.isRemoved ? ("-", .red) : ("~", .yellow)
        var lines = [Console.styled("\(mark) \(subscriber.name)", style)]
        if subscriber.isAdded { lines[0] += "  added" }
        if subscriber.isRemoved { lines[0] += "  removed" }
        for reason in subscriber.reasons { lines += Self.broken("    \(reason)", within: width, indent: 6, most: 4) }
        for note in subscriber.notes { lines += row("note", note, most: 3) }
        lines += takes(subscriber)
        lines += outcomes(tally)
        lines += errors(tally)
        lines += effects(tally, isAdded: subscriber.isAdded)
        lines += cost(tally)
        if !tally.recorded.isEmpty { lines += row("recorded", really(tally.recorded)) }
        let otherwise = tally.recorded.otherwise
        if let example = otherwise.examples.first {
            lines += more(
                "\(number(otherwise.count)) \(otherwise.count == 1 ? "ends" : "end") otherwise when \(baseline) is rehearsed, as "
                    + "\(example.subject.id): \(example.detail ?? "")")
        }
        return lines
    }

    private func takes(_ subscriber: Rehearsal.Subscriber) -> [String] {
        let tally = subscriber.tally
        if subscriber.isAdded { return row("takes", counted(tally.takenNow, "event")) }
        if subscriber.isRemoved { return row("takes", "\(number(tally.takenBefore)) → 0 events") }
        guard tally.hasOtherMatches else { return row("takes", "the same \(counted(tally.takenNow, "event"))") }
        var lines = row("takes", "\(number(tally.takenBefore)) → \(number(tally.takenNow)) events")
        for (group, words) in [(tally.newlyMatched, "newly matched"), (tally.noLongerMatched, "no longer matched")]
        where group.count > 0 {
            lines += more("\(number(group.count)) \(words)")
            lines += group.examples.flatMap { more("  \(name($0.subject))", $0.detail) } + rest(group)
        }
        return lines
    }

    private func outcomes(_ tally: RehearsalTally) -> [String] {
        let same = Ending.allCases.compactMap { ending in
            tally.sameEndings[ending].map { "\(number($0)) \(ending.rawValue)" }
        }
        let new = Ending.allCases.compactMap { ending in
            tally.newEndings[ending].map { "\(number($0)) \(ending.rawValue)" }
        }
        var parts: [String] = []
        if !same.isEmpty {
            parts.append((tally.transitions.isEmpty ? "the same: " : "as before: ") + same.joined(separator: ", "))
        }
        if !new.isEmpty { parts.append((same.isEmpty ? "" : "of those newly matched: ") + new.joined(separator: ", ")) }
        guard !parts.isEmpty || !tally.transitions.isEmpty else { return [] }
        var lines = row("outcomes", parts.isEmpty ? "all different" : parts.joined(separator: "; "))
        let changed = tally.transitions.sorted {
            ($1.value.count, $0.key.now.rawValue) < ($0.value.count, $1.key.now.rawValue)
        }
        for (transition, group) in changed {
            let style: Console.Style = transition.now.isFailure ? .red : .green
            lines += more(
                "\(number(group.count)) \(transition.before.rawValue) → \(transition.now.rawValue)  in \(names(group))",
                style: style)
            if let detail = group.examples[0].detail { lines += more("  \(detail)") }
        }
        return lines
    }

    private func errors(_ tally: RehearsalTally) -> [String] {
        var lines: [String] = []
        for failure in tally.failures where failure.now.count != failure.before {
            let isWorse = failure.now.count > failure.before
            let counts = "\(number(failure.before)) → \(number(failure.now.count))"
            lines += row(
                lines.isEmpty ? "errors" : "", "\(counts)  \(failure.reason)", style: isWorse ? .red : .green, most: 3)
            guard isWorse else { continue }
            lines += more("in \(names(failure.now))")
            for step in (failure.trace ?? "").split(separator: "\n").dropFirst().prefix(4) {
                lines += more("  " + step.trimmingCharacters(in: .whitespaces))
            }
        }
        return lines
    }

    private func effects(_ tally: RehearsalTally, isAdded: Bool) -> [String] {
        var lines: [String] = []
        for kind in RehearsedEffect.Kind.allCases {
            let groups = tally.effects.filter { $0.key.kind == kind }.sorted { $0.key.group < $1.key.group }
            var isFirst = true
            var same = 0
            for (key, effects) in groups {
                if effects.isSame {
                    same += effects.now
                    continue
                }
                let group = key.group.isEmpty ? "" : "\(key.group)  "
                let counts =
                    isAdded
                    ? number(effects.now)
                    : effects.before == effects.now
                        ? number(effects.now) : "\(number(effects.before)) → \(number(effects.now))"
                let parts = [(effects.changed, "changed"), (effects.added, "added"), (effects.gone, "gone")]
                    .filter { $0.0.count > 0 }.map { "\(number($0.0.count)) \($0.1)" }
                lines += row(
                    isFirst ? kind.rawValue : "",
                    "\(group)\(counts)" + (isAdded ? "" : ": \(parts.joined(separator: ", "))"))
                isFirst = false
                lines += details(effects)
            }
            if same > 0, !lines.isEmpty { lines += row(isFirst ? kind.rawValue : "", "\(number(same)) the same") }
        }
        return lines
    }

    private func details(_ effects: Tally.Effects) -> [String] {
        var lines: [String] = []
        let fields = effects.fields.sorted { ($1.value.count, $0.key) < ($0.value.count, $1.key) }
        for (path, change) in fields.prefix(Self.fieldsShown) {
            let part = change.count == effects.changed.count ? "in all" : "in \(number(change.count))"
            lines += more("\(path)  \(part), as in \(name(change.subject))")
            lines += more("  - \(shown(change.before) ?? "(not there)")", style: .red)
            lines += more("  + \(shown(change.now) ?? "(not there)")", style: .green)
        }
        if fields.count > Self.fieldsShown { lines += more("and \(fields.count - Self.fieldsShown) more fields") }
        for (group, mark, style) in [(effects.added, "+", Console.Style.green), (effects.gone, "-", .red)]
        where group.count > 0 {
            let example = group.examples[0]
            lines += more("\(mark) \(name(example.subject)): \(shown(example.detail) ?? "")", style: style)
        }
        return lines
    }

    private static let fieldsShown = 6

    private func cost(_ tally: RehearsalTally) -> [String] {
        func milliseconds(_ duration: Duration?) -> String {
            duration.map { String(format: "%.3f", $0.seconds * 1_000) } ?? "-"
        }
        func words(_ before: Duration?, _ now: Duration?) -> String {
            before == nil ? milliseconds(now) : "\(milliseconds(before)) → \(milliseconds(now))"
        }
        let (before, now) = (tally.costBefore, tally.costNow)
        guard now.count > 0, (now.quantile(1) ?? .zero) > .zero else { return [] }
        var text =
            "median \(words(before.quantile(0.5), now.quantile(0.5))) ms, "
            + "p99 \(words(before.quantile(0.99), now.quantile(0.99))) ms"
        if before.kills + now.kills > 0 { text += "; stopped by the host \(before.kills) → \(now.kills)" }
        return row("cpu", text, style: tally.hasNewKills ? .red : nil)
    }

    private func really(_ recorded: Tally.Recorded) -> String {
        var parts = Ending.allCases.compactMap { ending in
            recorded.endings[ending].map { "\(number($0)) \(ending.rawValue)" }
        }
        if recorded.retried > 0 { parts.append("\(number(recorded.retried)) of them after a retry") }
        if recorded.unknown > 0 { parts.append("\(number(recorded.unknown)) of which nothing is kept") }
        return parts.joined(separator: ", ")
    }

    // MARK: Lines

    private static let labelWidth = 10

    /// - Parameter most: lines that the text may take.
    private func row(_ label: String, _ text: String, style: Console.Style? = nil, most: Int = 1) -> [String] {
        let head = "    " + label.padding(toLength: Self.labelWidth, withPad: " ", startingAt: 0)
        let blank = String(repeating: " ", count: head.count)
        let lines = Self.broken(text, within: width - head.count, indent: 2, most: most)
        return lines.enumerated().map { index, line in
            (index == 0 ? head : blank) + (style.map { Console.styled(line, $0) } ?? line)
        }
    }

    private func more(_ text: String, _ detail: String? = nil, style: Console.Style? = nil) -> [String] {
        row("", "  " + text + (detail.map { "  \($0)" } ?? ""), style: style)
    }

    private func rest(_ group: Tally.Group) -> [String] {
        let left = group.count - group.examples.count
        return left > 0 ? more("  and \(number(left)) more") : []
    }

    private func name(_ subject: Tally.Subject) -> String {
        subject.id + (subject.count > 1 ? " and \(subject.count - 1) more in one batch" : "")
    }

    private func shown(_ text: String?) -> String? { text.map { $0.replacing("\n", with: "⏎") } }

    private func names(_ group: Tally.Group) -> String {
        group.examples.map { name($0.subject) }.joined(separator: ", ")
            + (group.count > group.examples.count ? ", …" : "")
    }

    private func clipped(_ text: String) -> String { Self.broken(text, within: width, indent: 0, most: 1)[0] }

    private func wrapped(_ text: String, indent: Int) -> [String] {
        Self.broken(text, within: width, indent: indent, most: .max)
    }

    /// Breaks a text at blanks into lines, further ones indented; what doesn't fit into `most` lines is cut off.
    static func broken(_ text: String, within columns: Int, indent: Int, most: Int) -> [String] {
        var rest = TrialReport.shown(text.replacing("\n", with: " "))[...]
        var lines: [String] = []
        while true {
            let margin = String(repeating: " ", count: lines.isEmpty ? 0 : indent)
            let room = max(1, columns - margin.count)
            if rest.count <= room { return lines + [margin + rest] }
            if lines.count + 1 >= most { return lines + [margin + rest.prefix(room - 1) + "…"] }
            let fitting = rest.prefix(room + 1)
            let end = fitting.lastIndex(of: " ").flatMap { $0 > rest.startIndex ? $0 : nil }
            lines.append(margin + (end.map { rest[..<$0] } ?? rest.prefix(room)))
            rest = end.map { rest[rest.index(after: $0)...] } ?? rest.dropFirst(room)
        }
    }

    private func counted(_ count: Int, _ noun: String) -> String { "\(number(count)) \(noun)\(count == 1 ? "" : "s")" }

    private func number(_ value: Int) -> String {
        var digits = String(value)[...]
        var groups: [Substring] = []
        while digits.count > 3 {
            groups.insert(digits.suffix(3), at: 0)
            digits = digits.dropLast(3)
        }
        return ([digits] + groups).joined(separator: ",")
    }
}
