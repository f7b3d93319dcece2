// SPDX-License-Identifier: Apache-2.0

import Events
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import Synchronization
import Testing

@testable import Gateway

struct IdempotencyTests {
    private static let key = HTTPField.Name("Idempotency-Key")!
    private static let replayed = HTTPField.Name("Idempotency-Replayed")!

    @Test func theSameKeyAndBodyGetTheFirstAnswerAgain() async throws {
        let broker = FakeBroker()
        try await gateway(broker).application.test(.router) { client in
            func redrive(_ key: String, _ body: String, _ path: String = "/v1/dead/redrive") async throws
                -> TestResponse
            {
                try await client.execute(
                    uri: path, method: .post, headers: [.contentType: "application/json", Self.key: key],
                    body: ByteBuffer(string: body))
            }
            let first = try await redrive("a", #"{"ids":[7]}"#)
            #expect(first.status == .accepted)
            #expect(first.headers[Self.replayed] == nil)
            let again = try await redrive("a", #"{"ids":[7]}"#)
            #expect(again.status == .accepted)
            #expect(again.headers[Self.replayed] == "true")
            #expect(again.headers[.contentType] == "application/json")
            #expect(again.body == first.body)
            let other = try await redrive("a", #"{"ids":[8]}"#)
            #expect(other.status == .unprocessableContent)
            #expect(String(buffer: other.body).contains("urn:fairlead:problem:idempotency-key-reused"))
            #expect(try await redrive("b", #"{"ids":[7]}"#).headers[Self.replayed] == nil)
            // A refusal is an answer, too; and another path is another request.
            #expect(try await redrive("a", #"{"ids":[7]}"#, "/v1/dead/discard").status == .badRequest)
            #expect(try await redrive("a", #"{"ids":[7]}"#, "/v1/dead/discard").headers[Self.replayed] == "true")
            for key in ["", "a b", "schlüssel", String(repeating: "k", count: 256)] {
                #expect(try await redrive(key, #"{"ids":[7]}"#).status == .badRequest, "\(key)")
            }
        }
        #expect(broker.with { $0.redrives.count } == 2)
    }

    @Test func aReloadIsDoneOnceForAKey() async throws {
        let reloads = Mutex(0)
        let gateway = gateway(
            FakeBroker(),
            reload: { _, _ in
                let count = reloads.withLock { count in
                    count += 1
                    return count
                }
                return .applied(generation: count, changes: [])
            })
        try await gateway.application.test(.router) { client in
            for _ in 0..<3 {
                let answer = try await client.execute(
                    uri: "/v1/reload", method: .post, headers: [Self.key: "deploy-17"])
                #expect(String(buffer: answer.body) == #"{"generation":1,"changes":[]}"#)
            }
        }
        #expect(reloads.withLock { $0 } == 1)
    }

    // MARK: The table

    private static func name(_ number: Int) -> IdempotencyTable.Name {
        .init(key: "\(number)", target: "/v1/reload", client: [])
    }

    private static func answer(bytes: Int = 2) -> IdempotencyTable.Answer {
        .init(status: .ok, headers: [:], body: ByteBuffer(repeating: 0x20, count: bytes))
    }

    private static func word(_ verdict: IdempotencyTable.Verdict) -> String {
        switch verdict {
        case .first: "first"
        case .again: "again"
        case .different: "different"
        case .underway: "underway"
        case .full: "full"
        }
    }

    private static let start = Timestamp(milliseconds: 0)

    @Test func whatIsUnderWayIsNotBegunTwice() {
        var table = IdempotencyTable()
        #expect(Self.word(table.begin(Self.name(1), body: [1], now: Self.start)) == "first")
        #expect(Self.word(table.begin(Self.name(1), body: [1], now: Self.start)) == "underway")
        #expect(Self.word(table.begin(Self.name(1), body: [2], now: Self.start)) == "different")
        table.finish(Self.name(1), nil)
        #expect(Self.word(table.begin(Self.name(1), body: [2], now: Self.start)) == "first")
    }

    @Test func answersAreForgottenByTimeByNumberAndByBytes() {
        var table = IdempotencyTable()
        for number in 0..<Limits.idempotencyKeysMax {
            _ = table.begin(Self.name(number), body: [], now: Self.start)
        }
        #expect(Self.word(table.begin(Self.name(-1), body: [], now: Self.start)) == "full")
        table.finish(Self.name(5), Self.answer())
        #expect(Self.word(table.begin(Self.name(-1), body: [], now: Self.start)) == "first")
        #expect(Self.word(table.begin(Self.name(5), body: [], now: Self.start)) == "full")
        for number in 0..<Limits.idempotencyKeysMax where number != 5 {
            table.finish(Self.name(number), Self.answer(bytes: Limits.idempotencyBytesMax / 4))
        }
        let last = Limits.idempotencyKeysMax - 1
        #expect(Self.word(table.begin(Self.name(last), body: [], now: Self.start)) == "again")
        #expect(Self.word(table.begin(Self.name(last - 4), body: [], now: Self.start)) == "first")
        let later = Self.start + Limits.idempotencyKept + .seconds(1)
        #expect(Self.word(table.begin(Self.name(last), body: [], now: later)) == "first")
    }
}
