// SPDX-License-Identifier: Apache-2.0

import Foundation
import Journal

/// Publishes in one of the ways there are until the server is gone, and remembers which requests were answered with 202.
struct CrashPublisher: Sendable {
    enum Form: Int, CaseIterable, Sendable {
        case single, batch, lines

        var events: ClosedRange<Int> {
            switch self {
            case .single: 1...1
            case .batch: 2...8
            case .lines: 2...20
            }
        }

        /// Between two requests, so that the subscribers nearly keep up.
        var pause: Duration {
            switch self {
            case .single: .milliseconds(4)
            case .batch: .milliseconds(20)
            case .lines: .milliseconds(45)
            }
        }

        var type: String {
            switch self {
            case .single: "application/cloudevents+json"
            case .batch: "application/cloudevents-batch+json"
            case .lines: "application/x-ndjson"
            }
        }

        func body(_ orders: [String]) -> String {
            switch self {
            case .single: orders[0]
            case .batch: "[\(orders.joined(separator: ","))]"
            case .lines: orders.joined(separator: "\n")
            }
        }
    }

    struct Request: Sendable {
        var ids: [String]
        var body: String
        var isAccepted = false
        var strange: String?
    }

    let form: Form
    private(set) var requests: [Request] = []
    private var random: SeededRandom

    init(_ form: Form, seed: UInt64) {
        self.form = form
        random = SeededRandom(seed: seed &+ UInt64(form.rawValue))
    }

    /// A publisher that got no answer sends the same again, or has lost its memory.
    mutating func publishUntilGone(_ port: Int) async {
        if let last = requests.indices.last, !requests[last].isAccepted, random.chance(60) {
            guard await send(last, port) else { return }
        }
        while true {
            let place = requests.count
            let ids = (0..<Int.random(in: form.events, using: &random)).map { "\(form)-\(place)-\($0)" }
            let orders = ids.map { CrashOrder($0, random: &random).json }
            requests.append(Request(ids: ids, body: form.body(orders)))
            guard await send(place, port) else { return }
            try? await Task.sleep(for: form.pause)
        }
    }

    private mutating func send(_ place: Int, _ port: Int) async -> Bool {
        let answer = try? await Loopback.send(
            "POST", port, "/v1/topics/orders/events", body: Array(requests[place].body.utf8), type: form.type)
        guard let answer else { return false }
        if answer.status == 202 {
            requests[place].isAccepted = true
        } else if answer.status != 503 {
            requests[place].strange = "\(answer.status): \(answer.text)"
        }
        return true
    }

    /// What is lost, halved or torn apart of what was sent; `places` are the events of the journal.
    func violations(_ places: [String: Int]) -> [String] {
        requests.flatMap { request in
            var found = request.strange.map { ["\(request.ids[0]) was answered with \($0)"] } ?? []
            let there = request.ids.compactMap { places[$0] }
            if request.isAccepted, there.count < request.ids.count {
                found.append(
                    "of the \(request.ids.count) from \(request.ids[0]) on, accepted, \(there.count) are there")
            } else if !there.isEmpty, there.count < request.ids.count {
                found.append("\(there.count) of the \(request.ids.count) from \(request.ids[0]) on are there")
            }
            if let first = there.first, there != Array(first..<first + there.count) {
                found.append("those from \(request.ids[0]) on are not in their order: \(there)")
            }
            return found
        }
    }
}
