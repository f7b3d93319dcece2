// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Logging
import Routes
import Scripting

/// What `fairlead run` shows.
struct TrialReport {
    let plugin: String
    let route: SubscriberRoute?
    let record: Record
    let attempt: Int
    let isReal: Bool
    let trial: PluginTrial

    /// Whether the event would be settled for good, and well.
    var isDone: Bool {
        switch trial.outcome {
        case .ack, .drop: true
        case .retry, .dead, .returned: false
        }
    }

    private var verdict: (name: String, reason: String?, after: Duration?) {
        switch trial.outcome {
        case .ack, .returned: ("ack", nil, nil)
        case .retry(let after, let reason): ("retry", reason, after)
        case .dead(let reason): ("dead", reason, nil)
        case .drop(let reason): ("drop", reason, nil)
        }
    }

    private var cpuMilliseconds: Double { (trial.cpu / .microseconds(1)).rounded() / 1_000 }

    // MARK: For people

    var text: String {
        let user =
            route.map { "as \($0.name)" + ($0.place.map { " (\($0))" } ?? "") } ?? "as no subscriber of routes.conf"
        var lines = [
            Console.styled("\(record.type) on \(record.topic), attempt \(attempt), to \(plugin) \(user)", .dim)
        ]
        for act in trial.acts { lines += show(act) }
        for write in trial.effects.state { lines.append(row("state", show(write))) }
        for publication in trial.effects.publications {
            let data = String(decoding: publication.event.data.bytes, as: UTF8.self)
            lines.append(row("publish", "\(publication.event.type) to \(publication.topic) \(data)"))
        }
        let (name, reason, after) = verdict
        let style: Console.Style = isDone ? .green : name == "retry" ? .yellow : .red
        var line = Console.styled(name, style)
        if let after { line += " after \(DurationText.format(after))" }
        if let reason { line += ": \(Self.shown(reason))" }
        lines.append(line)
        for step in (trial.trace ?? "").split(separator: "\n") {
            lines += Self.more(step.trimmingCharacters(in: .whitespaces))
        }
        lines.append(Console.styled("\(cpuMilliseconds) ms of processor time", .dim))
        return lines.joined(separator: "\n")
    }

    private func row(_ label: String, _ text: String) -> String {
        Console.styled(label.padding(toLength: 8, withPad: " ", startingAt: 0), .bold) + Self.shown(text)
    }

    /// Further lines of what a row began.
    private static func more(_ text: String) -> [String] {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { "        \(shown($0))" }
    }

    /// A plugin's text can't move the terminal's cursor.
    static func shown(_ text: some StringProtocol) -> String {
        var shown = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            let isControl = scalar.value < 0x20 && scalar != "\t" || (0x7F...0x9F).contains(scalar.value)
            shown.append(isControl ? "\u{FFFD}" : scalar)
        }
        return String(shown)
    }

    private func show(_ act: PluginTrial.Act) -> [String] {
        switch act {
        case .http(let request):
            let notSent = isReal ? "" : " (not sent)"
            var lines = [row("http", "\(request.method) \(request.url) → \(request.answer)\(notSent)")]
            lines += request.headers.flatMap { Self.more("\($0.name): \($0.value)") }
            if !request.body.isEmpty { lines += Self.more(request.body) }
            return lines
        case .mail(let message):
            let to = (message.to + message.cc).joined(separator: ", ")
            let body = message.text ?? message.html ?? ""
            return [row("mail", "to \(to): \(message.subject)\(isReal ? "" : " (not sent)")")]
                + Self.more(body)
        case .file(let addition):
            return [row("file", "\(addition.name) in \(addition.folder) (not written)")]
                + Self.more(String(decoding: addition.bytes, as: UTF8.self))
        case .log(let level, let message, let fields):
            let shown = fields.map { " \($0.name)=\($0.value)" }.joined()
            return [row("log", "\(level) \(message)\(shown)")]
        case .metric(let name, let amount): return [row("metric", "\(name) + \(Self.plain(amount))")]
        case .sleep(let duration): return [row("sleep", DurationText.format(duration))]
        }
    }

    private func show(_ write: StateWrite) -> String {
        switch write {
        case .put(let key, let value, let expires):
            "put \(key) = \(String(decoding: value, as: UTF8.self))"
                + (expires.map { " until \(RFC3339.format($0))" } ?? "")
        case .add(let key, let delta): "add \(key) + \(String(decoding: delta.json, as: UTF8.self))"
        case .delete(let key): "delete \(key)"
        }
    }

    private static func plain(_ number: Double) -> String {
        number == number.rounded() && abs(number) < 1e15 ? String(Int64(number)) : String(number)
    }

    // MARK: For machines

    var json: String {
        let (name, reason, after) = verdict
        var object: [String: Any] = [
            "outcome": name, "cpuMilliseconds": cpuMilliseconds, "plugin": plugin,
            "state": trial.effects.state.map(object(of:)),
            "published": trial.effects.publications.map { publication in
                [
                    "topic": publication.topic, "type": publication.event.type, "id": publication.event.id,
                    "data": Self.value(publication.event.data.bytes),
                ]
            },
        ]
        if let route { object["subscriber"] = route.name }
        if let reason { object["reason"] = reason }
        if let after { object["afterSeconds"] = after / .seconds(1) }
        if let trace = trial.trace { object["trace"] = trace }
        var requests: [[String: Any]] = []
        var mail: [[String: Any]] = []
        var files: [[String: Any]] = []
        var logs: [[String: Any]] = []
        var metrics: [[String: Any]] = []
        for act in trial.acts {
            switch act {
            case .http(let request):
                requests.append([
                    "method": request.method, "url": request.url, "body": request.body, "answer": request.answer,
                    "headers": Dictionary(request.headers.map { ($0.name, $0.value) }) { $1 },
                ])
            case .mail(let message):
                var fields: [String: Any] = ["to": message.to, "cc": message.cc, "subject": message.subject]
                fields["text"] = message.text
                fields["html"] = message.html
                fields["from"] = message.from
                mail.append(fields)
            case .file(let addition):
                files.append([
                    "folder": addition.folder, "name": addition.name,
                    "text": String(decoding: addition.bytes, as: UTF8.self),
                ])
            case .log(let level, let message, let fields):
                logs.append([
                    "level": "\(level)", "message": message,
                    "fields": Dictionary(fields.map { ($0.name, $0.value) }) { $1 },
                ])
            case .metric(let name, let amount): metrics.append(["name": name, "amount": amount])
            case .sleep: break
            }
        }
        object.merge(["requests": requests, "mail": mail, "files": files, "logs": logs, "metrics": metrics]) { $1 }
        // Strings, numbers and containers of them can't fail to be JSON.
        let data = try! JSONSerialization.data(
            withJSONObject: object, options: [.sortedKeys, .withoutEscapingSlashes])
        return String(decoding: data, as: UTF8.self)
    }

    private func object(of write: StateWrite) -> [String: Any] {
        switch write {
        case .put(let key, let value, let expires):
            var object: [String: Any] = ["put": key, "value": Self.value(value)]
            if let expires { object["expires"] = RFC3339.format(expires) }
            return object
        case .add(let key, let delta): return ["add": key, "amount": Self.value(delta.json)]
        case .delete(let key): return ["delete": key]
        }
    }

    private static func value(_ json: [UInt8]) -> Any {
        (try? JSONSerialization.jsonObject(with: Data(json), options: .fragmentsAllowed))
            ?? String(decoding: json, as: UTF8.self)
    }
}
