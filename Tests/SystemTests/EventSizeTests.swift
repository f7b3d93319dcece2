// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// `event max` on the running program.
@Suite(.timeLimit(.minutes(2))) struct EventSizeTests {
    private struct Refusal: Decodable {
        struct Place: Decodable {
            var index: Int
        }
        var detail: String
        var errors: [Place]?
    }

    @Test func theLimitOfAnEventChangesWithAReload() async throws {
        let routes = "topic orders { retain 30d }"
        let server = try RunningServer(routes: routes)
        try await server.start()
        let large = #"{"text":"\#(String(repeating: "x", count: 100_000))"}"#
        func publish() async throws -> Loopback.Answer {
            try await server.post("/v1/topics/orders/events", "1\n\(large)\n", type: "application/x-ndjson")
        }
        #expect(try await publish().status == 202)

        try server.write(routes: routes + "\nevent max 64KiB")
        let plan = try await server.command("plan")
        #expect(plan.output.contains("event max"), "\(plan.output)")
        #expect(try await server.command("reload").code == 0)
        let refused = try await publish()
        #expect(refused.status == 413)
        let refusal = try JSONDecoder().decode(Refusal.self, from: Data(refused.body))
        #expect(refusal.detail.contains("the event has 100011 bytes; the limit is 65536"), "\(refusal.detail)")
        #expect(refusal.errors?.map(\.index) == [1])
        #expect(try await server.tail("orders").count == 2, "nothing of the refused request is there")

        try server.write(routes: routes + "\nevent max 63KiB")
        let reload = try await server.command("reload")
        #expect(reload.code == 2 && (reload.output + reload.errors).contains("`event max` is from 64KiB to 1MiB"))
        #expect(try await publish().status == 413, "what was in force goes on")
        try server.write(routes: routes)
        #expect(try await server.command("reload").code == 0)
        #expect(try await publish().status == 202)
    }

    @Test func aDelayThatTheTopicRefusesIsPlacedInABatchOfOne() async throws {
        let server = try RunningServer(routes: "topic orders { retain 1d }")
        try await server.start()
        let event = #"{"specversion":"1.0","id":"1","source":"/s","type":"t","deliverafter":"48h"}"#
        func refusal(_ body: String, _ type: String) async throws -> Refusal {
            let answer = try await server.post("/v1/topics/orders/events", body, type: type)
            #expect(answer.status == 400)
            return try JSONDecoder().decode(Refusal.self, from: Data(answer.body))
        }
        #expect(try await refusal("[\(event)]", "application/cloudevents-batch+json").errors?.map(\.index) == [0])
        #expect(try await refusal("1\n\(event)", "application/x-ndjson").errors?.map(\.index) == [1])
        #expect(try await refusal(event, "application/cloudevents+json").errors == nil)
    }
}
