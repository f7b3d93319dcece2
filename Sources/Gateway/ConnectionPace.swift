// SPDX-License-Identifier: Apache-2.0

import Events
import NIOCore

/// Whether a connection is used, or only held: how far its request has come, and whether its answers are taken.
///
/// Nothing is scheduled for each request; who owns it looks from time to time, with ``check(_:isReading:buffered:)``.
struct ConnectionPace {
    private enum Request {
        /// None has begun since the last one's end, or its answer.
        case none(since: NIODeadline)
        case header(since: NIODeadline)
        /// `bytes` are the body's, `wire` those that brought them.
        case body(since: NIODeadline, bytes: Int, wire: Int)
    }

    private let bounds: ConnectionBounds
    private var request: Request
    private var written = 0
    private var waiting: (since: NIODeadline, taken: Int)?
    private var looked: NIODeadline

    init(_ bounds: ConnectionBounds, now: NIODeadline) {
        self.bounds = bounds
        request = .header(since: now)
        looked = now
    }

    mutating func arrived(_ bytes: Int, now: NIODeadline) {
        switch request {
        case .none: request = .header(since: now)
        case .header: break
        case .body(let since, let body, let wire): request = .body(since: since, bytes: body, wire: wire + bytes)
        }
    }

    mutating func headEnded(now: NIODeadline) { request = .body(since: now, bytes: 0, wire: 0) }

    mutating func body(_ bytes: Int) {
        guard case .body(let since, let before, let wire) = request else { return }
        request = .body(since: since, bytes: before + bytes, wire: wire)
    }

    mutating func requestEnded(now: NIODeadline) { request = .none(since: now) }

    mutating func answered(now: NIODeadline) {
        if case .none = request { request = .none(since: now) }
    }

    /// Whether nothing has come since the last request and its answer for as long as that is allowed. Whether that answer
    /// has left is for the caller to know.
    func isIdle(_ now: NIODeadline) -> Bool {
        guard case .none(let since) = request else { return false }
        return now - since > bounds.idle
    }

    mutating func wrote(_ bytes: Int) { written += bytes }

    /// Why the connection ends now; nil where it goes on.
    ///
    /// - Parameters:
    ///   - isReading: whether the server takes what the client sends. While it doesn't, the client isn't slow.
    ///   - buffered: bytes of answers that the client has not taken.
    mutating func check(_ now: NIODeadline, isReading: Bool, buffered: Int) -> Refusals.Reason? {
        let passed = now - looked
        looked = now
        if !isReading { postpone(by: passed) }
        return requestCut(now) ?? answerCut(now, buffered)
    }

    private mutating func postpone(by time: TimeAmount) {
        switch request {
        case .none: break
        case .header(let since): request = .header(since: since + time)
        case .body(let since, let bytes, let wire): request = .body(since: since + time, bytes: bytes, wire: wire)
        }
    }

    private func requestCut(_ now: NIODeadline) -> Refusals.Reason? {
        switch request {
        case .none: return nil
        case .header(let since): return now - since > bounds.headerTime ? .slowHeader : nil
        case .body(let since, let bytes, let wire):
            if wire - bytes > Limits.chunkOverheadSlack + Limits.chunkOverheadMax * bytes { return .chunkFlood }
            let fair = bounds.bodyGrace + .milliseconds(Int64(bytes) * 1_000 / Int64(bounds.bodyBytesPerSecond))
            return now - since > min(fair, bounds.requestTime) ? .slowBody : nil
        }
    }

    private mutating func answerCut(_ now: NIODeadline, _ buffered: Int) -> Refusals.Reason? {
        guard buffered > 0 else {
            waiting = nil
            return nil
        }
        let taken = written - buffered
        guard let before = waiting else {
            waiting = (now, taken)
            return nil
        }
        guard now - before.since >= bounds.answerWindow else { return nil }
        let due = Int64(bounds.answerBytesPerSecond) * bounds.answerWindow.nanoseconds / 1_000_000_000
        if Int64(taken - before.taken) < due { return .slowReader }
        waiting = (now, taken)
        return nil
    }
}
