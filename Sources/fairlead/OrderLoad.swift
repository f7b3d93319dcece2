// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// Events of a thousand keys at a steady rate, pulled and settled as they come; one key may be poisoned: each of its
/// events is asked to be retried, so that its followers wait.
struct OrderLoad {
    var port: Int
    /// Events in one request, and requests a second: 5,000 events/s, well below what the server can do, since it is
    /// waiting that is measured and not work.
    static let batch = 20
    static let requestsPerSecond = 250
    static let keys = 1_000
    static let poison = "k0"

    private struct Shared {
        var isOver = false
        var latencies: [Double] = []
        var failure: String?
    }

    /// Milliseconds from just before an event's publish to its delivery, of all keys but the poisoned, at the 99th percentile.
    func p99(seconds: Int, poisoned: Bool) throws -> Double {
        let shared = Monitored(Shared())
        let group = DispatchGroup()
        func work(_ body: @escaping @Sendable () throws -> Void) {
            group.enter()
            Thread {
                defer { group.leave() }
                do {
                    try body()
                } catch {
                    let text = "\(error)"
                    shared.with { $0.failure = text }
                }
            }.start()
        }
        work {
            // However it ends, nobody waits for more.
            defer { shared.with { $0.isOver = true } }
            try publish(seconds: seconds, poisoned: poisoned)
        }
        work { try pull(shared, poisoned: poisoned) }
        group.wait()
        return try shared.with { shared in
            if let failure = shared.failure { throw LoadConnection.Failed(what: failure) }
            let sorted = shared.latencies.sorted()
            return sorted.isEmpty ? 0 : sorted[sorted.count * 99 / 100]
        }
    }

    private final class Monitored: Sendable {
        private let state: Mutex<Shared>
        init(_ shared: sending Shared) { state = Mutex(shared) }
        func with<Value: Sendable>(_ body: (inout Shared) throws -> Value) rethrows -> Value {
            try state.withLock { try body(&$0) }
        }
    }

    private func publish(seconds: Int, poisoned: Bool) throws {
        let connection = try LoadConnection(port: port)
        var number = 0
        let start = SteadyLoad.now()
        for request in 0..<(seconds * Self.requestsPerSecond) {
            let due = start + Int64(request) * 1_000_000_000 / Int64(Self.requestsPerSecond)
            while SteadyLoad.now() < due { usleep(200) }
            var lines = ""
            for _ in 0..<Self.batch {
                // What is poisoned is a key of its own, so that both runs have the same others.
                let key = number % Self.keys
                let name = key == 0 && !poisoned ? "clean" : "k\(key)"
                lines += "{\"order_id\":\"\(name)\",\"sent\":\(SteadyLoad.now())}\n"
                number += 1
            }
            let body = Array(lines.utf8)
            let head =
                "POST /v1/topics/keyed/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
                + "Content-Length: \(body.count)\r\n\r\n"
            let status = try connection.exchange(Array(head.utf8) + body)
            guard status == 202 else { throw LoadConnection.Failed(what: "publish: status \(status)") }
        }
    }

    private func pull(_ shared: Monitored, poisoned: Bool) throws {
        let load = PullLoad(port: port, subscriber: "keeper", batch: 500)
        let connection = try LoadConnection(port: port)
        let (key, sent) = (ByteSearch(#""order_id":""#), ByteSearch(#""sent":"#))
        let request = load.request("pull", Array(#"{"max":500,"wait":"200ms"}"#.utf8))
        while true {
            let isOver = shared.with { $0.isOver }
            var (acks, retries): ([String], [String]) = ([], [])
            var latencies: [Double] = []
            let status = try connection.exchange(request) { body in
                let now = SteadyLoad.now()
                PullLoad.eachLease(in: body) { lease in
                    let name = String(decoding: lease, as: UTF8.self)
                    let from = lease.baseAddress! - body.baseAddress!
                    guard let keyAt = key.place(in: body, from: from), let sentAt = sent.place(in: body, from: keyAt)
                    else { return }
                    let keyName = body[(keyAt + key.count)...].prefix { $0 != UInt8(ascii: "\"") }
                    let digits = body[(sentAt + sent.count)...].prefix { (0x30...0x39).contains($0) }
                    if keyName.elementsEqual(Self.poison.utf8) {
                        // What a run with the poison left behind is cleared away by the next without.
                        if poisoned { retries.append(name) } else { acks.append(name) }
                    } else {
                        acks.append(name)
                        let moment = digits.reduce(Int64(0)) { $0 * 10 + Int64($1 - 0x30) }
                        latencies.append(Double(now - moment) / 1e6)
                    }
                }
            }
            guard status == 200 else { throw LoadConnection.Failed(what: "pull: status \(status)") }
            let found = latencies
            shared.with { $0.latencies += found }
            if acks.isEmpty, retries.isEmpty {
                if isOver { return }
                continue
            }
            if acks.isEmpty, isOver { return }
            func list(_ names: [String]) -> String { names.map { "\"\($0)\"" }.joined(separator: ",") }
            let body = "{\"ack\":[\(list(acks))],\"retry\":[\(list(retries))]}"
            let settled = try connection.exchange(load.request("settle", Array(body.utf8)))
            guard settled == 200 else { throw LoadConnection.Failed(what: "settle: status \(settled)") }
        }
    }
}
