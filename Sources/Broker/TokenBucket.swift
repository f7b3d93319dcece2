// SPDX-License-Identifier: Apache-2.0

import Events
import Routes

/// A subscriber's `rate`: a bucket that holds a second's worth (one at least), refilled evenly.
struct TokenBucket: Sendable {
    private let perMillisecond: Double
    private let capacity: Double
    private var tokens: Double
    private var filled: Timestamp?

    init(rate: Rate) {
        perMillisecond = Double(rate.count) / Double(max(1, rate.per.milliseconds))
        capacity = max(1, perMillisecond * 1_000)
        tokens = capacity
    }

    mutating func take(upTo count: Int, now: Timestamp) -> Int {
        refill(now)
        let taken = min(count, Int(tokens))
        tokens -= Double(taken)
        return taken
    }

    /// Tokens that were taken and not used.
    mutating func putBack(_ count: Int) {
        tokens = min(capacity, tokens + Double(count))
    }

    /// When the next token is there, as of the last refill.
    func next(after now: Timestamp) -> Timestamp {
        tokens >= 1 ? now : (filled ?? now) + .milliseconds(Int64(((1 - tokens) / perMillisecond).rounded(.up)))
    }

    private mutating func refill(_ now: Timestamp) {
        // A clock that jumped back gives nothing and takes nothing.
        let elapsed = filled.map { max(0, (now - $0).milliseconds) } ?? 0
        tokens = min(capacity, tokens + Double(elapsed) * perMillisecond)
        filled = now
    }
}
