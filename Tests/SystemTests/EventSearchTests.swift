// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Looking for events by time and filter, and watching, on the real program.
struct EventSearchTests {
    private static let routes = """
        topic orders { retain 30d }
        subscriber books { from orders; pull; start earliest }
        """

    private func offsets(_ answer: Loopback.Answer) throws -> [Int] {
        let events = try answer.object["events"] as? [[String: Any]] ?? []
        return events.compactMap { $0["offset"] as? Int }
    }

    private func publish(_ server: RunningServer, _ numbers: ClosedRange<Int>) async throws {
        let lines = numbers.map { #"{"n":\#($0)}"# }.joined(separator: "\n")
        let answer = try await server.post(
            "/v1/topics/orders/events?type=made", lines, type: "application/x-ndjson")
        #expect(answer.status == 202)
    }

    @Test(.timeLimit(.minutes(2)))
    func theNewestComeFirstPageByPageAndNoneTwice() async throws {
        let server = try RunningServer(routes: Self.routes)
        try await server.start()
        // Several pages of the journal.
        try await publish(server, 0...2_599)
        var path: String? = "/v1/events?topic=orders&limit=1000&where=data.n%20%3C%202000"
        var all: [Int] = []
        while let next = path {
            let answer = try await server.get(next)
            #expect(answer.status == 200, "\(answer.text)")
            all += try offsets(answer)
            let link = answer.head.firstMatch(of: /(?i)link: <([^>]*)>; rel="next"/)
            path = link.map { String($0.1) }
        }
        #expect(all == Array((0...1_999).reversed()))
        #expect(try offsets(await server.get("/v1/events?topic=orders&limit=3&before=10")) == [9, 8, 7])
        #expect(
            try offsets(await server.get("/v1/events?topic=orders&since=2590&until=2593")) == [2_592, 2_591, 2_590])
    }

    @Test(.timeLimit(.minutes(2)))
    func timesAreFoundInTheJournal() async throws {
        let server = try RunningServer(routes: Self.routes)
        try await server.start()
        try await publish(server, 0...299)
        // A moment that lies between both batches.
        let first = try await server.get("/v1/events?topic=orders&limit=1").object
        let last = (first["events"] as? [[String: Any]])?.first?["received"] as? String ?? ""
        try await eventually("time has gone on") {
            let time = try await server.get("/v1/status").object["time"] as? String ?? ""
            return time > last
        }
        let between = try await server.get("/v1/status").object["time"] as? String ?? ""
        try await publish(server, 300...319)
        #expect(
            try offsets(await server.get("/v1/events?topic=orders&since=\(between)")) == Array((300...319).reversed()))
        #expect(
            try offsets(await server.get("/v1/events?topic=orders&until=\(between)&limit=5"))
                == Array((295...299).reversed()))
        #expect(try offsets(await server.get("/v1/events?topic=orders&since=1h&limit=1000")).count == 320)
        #expect(try offsets(await server.get("/v1/events?topic=orders&until=2020-01-01")).isEmpty)
    }

    @Test(
        .timeLimit(.minutes(2)),
        arguments: [
            ("", 400, "say which topic"), ("topic=nobody", 404, "no topic"),
            ("topic=orders&where=n%20%3D", 400, "is no filter"), ("topic=orders&since=soon", 400, "how long ago"),
            ("topic=orders&limit=0", 400, "a number from 1 to"), ("topic=orders&before=-1", 400, "whole number"),
        ])
    func aSearchThatIsWrongIsToldHow(_ query: String, _ status: Int, _ detail: String) async throws {
        let server = try RunningServer(routes: Self.routes)
        try await server.start()
        let answer = try await server.get("/v1/events?\(query)")
        #expect(answer.status == status)
        #expect(answer.head.contains("application/problem+json"))
        #expect(answer.text.contains(detail), "\(answer.text)")
    }

    @Test(.timeLimit(.minutes(2)))
    func aTailWithAFilterPassesTheOthers() async throws {
        let server = try RunningServer(routes: Self.routes)
        try await server.start()
        try await publish(server, 0...9)
        let some = try await server.get("/v1/topics/orders/events?from=0&where=data.n%20%3E%3D%207")
        #expect(some.text.split(separator: "\n").count == 3, "\(some.text)")
        let none = try await server.get("/v1/topics/orders/events?from=0&where=data.n%20%3E%20100")
        #expect(none.text.isEmpty)
        #expect(
            none.head.contains("from=10&max=100&where=data.n%20%3E%20100"),
            "the next page begins behind them: \(none.head)")
    }

    @Test(.timeLimit(.minutes(2)))
    func aStopEndsLiveStreamsInGoodOrder() async throws {
        let server = try RunningServer(routes: Self.routes)
        try await server.start()
        let port = server.port
        async let stream = Loopback.send("GET", port, "/v1/live")
        try await eventually("the stream is counted") {
            try await server.get("/metrics").text.contains(#"route="/v1/live""#)
        }
        server.signal(SIGTERM)
        let answer = try await stream
        #expect(answer.status == 200)
        #expect(answer.text.hasPrefix("retry: 2000\n\nevent: status\ndata: {\"generation\":1,"), "\(answer.text)")
        #expect(answer.text.hasSuffix("\n\n"))
        server.process.waitUntilExit()
        #expect(server.process.terminationStatus == 0)
    }
}
