// SPDX-License-Identifier: Apache-2.0

import Broker
import Events
import Filtering
import HTTPTypes
import Hummingbird
import NIOCore
import ServiceLifecycle

/// A topic's records as they stand, one JSON object in a line: `{"offset":…,"time":…,"event":{…}}`. Reading them
/// settles nothing. With `where`, only those for which it is true; the link to what comes next passes the others.
struct Tail: Sendable {
    let broker: any BrokerSurface

    func tail(_ exchange: Exchange) async throws -> Response {
        let name = exchange.parameters[0]
        let from: Offset? = try exchange.unsigned("from")
        let max = try exchange.integer("max", default: Limits.pageDefault, max: Limits.tailEventsMax)
        let wait = try exchange.wait()
        let filter = try exchange.filter("where")
        let scratch = MatchScratch()
        let records = try await cancelWhenGracefulShutdown { [broker] in
            try await broker.tail(name, from: from, max: max, wait: wait)
        }
        var lines: [UInt8] = []
        for record in records where filter?.matches(record, scratch) ?? true {
            lines.append(contentsOf: "{\"offset\":\(record.offset),\"time\":\"\(RFC3339.format(record.time))\",".utf8)
            lines.append(contentsOf: "\"event\":".utf8)
            EventEncoder.appendLine(record, to: &lines)
            lines.append(contentsOf: "}\n".utf8)
        }
        var headers: HTTPFields = [.contentType: "application/x-ndjson"]
        if let last = records.last {
            let condition = filter.map { "&where=\(PercentText.encode($0.text))" } ?? ""
            headers[.link] =
                "</v1/topics/\(PercentText.encode(name))/events?from=\(last.offset + 1)&max=\(max)\(condition)>; "
                + "rel=\"next\""
        }
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: lines)))
    }
}
