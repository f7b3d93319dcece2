// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// Clients that pull and settle as fast as they are served.
struct PullLoad {
    var port: Int
    var subscriber: String
    var batch: Int

    /// Enough that one pulls while another settles; more only wait for each other.
    static let connections = 4

    private final class Shared: Sendable {
        let settled = Atomic(0)
        let failure = Mutex<String?>(nil)
    }

    /// Pulls and settles `count` events, which are there already; seconds until the last is settled.
    func run(_ count: Int) throws -> Double {
        let shared = Shared()
        let group = DispatchGroup()
        let start = ContinuousClock.now
        for _ in 0..<Self.connections {
            group.enter()
            let thread = Thread {
                defer { group.leave() }
                do {
                    try pull(count, shared)
                } catch {
                    let text = "\(error)"
                    shared.failure.withLock { $0 = text }
                }
            }
            thread.start()
        }
        Bench.wait(for: group) {
            Console.progress(shared.settled.load(ordering: .relaxed), of: count, "pulled and settled")
        }
        let message: String? = shared.failure.withLock { $0 }
        if let message { throw LoadConnection.Failed(what: message) }
        return (ContinuousClock.now - start) / .seconds(1)
    }

    private func pull(_ count: Int, _ shared: Shared) throws {
        let connection = try LoadConnection(port: port)
        let pull = request("pull", Array(#"{"max":\#(batch),"wait":"100ms"}"#.utf8))
        while shared.settled.load(ordering: .relaxed) < count {
            var leases: [UInt8] = []
            var number = 0
            let status = try connection.exchange(pull) { body in
                Self.eachLease(in: body) { lease in
                    leases += number == 0 ? Array(#"{"ack":["#.utf8) : [UInt8(ascii: ",")]
                    leases.append(UInt8(ascii: "\""))
                    leases += lease
                    leases.append(UInt8(ascii: "\""))
                    number += 1
                }
            }
            guard status == 200 else { throw LoadConnection.Failed(what: "pull: status \(status)") }
            guard number > 0 else { continue }
            leases += Array("]}".utf8)
            var done = 0
            let settled = try connection.exchange(request("settle", leases)) { done = Self.count(#""done""#, in: $0) }
            guard settled == 200, done == number else {
                throw LoadConnection.Failed(what: "settle: status \(settled), \(done) of \(number) done")
            }
            shared.settled.add(number, ordering: .relaxed)
        }
    }

    func request(_ verb: String, _ body: [UInt8]) -> [UInt8] {
        Array(
            ("POST /v1/subscribers/\(subscriber)/\(verb) HTTP/1.1\r\nHost: localhost\r\n"
                + "Content-Type: application/json\r\nContent-Length: \(body.count)\r\n\r\n").utf8) + body
    }

    /// Without parsing the events: they are the server's work, and hold no such text.
    static func eachLease(in body: UnsafeRawBufferPointer, _ use: (UnsafeRawBufferPointer) -> Void) {
        let name = ByteSearch(#""lease":""#)
        var at = 0
        while let start = name.place(in: body, from: at) {
            let value = body[(start + name.count)...].prefix(64)
            guard let end = value.firstIndex(of: UInt8(ascii: "\"")) else { return }
            use(UnsafeRawBufferPointer(rebasing: body[value.startIndex..<end]))
            at = end
        }
    }

    private static func count(_ text: String, in body: UnsafeRawBufferPointer) -> Int {
        let search = ByteSearch(text)
        var count = 0
        var at = 0
        while let start = search.place(in: body, from: at) {
            count += 1
            at = start + search.count
        }
        return count
    }
}
