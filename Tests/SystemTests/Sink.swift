// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Synchronization

/// An HTTP endpoint on a thread of its own that takes everything, or answers as it was told to, and remembers it.
final class Sink: Sendable {
    struct Request: Sendable {
        /// `POST /path`
        var line: String
        /// The `ce-id` header.
        var id: String
        var method: String
        var body: [UInt8]
        /// Names in lower case.
        var headers: [String: String]
    }

    let port: Int
    private let listener: Int32
    private let seen = Mutex<[Request]>([])
    /// Status line and headers.
    private let answer = Mutex("204 No Content")
    private let respond: (@Sendable (Request) -> String)?
    private let remembers: Bool

    var requests: [Request] { seen.withLock { $0 } }

    /// While it holds, requests are remembered and not answered.
    private let gate = NSCondition()
    nonisolated(unsafe) private var isHolding = false  // Guarded by `gate`.

    func hold(_ isHolding: Bool = true) {
        gate.withLock {
            self.isHolding = isHolding
            gate.broadcast()
        }
    }

    private func waitWhileHeld() {
        gate.withLock { while isHolding { gate.wait() } }
    }

    /// `503 Unavailable`, with headers behind line breaks.
    func answer(_ head: String) { answer.withLock { $0 = head } }

    /// `respond` answers each request in place of ``answer(_:)``, on the thread of its connection. One that runs for long
    /// has no room to remember them.
    init(port: Int? = nil, remembers: Bool = true, respond: (@Sendable (Request) -> String)? = nil) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var one: Int32 = 1
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        let bound = try Loopback.bind(listener, port: port ?? 0)
        guard listen(listener, 64) == 0 else { throw Loopback.Broken() }
        self.listener = listener
        self.port = bound
        self.respond = respond
        self.remembers = remembers
        Thread { [weak self] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0, let self else { return }
                Thread { self.serve(connection) }.start()
            }
        }.start()
    }

    deinit {
        hold(false)
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    /// Answers one request after the other until the client closes.
    private func serve(_ connection: Int32) {
        defer { close(connection) }
        var received: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            if let (request, rest) = Self.request(in: received) {
                received = rest
                if remembers { seen.withLock { $0.append(request) } }
                waitWhileHeld()
                let head = (respond?(request) ?? answer.withLock { $0 }).replacing("\n", with: "\r\n")
                let length = head.hasPrefix("204") ? "" : "\r\nContent-Length: 0"
                let answer = Array("HTTP/1.1 \(head)\(length)\r\n\r\n".utf8)
                guard send(connection, answer, answer.count, Int32(MSG_NOSIGNAL)) == answer.count else { return }
                continue
            }
            let count = recv(connection, &buffer, buffer.count, 0)
            guard count > 0 else { return }
            received += buffer[..<count]
        }
    }

    private static func request(in bytes: [UInt8]) -> (Request, rest: [UInt8])? {
        guard let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else { return nil }
        let head = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).split(separator: "\r\n")
        var headers: [String: String] = [:]
        for line in head.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(
                in: .whitespaces)
        }
        let length = headers["content-length"].flatMap { Int($0) } ?? 0
        guard bytes.count >= end.upperBound + length else { return nil }
        let body = Array(bytes[end.upperBound..<(end.upperBound + length)])
        let line = head.first?.split(separator: " ").prefix(2).joined(separator: " ") ?? ""
        let request = Request(
            line: line, id: headers["ce-id"] ?? "", method: head.first.map { String($0.prefix { $0 != " " }) } ?? "",
            body: body,
            headers: headers)
        return (request, Array(bytes[(end.upperBound + length)...]))
    }
}
