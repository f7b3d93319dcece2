// SPDX-License-Identifier: Apache-2.0

import Events
import HTTPTypes
import NIOCore

/// What was answered to requests that carry an `Idempotency-Key`, so that one which is sent again because its answer got
/// lost is not carried out again.
///
/// Bounded in number, bytes and time; in memory only: a restart forgets it.
struct IdempotencyTable: Sendable {
    /// Whose key, for what. Two clients may choose the same key.
    struct Name: Hashable, Sendable {
        var key: String
        /// Method, path and query.
        var target: String
        /// The `Authorization` header's digest.
        var client: [UInt8]
    }

    struct Answer: Sendable {
        var status: HTTPResponse.Status
        var headers: HTTPFields
        var body: ByteBuffer
    }

    enum Verdict: Sendable {
        /// Nobody has sent it: carry it out, then tell ``finish(_:_:)``.
        case first
        /// It has been carried out.
        case again(Answer)
        /// Another body came with this key.
        case different
        /// It is being carried out.
        case underway
        /// As many as fit are being carried out.
        case full
    }

    private struct Entry: Sendable {
        var body: [UInt8]
        /// nil while the request is carried out.
        var answer: Answer?
        var begun: Timestamp
    }

    private var entries: [Name: Entry] = [:]
    /// The oldest first.
    private var order: [Name] = []
    private var bytes = 0

    /// - Parameter body: the digest of the request's body.
    mutating func begin(_ name: Name, body: [UInt8], now: Timestamp) -> Verdict {
        forget(before: now - Limits.idempotencyKept)
        if let entry = entries[name] {
            guard entry.body == body else { return .different }
            return entry.answer.map { .again($0) } ?? .underway
        }
        if entries.count >= Limits.idempotencyKeysMax { evict() }
        guard entries.count < Limits.idempotencyKeysMax else { return .full }
        entries[name] = Entry(body: body, answer: nil, begun: now)
        order.append(name)
        return .first
    }

    /// - Parameter answer: nil where nothing was carried out, so that the same key may try again.
    mutating func finish(_ name: Name, _ answer: Answer?) {
        guard let answer, answer.body.readableBytes <= Limits.idempotencyBytesMax else {
            entries[name] = nil
            order.removeAll { $0 == name }
            return
        }
        entries[name]?.answer = answer
        bytes += answer.body.readableBytes
        while bytes > Limits.idempotencyBytesMax { evict() }
    }

    private mutating func forget(before time: Timestamp) {
        while let oldest = order.first, let entry = entries[oldest], entry.begun < time, entry.answer != nil {
            remove(at: 0)
        }
    }

    /// The oldest that has its answer.
    private mutating func evict() {
        guard let place = order.firstIndex(where: { entries[$0]?.answer != nil }) else { return }
        remove(at: place)
    }

    private mutating func remove(at place: Int) {
        let entry = entries.removeValue(forKey: order.remove(at: place))
        bytes -= entry?.answer?.body.readableBytes ?? 0
    }
}

extension Limits {
    /// Requests whose answers are remembered for their `Idempotency-Key`: administration is done by hand or by jobs.
    static let idempotencyKeysMax = 1_000

    /// Bytes of all answers that are remembered for an `Idempotency-Key`.
    static let idempotencyBytesMax = 4 << 20

    /// How long an answer is remembered: longer than clients try again.
    static let idempotencyKept: Duration = .seconds(86_400)

    /// Bytes of an `Idempotency-Key`: any digest or UUID fits.
    static let idempotencyKeyBytesMax = 255
}
