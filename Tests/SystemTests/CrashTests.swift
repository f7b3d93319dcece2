// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization
import Testing

/// Promises P1, P2 and P3 on the real program: it is killed with SIGKILL while publishers and subscribers are at work, and
/// started again on the same folder.
struct CrashTests {
    static let routes = """
        topic orders { retain 30d; key data.order_id }
        topic seen { retain 30d }
        retry quick { attempts 50; backoff 20ms to 200ms; timeout 5s }
        subscriber counter {
          from orders
          run counter
          allow publish seen
          start earliest
          retry quick
        }
        subscriber matching { from orders; where data.n < 1000000; pull { lease 10s }; start earliest }
        subscriber other { from orders; where data.n < 0; pull { lease 10s }; start earliest }
        """

    /// Each order counts once in state and is published once; now and then it fails for no reason.
    static let counter = """
        return function(event, ctx)
          if event.attempt == 1 and event.data.n % 7 == 0 then return ctx.retry { reason = "not yet" } end
          local count = ctx.state.add("count", 1)
          ctx.publish("seen", { id = event.id, count = count }, { type = "seen" })
        end
        """

    @Test(.timeLimit(.minutes(3)))
    func everyAcceptedEventReachesEverySubscriberThroughSIGKILL() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: ["counter": Self.counter])
        let accepted = Accepted()
        try await server.start()
        for (round, milliseconds) in [20, 240, 60, 170, 110, 400].enumerated() {
            try await publishUntilKilled(server, accepted, round: round, delay: .milliseconds(milliseconds))
            try await server.start()
        }
        let expected = accepted.ids
        #expect(expected.count > 50, "enough was accepted to mean something")

        // Every event that any publisher was told is durable is in the journal; others may be as well.
        let journal = try await server.tail("orders")
        let ids = Set(journal.map(\.id))
        #expect(expected.subtracting(ids).isEmpty, "P1: accepted and not in the journal")

        try await eventually("the counter has settled everything") {
            try await server.subscriber("counter")["backlog"] as? Int == 0
        }
        try await eventually("the outbox is empty") {
            try await server.tail("seen").count >= journal.count
        }
        let seen = try await server.tail("seen")
        #expect(Set(seen.map { $0.data["id"] as? String ?? "" }) == ids, "P2: each event was handled")
        #expect(seen.count == journal.count, "P3: each event was published once")
        #expect(
            Set(seen.compactMap { $0.data["count"] as? Int }) == Set(1...max(1, journal.count)),
            "P3: each event counted once")

        let pulled = try await pullAll(server, "matching", count: journal.count)
        #expect(pulled == ids, "P2: the pull subscriber got each event")
        #expect(
            try await pullAll(server, "other", count: 0).isEmpty, "nothing goes to a subscriber whose filter is false")
        server.signal(SIGTERM)
    }

    private final class Accepted: Sendable {
        private let state = Mutex<Set<String>>([])
        var ids: Set<String> { state.withLock { $0 } }
        func insert(_ more: [String]) { state.withLock { $0.formUnion(more) } }
    }

    /// Four publishers send batches until the process is gone; what was answered with 202 is written down.
    private func publishUntilKilled(
        _ server: RunningServer, _ accepted: Accepted, round: Int, delay: Duration
    ) async throws {
        let port = server.port
        await withTaskGroup { group in
            for publisher in 0..<4 {
                group.addTask {
                    var number = 0
                    while true {
                        var lines: [String] = []
                        var ids: [String] = []
                        for _ in 0..<(publisher * 3 + 1) {
                            number += 1
                            let id = "r\(round)-p\(publisher)-\(number)"
                            ids.append(id)
                            lines.append(
                                #"{"specversion":"1.0","id":"\#(id)","source":"/test","type":"order","data":{"order_id":"o-\#(number % 9)","n":\#(number)}}"#
                            )
                        }
                        let answer = try? await Loopback.send(
                            "POST", port, "/v1/topics/orders/events", body: Array(lines.joined(separator: "\n").utf8),
                            type: "application/x-ndjson")
                        guard let answer else { return }
                        if answer.status == 202 { accepted.insert(ids) }
                    }
                }
            }
            try? await Task.sleep(for: delay)
            server.killHard()
        }
    }

    private func pullAll(_ server: RunningServer, _ subscriber: String, count: Int) async throws -> Set<String> {
        var ids: Set<String> = []
        while true {
            let wait = ids.count < count ? "5s" : "0s"
            let answer = try await server.post(
                "/v1/subscribers/\(subscriber)/pull", #"{"max":500,"wait":"\#(wait)"}"#)
            let deliveries = try answer.object["deliveries"] as? [[String: Any]] ?? []
            if deliveries.isEmpty { return ids }
            let leases = deliveries.compactMap { $0["lease"] as? String }
            for delivery in deliveries {
                if let id = (delivery["event"] as? [String: Any])?["id"] as? String { ids.insert(id) }
            }
            let body = try JSONSerialization.data(withJSONObject: ["ack": leases])
            let settled = try await server.post(
                "/v1/subscribers/\(subscriber)/settle", String(decoding: body, as: UTF8.self))
            #expect(settled.status == 200)
        }
    }
}
