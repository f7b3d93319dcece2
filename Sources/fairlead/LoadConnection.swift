// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc

/// One connection of the load generator: blocking, on a thread of its own, and doing no more than it must, so that it is
/// the server that is measured.
final class LoadConnection {
    private let socket: Int32
    private var buffer = [UInt8](repeating: 0, count: 16 << 10)

    struct Failed: Error, CustomStringConvertible {
        var what: String
        var description: String { what }
    }

    init(port: Int) throws {
        socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard socket >= 0 else { throw Failed(what: "socket: \(String(cString: strerror(errno)))") }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Failed(what: "connect to port \(port): \(String(cString: strerror(errno)))") }
        var one: Int32 = 1
        setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
    }

    deinit {
        close(socket)
    }

    /// Sends a whole request and reads a whole answer; its status.
    func exchange(_ request: [UInt8]) throws -> Int {
        var sent = 0
        while sent < request.count {
            let count = request.withUnsafeBytes {
                send(socket, $0.baseAddress! + sent, request.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failed(what: "send: \(String(cString: strerror(errno)))") }
            sent += count
        }
        var received = 0
        while true {
            let count = buffer.withUnsafeMutableBytes {
                recv(socket, $0.baseAddress! + received, $0.count - received, 0)
            }
            guard count > 0 else { throw Failed(what: "the server closed the connection") }
            received += count
            if let status = complete(received) { return status }
            guard received < buffer.count else { throw Failed(what: "an answer of over \(buffer.count) bytes") }
        }
    }

    /// The status, once the head and the body that its Content-Length announces are there.
    private func complete(_ received: Int) -> Int? {
        let bytes = buffer[..<received]
        guard let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else { return nil }
        let head = String(decoding: bytes[..<end.lowerBound], as: UTF8.self)
        let length =
            head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }
            .flatMap { Int($0.split(separator: ":")[1].trimmingCharacters(in: .whitespaces)) } ?? 0
        guard received >= end.upperBound + length else { return nil }
        return Int(head.split(separator: " ")[1])
    }
}
