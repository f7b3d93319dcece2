// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import HTTPTypes
import Hummingbird
import Ledger
import Routes

/// The past, beside what is live: replays, and imports of what happened before the router existed.
struct Histories: Sendable {
    let broker: any BrokerSurface
    let clock: any Events.Clock

    /// Answers when the run is on disk; `GET …/replays/{id}` tells how it goes.
    func replay(_ exchange: Exchange) async throws -> Response {
        let body = try await exchange.object()
        try body.allow(["from", "to", "topic", "where", "rate"])
        guard let from = try point(body, "from") else {
            throw Problem.malformed(
                "say from where: {\"from\":\"earliest\"}, an offset, a time, or a duration such as 7d")
        }
        var request = ReplayRequest(from: from)
        if let until = try point(body, "to") { request.until = until }
        request.topic = try body.string("topic")
        request.filter = try body.string("where")
        if let text = try body.string("rate") {
            guard let rate = Rate(text: text) else {
                throw Problem.malformed("\"rate\" is \"\(text)\"; write a number per unit, such as 50/s or 600/m")
            }
            request.rate = rate
        }
        let progress = try await broker.replay(exchange.parameters[0], request)
        return .json(.accepted) { progress.write(to: &$0) }
    }

    func list(_ exchange: Exchange) async throws -> Response {
        let all = try await broker.histories(of: exchange.parameters[0])
        return .json { json in
            json.array("replays") { json in
                for progress in all { json.object { progress.write(to: &$0) } }
            }
        }
    }

    func show(_ exchange: Exchange) async throws -> Response {
        let progress = try await broker.history(of: exchange.parameters[0], Self.id(exchange))
        return .json { progress.write(to: &$0) }
    }

    func cancel(_ exchange: Exchange) async throws -> Response {
        let progress = try await broker.cancelHistory(of: exchange.parameters[0], Self.id(exchange))
        return .json { progress.write(to: &$0) }
    }

    /// Begins an import, or finds the one that was begun with the same contents: `taken` says where to go on.
    func beginImport(_ exchange: Exchange) async throws -> Response {
        let body = try await exchange.object()
        try body.allow(["topic", "file", "events", "first"])
        let isFirst = try body.boolean("first")
        guard let topic = try body.string("topic"), let file = try body.string("file"), !file.isEmpty,
            file.utf8.count <= Limits.importFileBytesMax
        else {
            throw Problem.malformed(
                "say what for and which: {\"topic\":\"orders\",\"file\":\"a digest of the contents\",\"events\":1000}; "
                    + "\"file\" has at most \(Limits.importFileBytesMax) bytes")
        }
        let expected = body["events", default: .null] == .null ? nil : try body.integer("events", default: 0, max: .max)
        let progress = try await broker.beginImport(
            exchange.parameters[0], topic: topic, file: file, expected: expected, isFirst: isFirst)
        return .json(.accepted) { progress.write(to: &$0) }
    }

    /// Events as lines, behind the `at` that are in already. All of them are taken, or none.
    func importEvents(_ exchange: Exchange) async throws -> Response {
        let (name, id) = (exchange.parameters[0], try Self.id(exchange))
        guard let at: Int = try exchange.unsigned("at") else {
            throw Problem.malformed("say with ?at= how many events are in already, so that none is taken twice")
        }
        let target = try await broker.importTarget(name, id)
        let body = try await exchange.body(upTo: Limits.requestBytesMax)
        let decoder = EventDecoder(topic: target.topic, key: target.key)
        var request = EventRequest(contentType: "application/x-ndjson")
        request.type = try exchange.query("type")
        let described = request
        let batch = try body.withBytes { (bytes) throws(Failure) in try decoder.decode(bytes, described) }
        let taken = try await broker.importEvents(name, id, at: at, batch)
        return .json(.accepted) { $0.field("taken", taken) }
    }

    func completeImport(_ exchange: Exchange) async throws -> Response {
        let body = try await exchange.object()
        try body.allow(["events"])
        guard case .number(let text)? = body["events"], let events = Int(text), events >= 0 else {
            throw Problem.malformed("say how many events there were: {\"events\":1000}")
        }
        let progress = try await broker.completeImport(exchange.parameters[0], Self.id(exchange), events: events)
        return .json { progress.write(to: &$0) }
    }

    private static func id(_ exchange: Exchange) throws -> Int64 {
        let text = exchange.parameters[1]
        guard let id = Int64(text), id > 0 else {
            throw Problem.malformed("\"\(text)\" isn't the number of a replay or an import")
        }
        return id
    }

    /// `earliest`, `latest`, an offset, a time, or how long ago.
    private func point(_ body: [String: JSONValue], _ name: String) throws -> StartPosition? {
        let text: String
        switch body[name] {
        case nil, .null: return nil
        case .number(let number)?: text = number
        case .string(let string)?: text = string
        default: text = "?"
        }
        return try StartPosition(text, "\"\(name)\"", now: clock.now())
    }
}

extension StartPosition {
    /// - Parameter what: what the text is, for whoever wrote it.
    init(_ text: String, _ what: String, now: Timestamp) throws {
        switch text {
        case "earliest": self = .earliest
        case "latest", "now": self = .latest
        default:
            if let offset = Offset(text) {
                self = .offset(offset)
            } else if let time = RFC3339.parse(text.utf8) ?? RFC3339.parse("\(text)T00:00:00Z".utf8) {
                self = .time(time)
            } else if let ago = DurationText.parse(text) {
                self = .time(now - ago)
            } else {
                throw Problem.malformed(
                    "\(what) is \"\(text)\"; write earliest, an offset, a time such as 2026-03-09T14:05:00Z, a day such as "
                        + "2026-03-09, or how long ago, such as 7d")
            }
        }
    }
}

extension HistoryProgress {
    func write(to json: inout JSONWriter) {
        let details = lane.details
        json.field("id", lane.id)
        json.field("kind", details.kind.rawValue)
        json.field("state", lane.state.rawValue)
        if details.kind == .imported {
            json.field("topic", Topic.named(details.spans[0].topic).shownName)
            json.field("file", ifPresent: details.file)
            json.field("taken", taken ?? 0)
            json.field("complete", details.isComplete)
            if details.isFirst == true { json.field("first", true) }
        } else {
            json.array("topics") { json in
                for span in details.spans {
                    json.object { json in
                        json.field("topic", span.topic)
                        json.field("from", span.from)
                        json.field("until", span.until)
                    }
                }
            }
        }
        json.field("where", ifPresent: details.filter)
        if let rate = details.rate { json.field("rate", rate.text) }
        json.field("total", total)
        json.field("passed", passed)
        json.field("delivered", lane.done)
        json.field("inFlight", inFlight)
        json.field("waiting", waiting)
        if let perSecond { json.field("perSecond", Int(perSecond.rounded())) }
        if let remaining { json.field("remainingSeconds", remaining.milliseconds / 1_000) }
        json.field("begun", lane.begun)
        if let ended = lane.ended { json.field("ended", ended) }
    }
}

extension Rate {
    /// As it was written, or nearly: `50/s`.
    fileprivate var text: String {
        switch per.milliseconds {
        case 1_000: "\(count)/s"
        case 60_000: "\(count)/m"
        case 3_600_000: "\(count)/h"
        default: "\(count)/\(per.milliseconds)ms"
        }
    }
}
