// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Synchronization

/// An HTTP endpoint on a thread of its own that takes everything, and remembers it.
final class Sink: Sendable {
    struct Request: Sendable {
        /// `POST /path`
        var line: String
        /// The `ce-id` header.
        var id: String
        var body: [UInt8]
    }

    let port: Int
    private let listener: Int32
    private let seen = Mutex<[Request]>([])

    var requests: [Request] { seen.withLock { $0 } }

    init(port: Int? = nil) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var one: Int32 = 1
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        let bound = try Loopback.bind(listener, port: port ?? 0)
        guard listen(listener, 64) == 0 else { throw Loopback.Broken() }
        self.listener = listener
        self.port = bound
        Thread { [weak self] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0, let self else { return }
                Thread { self.serve(connection) }.start()
            }
        }.start()
    }

    deinit {
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
                seen.withLock { $0.append(request) }
                let answer = Array("HTTP/1.1 204 No Content\r\n\r\n".utf8)
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
        func header(_ name: String) -> String? {
            head.first { $0.lowercased().hasPrefix(name + ":") }
                .map { $0.dropFirst(name.count + 1).trimmingCharacters(in: .whitespaces) }
        }
        let length = header("content-length").flatMap { Int($0) } ?? 0
        guard bytes.count >= end.upperBound + length else { return nil }
        let body = Array(bytes[end.upperBound..<(end.upperBound + length)])
        let line = head.first?.split(separator: " ").prefix(2).joined(separator: " ") ?? ""
        return (Request(line: line, id: header("ce-id") ?? "", body: body), Array(bytes[(end.upperBound + length)...]))
    }
}
