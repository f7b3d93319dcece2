// SPDX-License-Identifier: Apache-2.0

import Crypto
import Events
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore
import Synchronization

/// `Idempotency-Key` on administration's POST requests: the same key with the same body gets the first answer again, and
/// nothing is done twice. Publishing has `dedupe` for that, and settling its leases.
final class Idempotency: Sendable {
    private let table = Mutex(IdempotencyTable())
    private let clock: any Events.Clock

    init(clock: any Events.Clock) {
        self.clock = clock
    }

    func answer(_ exchange: Exchange, by endpoint: Endpoint) async throws -> Response {
        guard endpoint.method == .post, case .admin = endpoint.need, let key = exchange.headers[.idempotencyKey] else {
            return try await endpoint.handle(exchange)
        }
        guard (1...Limits.idempotencyKeyBytesMax).contains(key.utf8.count),
            key.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else {
            throw Problem.malformed(
                "the Idempotency-Key has \(key.utf8.count) bytes; send 1 to \(Limits.idempotencyKeyBytesMax) visible "
                    + "characters of ASCII, such as a UUID")
        }
        let bytes = try await exchange.body(upTo: Limits.requestBytesMax)
        let body = bytes.withBytes { ByteBuffer(bytes: $0) }
        let name = IdempotencyTable.Name(
            key: key, target: exchange.request.uri.string,
            client: Array(SHA256.hash(data: Array((exchange.headers[.authorization] ?? "").utf8))))
        let digest = Array(SHA256.hash(data: Array(body.readableBytesView)))
        let now = clock.now()
        switch table.withLock({ $0.begin(name, body: digest, now: now) }) {
        case .first: break
        case .again(let answer):
            var headers = answer.headers
            headers[.idempotencyReplayed] = "true"
            return Response(status: answer.status, headers: headers, body: ResponseBody(byteBuffer: answer.body))
        case .different:
            throw Problem(
                .unprocessableContent, type: "idempotency-key-reused", title: "Idempotency-Key reused",
                detail:
                    "the Idempotency-Key \"\(key)\" came with another body before; choose another key for another request"
            )
        case .underway:
            var problem = Problem(
                Failure(
                    .conflict,
                    "the request with the Idempotency-Key \"\(key)\" is being carried out; ask again in a moment"))
            problem.headers[.retryAfter] = String(Limits.retryAfterSeconds)
            throw problem
        case .full:
            throw Failure(
                .overloaded,
                "\(Limits.idempotencyKeysMax) requests with an Idempotency-Key are under way; try again in a moment")
        }
        var answer: IdempotencyTable.Answer?
        defer { table.withLock { $0.finish(name, answer) } }
        var request = exchange.request
        request.body = RequestBody(buffer: body)
        var response: Response
        do {
            response = try await endpoint.handle(Exchange(request: request, parameters: exchange.parameters))
        } catch let problem as Problem {
            response = problem.response
        } catch let failure as Failure {
            response = Problem(failure).response
        }
        let written = Written()
        try await response.body.write(Recorder(written))
        let answered = written.bytes.withLock { $0 }
        response.body = ResponseBody(byteBuffer: answered)
        // What failed on this side wasn't carried out, and may go well the next time.
        if response.status.kind != .serverError {
            answer = IdempotencyTable.Answer(status: response.status, headers: response.headers, body: answered)
        }
        return response
    }
}

/// What an answer's body writes.
private final class Written: Sendable {
    let bytes = Mutex(ByteBuffer())
}

private struct Recorder: ResponseBodyWriter {
    private let written: Written

    init(_ written: Written) {
        self.written = written
    }

    mutating func write(_ buffer: ByteBuffer) async throws {
        _ = written.bytes.withLock { $0.writeImmutableBuffer(buffer) }
    }

    consuming func finish(_ trailingHeaders: HTTPFields?) async throws {}
}

extension HTTPField.Name {
    fileprivate static let idempotencyKey = Self("Idempotency-Key")!
    fileprivate static let idempotencyReplayed = Self("Idempotency-Replayed")!
}
