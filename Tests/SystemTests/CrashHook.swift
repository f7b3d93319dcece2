// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// The endpoint that `hook` posts to: it fails as often as an event says, and remembers what came when.
final class CrashHook: Sendable {
    private struct State {
        var trail = DeliveryTrail()
        var attempts: [String: Int] = [:]
        /// What is being answered, by life and key.
        var busy: [String: String] = [:]
    }

    private struct Order: Decodable {
        var key: String
        var fails: Int
        var sent: Int
        var delay: Int

        private enum CodingKeys: String, CodingKey {
            case key = "order_id"
            case fails, sent, delay
        }
    }

    /// Longer than nothing, so that two of a key at once would be seen.
    private static let work: useconds_t = 1_000

    private let state = Mutex(State())

    var trail: DeliveryTrail { state.withLock { $0.trail } }

    func respond(_ request: Sink.Request) -> String {
        guard let order = try? JSONDecoder().decode(Order.self, from: Data(request.body)) else {
            state.withLock {
                $0.trail.complain("a request with the body \(String(decoding: request.body, as: UTF8.self))")
            }
            return "400 Bad Request"
        }
        let life = request.headers["x-life"] ?? ""
        let place = "\(life) \(order.key)"
        let isEarly = Int(Date().timeIntervalSince1970 * 1_000) < order.sent + order.delay
        let fails = state.withLock { state in
            state.attempts[request.id, default: 0] += 1
            let fails = state.attempts[request.id]! <= order.fails
            state.trail.append(.init(life: life, id: request.id, outcome: fails ? .again : .settled))
            if isEarly { state.trail.complain("\(request.id) came too early") }
            if let other = state.busy[place] {
                state.trail.complain("\(request.id) came while \(other) of its key was at work")
            }
            state.busy[place] = request.id
            return fails
        }
        usleep(Self.work)
        state.withLock { $0.busy[place] = nil }
        return fails ? "503 Busy" : "204 No Content"
    }
}
