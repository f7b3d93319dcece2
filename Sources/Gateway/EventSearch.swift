// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Filtering
import HTTPTypes
import Hummingbird
import Routes

/// `GET /v1/events?topic=…`: events of a topic by time and filter, the newest first. It reads the journal, so one answer
/// looks at a bounded number of records, and says where the next one goes on.
struct EventSearch: Sendable {
    let broker: any BrokerSurface
    let clock: any Events.Clock

    private struct Query {
        var topic: String
        var filter: Filter?
        /// Offsets.
        var range: Range<Offset>
        var limit: Int
    }

    func search(_ exchange: Exchange) async throws -> Response {
        let query = try await query(exchange)
        var hits: [Record] = []
        var scanned = 0
        var end = query.range.upperBound
        while end > query.range.lowerBound, hits.count < query.limit, scanned < Limits.searchRecordsMax {
            let room = min(end - query.range.lowerBound, Offset(Limits.searchPage))
            let page = try await records(query.topic, end - room..<end)
            let left = query.limit - hits.count
            let (found, lowest) = Self.newest(page, query.filter, left)
            hits += found
            // A page whose newest are enough is gone on with from the last of them.
            let next = found.count == left ? lowest : end - room
            scanned += Int(end - next)
            end = next
        }
        let next = end > query.range.lowerBound ? end : nil
        var headers = HTTPFields()
        if let next { headers[.link] = "</v1/events?\(try Self.continuation(exchange, query, next))>; rel=\"next\"" }
        let body = JSONWriter.object { json in
            json.field("topic", query.topic)
            json.array("events") { json in
                for record in hits {
                    json.object { EventTrace(record: record, generation: nil).writeEvent(to: &$0) }
                }
            }
            json.field("scanned", scanned)
            json.field("next", ifPresent: next)
        }
        return .json(.ok, body, headers: headers)
    }

    private func query(_ exchange: Exchange) async throws -> Query {
        guard let topic = try exchange.query("topic"), !topic.isEmpty else {
            throw Problem.malformed("say which topic: /v1/events?topic=orders&where=type = 'order.placed'&since=2h")
        }
        guard let status = await broker.status().topics.first(where: { $0.name == topic }) else {
            throw Problem.unknownTopic(topic)
        }
        let bounds = min(status.first, status.end)..<status.end
        let filter = try exchange.filter("where")
        let limit = try exchange.integer("limit", default: Limits.pageDefault, max: Limits.pageMax)
        let lower = try await offset(exchange, "since", topic, bounds) ?? bounds.lowerBound
        var upper = try await offset(exchange, "until", topic, bounds) ?? bounds.upperBound
        if let before: Offset = try exchange.unsigned("before") { upper = min(upper, before) }
        return Query(topic: topic, filter: filter, range: min(lower, upper)..<upper, limit: limit)
    }

    /// What `since` and `until` say, as a place in the topic.
    private func offset(
        _ exchange: Exchange, _ name: String, _ topic: String, _ bounds: Range<Offset>
    ) async throws -> Offset? {
        guard let text = try exchange.query(name), !text.isEmpty else { return nil }
        switch try StartPosition(text, "query parameter \"\(name)\"", now: clock.now()) {
        case .earliest: return bounds.lowerBound
        case .latest: return bounds.upperBound
        case .offset(let offset): return min(max(offset, bounds.lowerBound), bounds.upperBound)
        case .time(let time): return try await first(at: time, in: topic, bounds)
        }
    }

    /// The first record that was received at `time` or later: times grow with offsets.
    private func first(at time: Timestamp, in topic: String, _ bounds: Range<Offset>) async throws -> Offset {
        var (low, high) = (bounds.lowerBound, bounds.upperBound)
        while low < high {
            let middle = low + (high - low) / 2
            let record = try await broker.tail(topic, from: middle, max: 1, wait: .zero).first
            guard let record, record.offset < high else {
                high = middle
                continue
            }
            if record.time < time { low = record.offset + 1 } else { high = middle }
        }
        return low
    }

    /// All of a range; an answer of the journal is bounded in bytes, so it may take several.
    private func records(_ topic: String, _ range: Range<Offset>) async throws -> [Record] {
        var records: [Record] = []
        var from = range.lowerBound
        while from < range.upperBound {
            let part = try await broker.tail(topic, from: from, max: Int(range.upperBound - from), wait: .zero)
            guard let last = part.last else { break }
            records += part.filter { range.contains($0.offset) }
            from = last.offset + 1
        }
        return records
    }

    /// At most `limit` that fit, the newest first, and the offset of the last one.
    private static func newest(_ page: [Record], _ filter: Filter?, _ limit: Int) -> ([Record], lowest: Offset) {
        let scratch = MatchScratch()
        var found: [Record] = []
        for record in page.reversed() where found.count < limit {
            if filter?.matches(record, scratch) ?? true { found.append(record) }
        }
        return (found, found.last?.offset ?? 0)
    }

    private static func continuation(_ exchange: Exchange, _ query: Query, _ next: Offset) throws -> String {
        var parts = ["topic=\(PercentText.encode(query.topic))"]
        if let filter = query.filter { parts.append("where=\(PercentText.encode(filter.text))") }
        // As an offset: "an hour ago" would be another moment by then.
        parts.append("since=\(query.range.lowerBound)")
        return (parts + ["before=\(next)", "limit=\(query.limit)"]).joined(separator: "&")
    }
}

extension Exchange {
    /// A filter as a `where` line has it; nil where there is none.
    func filter(_ name: String) throws -> Filter? {
        guard let text = try query(name), !text.isEmpty else { return nil }
        do {
            return try Filter.parse(text)
        } catch {
            throw Problem.malformed("query parameter \"\(name)\" is no filter: \(error)")
        }
    }
}

extension Limits {
    /// Records that one search looks at: a fraction of a second of reading. The next request goes on.
    static let searchRecordsMax = 50_000

    /// Records that a search holds at once.
    static let searchPage = 1_000
}
