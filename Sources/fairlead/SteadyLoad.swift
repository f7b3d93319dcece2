// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Synchronization

/// Events at a steady rate, one in a request, over a few connections that take turns.
final class SteadyLoad: Sendable {
    private let port: Int
    private let perSecond: Int
    private let event: @Sendable () -> [UInt8]
    private let isOver = Atomic(false)
    private let group = DispatchGroup()
    private let failed = Mutex<String?>(nil)

    /// How late a request may be begun because of sleeping.
    private static let sleepMicroseconds: useconds_t = 100

    /// `event` makes each just before it is sent.
    init(port: Int, perSecond: Int, event: @escaping @Sendable () -> [UInt8]) {
        self.port = port
        self.perSecond = perSecond
        self.event = event
    }

    var failure: String? { failed.withLock { $0 } }

    func start(connections: Int) {
        for number in 0..<connections {
            group.enter()
            Thread { [self] in
                defer { group.leave() }
                do {
                    try publish(after: Int64(number) * 1_000_000_000 / Int64(perSecond * connections))
                } catch {
                    let text = "\(error)"
                    failed.withLock { $0 = text }
                }
            }.start()
        }
    }

    func stop() {
        isOver.store(true, ordering: .relaxed)
        group.wait()
    }

    private func publish(after delay: Int64) throws {
        let connection = try LoadConnection(port: port)
        let start = Self.now() + delay
        var number: Int64 = 0
        while !isOver.load(ordering: .relaxed) {
            let due = start + number * 1_000_000_000 / Int64(perSecond)
            while Self.now() < due { usleep(Self.sleepMicroseconds) }
            number += 1
            let body = event()
            let head =
                "POST /v1/topics/orders/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                + "Content-Length: \(body.count)\r\n\r\n"
            let status = try connection.exchange(Array(head.utf8) + body)
            guard status == 202 else { throw LoadConnection.Failed(what: "publish: status \(status)") }
        }
    }

    /// Nanoseconds of the monotonic clock.
    static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}

/// Reads `handled TIME` out of a server's log and remembers how long ago that time is, in milliseconds; everything else
/// that the server says is passed on.
final class HandledReader: Sendable {
    private let latencies = Mutex<[Double]>([])

    init(_ log: FileHandle) {
        Thread { [self] in read(log.fileDescriptor) }.start()
    }

    /// Those since the last call.
    func take() -> [Double] {
        latencies.withLock { latencies in
            defer { latencies = [] }
            return latencies
        }
    }

    private func read(_ log: Int32) {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        var pending: [UInt8] = []
        let word = Array("handled ".utf8)
        while case let count = Glibc.read(log, &buffer, buffer.count), count > 0 {
            let now = SteadyLoad.now()
            pending += buffer[..<count]
            var found: [Double] = []
            while let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                let line = pending[..<end]
                if let place = line.firstRange(of: word)?.upperBound {
                    let digits = line[place...].prefix { (0x30...0x39).contains($0) }
                    let sent = digits.reduce(Int64(0)) { $0 * 10 + Int64($1 - 0x30) }
                    found.append(Double(now - sent) / 1e6)
                } else {
                    Console.complain(String(decoding: line, as: UTF8.self))
                }
                pending.removeSubrange(...end)
            }
            latencies.withLock { $0 += found }
        }
    }
}
