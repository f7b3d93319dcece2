// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Gateway
import NIOCore
import NIOPosix
import ServiceLifecycle
import Testing

@testable import Broker

private let fuzzSeconds = ProcessInfo.processInfo.environment["FUZZ_SECONDS"].flatMap { Int($0) }

/// Publish requests that broken clients might send, over connections of the real listener. Whatever comes, the answer is a 202
/// or a problem with nothing accepted, and it is the same on every way through the server.
///
/// `FUZZ_SEED=… swift test --filter PublishFuzzTests` plays a run again; `FUZZ_SECONDS` makes it longer (`make fuzz`).
@Suite(.timeLimit(.minutes(2 + (fuzzSeconds ?? 0) / 60))) struct PublishFuzzTests {
    /// Requests of a run that isn't longer: a few seconds.
    private static let count = 400

    @Test func everyWayThroughTheServerAnswersTheSame() async throws {
        let seed =
            ProcessInfo.processInfo.environment["FUZZ_SEED"].flatMap { UInt64($0) } ?? .random(in: 0...UInt64.max)
        let deadline = fuzzSeconds.map { ContinuousClock.now + .seconds($0) }
        var random = SeededGenerator(seed: seed)
        let broker = FakeBroker()
        let gateway = gateway(broker)
        let group = ServiceGroup(services: [gateway], logger: silent)
        async let running: Void = group.run()
        let port = try #require(await gateway.port())
        var played = 0
        var statuses: [Int: Int] = [:]
        // One for each way: what the loop doesn't take turns its connection over to the parser for good.
        var connections: [FuzzedRequest.Way: RawConnection] = [:]
        while deadline.map({ ContinuousClock.now < $0 }) ?? (played < Self.count) {
            let request = FuzzedRequest(&random)
            var answers: [(way: FuzzedRequest.Way, answer: RawConnection.Answer, events: [Event]?)] = []
            for way in FuzzedRequest.Way.allCases.shuffled(using: &random) {
                broker.with { $0.published = [] }
                let open: RawConnection
                if let known = connections[way] { open = known } else { open = try await RawConnection(port) }
                let answer = try await open.exchange(request.bytes(way, &random))
                let isKept = !answer.isLast && Int.random(in: 0..<4, using: &random) > 0
                connections[way] = isKept ? open : nil
                if !isKept { await open.close() }
                let batches = broker.with { $0.published }
                let events = batches.first.map { batch in (0..<batch.count).map { batch[$0].event } }
                Self.check(answer, batches.count, events, "seed \(seed), request \(played), \(way)\n\(request.shown)")
                answers.append((way, answer, events))
            }
            for other in answers.dropFirst() {
                let first = answers[0]
                let place = "seed \(seed), request \(played), \(first.way) and \(other.way)\n\(request.shown)"
                #expect(other.answer == first.answer, "\(place)")
                #expect(other.events?.map(Self.withoutMadeID) == first.events?.map(Self.withoutMadeID), "\(place)")
            }
            statuses[answers[0].answer.status, default: 0] += 1
            played += 1
        }
        for connection in connections.values { await connection.close() }
        await group.triggerGracefulShutdown()
        try await running
        #expect(broker.with { $0.publishedOnLoop } > 0, "seed \(seed): nothing took the way over the loop")
        #expect((statuses[202] ?? 0) > 0 && (statuses[400] ?? 0) > 0, "seed \(seed): \(statuses)")
        if fuzzSeconds != nil { print("seed \(seed): \(played) requests, three ways each; \(statuses)") }
    }

    private static func check(
        _ answer: RawConnection.Answer, _ batches: Int, _ events: [Event]?, _ place: String
    ) {
        if answer.status == 202 {
            let accepted = try? JSONDecoder().decode(Accepted.self, from: Data(answer.body))
            // An empty batch is accepted as nothing; else the answer is the fake broker's.
            #expect(accepted?.accepted == (events == nil ? 0 : 1), "\(place)")
            #expect(batches == (events == nil ? 0 : 1), "\(place)")
            for event in events ?? [] {
                do {
                    #expect(try Event(json: event.json) == event, "\(place)")
                } catch {
                    Issue.record("what was accepted can't be read again: \(error)\n\(place)")
                }
            }
        } else {
            #expect([400, 413, 415].contains(answer.status), "\(answer.status)\n\(place)")
            #expect(batches == 0, "refused, and accepted in part\n\(place)")
            #expect(answer.headers["content-type"] == "application/problem+json", "\(place)")
            let problem = try? JSONDecoder().decode(BatchRefusalTests.Refusal.self, from: Data(answer.body))
            #expect(problem?.status == answer.status && problem?.detail.isEmpty == false, "\(place)")
        }
    }

    private struct Accepted: Decodable {
        var accepted: Int
    }

    /// An id that the server made is another each time.
    private static func withoutMadeID(_ event: Event) -> Event {
        var event = event
        if event.id.utf8.count == 26 { event.id = "made" }
        return event
    }
}

/// One connection, and whole answers to what is sent on it.
private final class RawConnection {
    struct Answer: Equatable {
        var status: Int
        /// Names in lower case, without those that differ from answer to answer.
        var headers: [String: String]
        var body: [UInt8]

        var isLast: Bool { headers["connection"] == "close" }
    }

    private struct Broken: Error {}

    private let channel: any Channel
    private var iterator: AsyncThrowingStream<ByteBuffer, any Error>.Iterator
    private var received: [UInt8] = []

    init(_ port: Int) async throws {
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: ByteBuffer.self, throwing: (any Error).self)
        channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Receiver(continuation))
                }
            }.connect(host: "127.0.0.1", port: port).get()
        iterator = stream.makeAsyncIterator()
    }

    func close() async {
        try? await channel.close()
    }

    func exchange(_ bytes: [UInt8]) async throws -> Answer {
        try await channel.writeAndFlush(ByteBuffer(bytes: bytes))
        while true {
            if let answer = take() { return answer }
            guard let chunk = try await iterator.next() else { throw Broken() }
            received += Array(buffer: chunk)
        }
    }

    private func take() -> Answer? {
        guard let end = received.firstRange(of: Array("\r\n\r\n".utf8)) else { return nil }
        let lines = String(decoding: received[..<end.lowerBound], as: UTF8.self).split(separator: "\r\n")
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].drop { $0 == " " }.description
        }
        let length = headers["content-length"].flatMap { Int($0) } ?? 0
        guard received.count >= end.upperBound + length else { return nil }
        let body = Array(received[end.upperBound..<(end.upperBound + length)])
        received.removeFirst(end.upperBound + length)
        headers["date"] = nil
        let status = lines.first?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        return Answer(status: status, headers: headers, body: body)
    }

    private final class Receiver: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private let continuation: AsyncThrowingStream<ByteBuffer, any Error>.Continuation

        init(_ continuation: AsyncThrowingStream<ByteBuffer, any Error>.Continuation) {
            self.continuation = continuation
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) { continuation.yield(unwrapInboundIn(data)) }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { continuation.finish(throwing: error) }

        func channelInactive(context: ChannelHandlerContext) { continuation.finish() }
    }
}
