// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc

/// HTTP over a plain socket: a test can see exactly which request was answered before the server was killed.
enum Loopback {
    struct Answer: Sendable {
        var status: Int
        var head: String
        var body: [UInt8]

        var text: String { String(decoding: body, as: UTF8.self) }
        var object: [String: Any] {
            get throws { try JSONSerialization.jsonObject(with: Data(body)) as? [String: Any] ?? [:] }
        }
    }

    struct Broken: Error {}

    /// How long the other side may say nothing, in seconds: longer than anything here waits for.
    private static let silenceMost = 120

    static func freePort() throws -> Int {
        let probe = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(probe) }
        return try bind(probe, port: 0)
    }

    /// Binds to `port` on loopback, or for 0 to a free one; which one it is.
    static func bind(_ socket: Int32, port: Int) throws -> Int {
        var address = address(port: port)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.bind(socket, $0, length) == 0 && getsockname(socket, $0, &length) == 0
            }
        }
        guard isBound else { throw Broken() }
        return Int(in_port_t(bigEndian: address.sin_port))
    }

    private static func address(port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        return address
    }

    /// One request on a connection of its own.
    static func send(
        _ method: String, _ port: Int, _ path: String, body: [UInt8]? = nil, type: String = "application/json",
        headers: [String] = []
    ) async throws -> Answer {
        var head = "\(method) \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        for header in headers { head += header + "\r\n" }
        if let body { head += "Content-Type: \(type)\r\nContent-Length: \(body.count)\r\n" }
        let request = Array((head + "\r\n").utf8) + (body ?? [])
        return try await withCheckedThrowingContinuation { continuation in
            let thread = Thread { continuation.resume(with: Result { try exchange(request, port) }) }
            thread.start()
        }
    }

    private static func exchange(_ request: [UInt8], _ port: Int) throws -> Answer {
        let connection = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(connection) }
        // One that hangs fails the test, and not the whole run: a thread that waits can't be cancelled.
        var patience = timeval(tv_sec: silenceMost, tv_usec: 0)
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var address = address(port: port)
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(connection, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Broken() }
        var sent = 0
        while sent < request.count {
            let count = request.withUnsafeBytes {
                Glibc.send(connection, $0.baseAddress! + sent, request.count - sent, Int32(MSG_NOSIGNAL))
            }
            // The server may refuse before it has read all; its answer says why.
            guard count > 0 else { break }
            sent += count
        }
        var received: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = recv(connection, &buffer, buffer.count, 0)
            if count <= 0 { break }
            received += buffer[..<count]
            // Not every server closes when it has said that it would.
            if isWhole(received) { break }
        }
        guard let end = received.firstRange(of: Array("\r\n\r\n".utf8)) else { throw Broken() }
        let head = String(decoding: received[..<end.lowerBound], as: UTF8.self)
        guard let status = head.split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else { throw Broken() }
        var body = Array(received[end.upperBound...])
        if head.lowercased().contains("transfer-encoding: chunked") { body = unchunked(body) }
        return Answer(status: status, head: head, body: body)
    }

    private static func isWhole(_ received: [UInt8]) -> Bool {
        guard let end = received.firstRange(of: Array("\r\n\r\n".utf8)) else { return false }
        let head = String(decoding: received[..<end.lowerBound], as: UTF8.self).lowercased()
        let line = head.split(separator: "\r\n").first { $0.hasPrefix("content-length:") }
        let length = line.flatMap { Int($0.dropFirst("content-length:".count).trimmingPrefix(while: \.isWhitespace)) }
        return length.map { received.count - end.upperBound >= $0 } ?? false
    }

    private static func unchunked(_ bytes: [UInt8]) -> [UInt8] {
        var body: [UInt8] = []
        var rest = bytes[...]
        while let line = rest.firstRange(of: Array("\r\n".utf8)),
            let size = Int(String(decoding: rest[..<line.lowerBound], as: UTF8.self), radix: 16), size > 0
        {
            body += rest[line.upperBound..<(line.upperBound + size)]
            rest = rest[(line.upperBound + size + 2)...]
        }
        return body
    }
}
