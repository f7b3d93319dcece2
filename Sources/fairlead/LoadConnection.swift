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
        try exchange(request) { _ in }
    }

    /// Sends a whole request, reads a whole answer and shows its body; its status.
    func exchange(_ request: [UInt8], _ body: (UnsafeRawBufferPointer) -> Void) throws -> Int {
        var sent = 0
        while sent < request.count {
            let count = request.withUnsafeBytes {
                send(socket, $0.baseAddress! + sent, request.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failed(what: "send: \(String(cString: strerror(errno)))") }
            sent += count
        }
        var received = 0
        var head: Head?
        while true {
            if received == buffer.count { buffer += [UInt8](repeating: 0, count: buffer.count) }
            let count = buffer.withUnsafeMutableBytes {
                recv(socket, $0.baseAddress! + received, $0.count - received, 0)
            }
            guard count > 0 else { throw Failed(what: "the server closed the connection") }
            received += count
            head = head ?? Head(buffer, received)
            guard let head, received >= head.end + head.length else {
                guard received <= Self.answerBytesMax else {
                    throw Failed(what: "an answer of over \(Self.answerBytesMax) bytes")
                }
                continue
            }
            buffer.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[head.end..<(head.end + head.length)])) }
            return head.status
        }
    }

    /// More than any answer that a bench asks for.
    private static let answerBytesMax = 64 << 20

    private struct Head {
        var status: Int
        /// Where the body starts, and its bytes.
        var end: Int
        var length: Int

        /// nil where not all of it has come.
        init?(_ buffer: [UInt8], _ received: Int) {
            let blank = buffer.withUnsafeBytes {
                ByteSearch("\r\n\r\n").place(in: UnsafeRawBufferPointer(rebasing: $0[..<received]))
            }
            guard let end = blank.map({ $0 + 4 }) else { return nil }
            let lines = String(decoding: buffer[..<end], as: UTF8.self).split(separator: "\r\n")
            self.end = end
            status = lines.first.flatMap { Int($0.split(separator: " ")[1]) } ?? 0
            length =
                lines.first { $0.lowercased().hasPrefix("content-length:") }
                .flatMap { Int($0.split(separator: ":")[1].trimmingCharacters(in: .whitespaces)) } ?? 0
        }
    }
}
