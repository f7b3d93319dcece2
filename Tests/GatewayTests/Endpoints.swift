// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import ServiceLifecycle
import Synchronization

/// What a real server on loopback was asked.
struct Asked: Sendable {
    var method: String
    var path: String
    var headers: [String: String]
    var body: [UInt8]
}

private struct Answering: HTTPResponder {
    typealias Context = BasicRequestContext
    let answer: @Sendable (Asked) async throws -> Response

    func respond(to request: Request, context: Context) async throws -> Response {
        let bytes = try await request.body.collect(upTo: 4 << 20)
        var headers: [String: String] = [:]
        for field in request.headers { headers[field.name.canonicalName] = field.value }
        return try await answer(
            Asked(
                method: request.method.rawValue, path: request.uri.path, headers: headers,
                body: Array(bytes.readableBytesView)))
    }
}

/// A server that answers as `answer` says, for as long as `body` runs.
func withEndpoint<Value: Sendable>(
    _ answer: @escaping @Sendable (Asked) async throws -> Response,
    _ body: @escaping @Sendable (_ url: String) async throws -> Value
) async throws -> Value {
    let (ports, port) = AsyncStream<Int>.makeStream()
    let application = Application(
        responder: Answering(answer: answer), configuration: .init(address: .hostname("127.0.0.1", port: 0)),
        onServerRunning: { channel in port.yield(channel.localAddress?.port ?? 0) }, logger: silent)
    let group = ServiceGroup(services: [application], logger: silent)
    return try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask { try await group.run() }
        let port = await ports.first { _ in true }!
        do {
            let value = try await body("http://127.0.0.1:\(port)/hook")
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
            return value
        } catch {
            await group.triggerGracefulShutdown()
            throw error
        }
    }
}

/// Collects things that come from several tasks.
final class Collected<Element: Sendable>: Sendable {
    private let state = Mutex<[Element]>([])

    var all: [Element] { state.withLock { $0 } }
    func add(_ element: Element) { state.withLock { $0.append(element) } }
}
