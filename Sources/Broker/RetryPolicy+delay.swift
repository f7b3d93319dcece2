// SPDX-License-Identifier: Apache-2.0

import Events
package import Routes

extension RetryPolicy {
    /// How long to wait after the failure of attempt `attempt` (from 1).
    ///
    /// What the other side `asked` for wins, up to ``Limits/retryAfterMax``, and gets no jitter: it knows when it is
    /// ready. Otherwise the policy's backoff, spread by its jitter on both sides.
    package func delay(
        afterAttempt attempt: Int, asked: Duration?, random: inout some RandomNumberGenerator
    ) -> Duration {
        if let asked { return min(max(asked, .zero), Limits.retryAfterMax) }
        let base: Duration
        switch backoff {
        case .constant(let delay): base = delay
        case .exponential(let first, let last):
            // 2^30 times a millisecond is past any `last`; the shift stays far from overflow.
            base = min(last, first * (1 << min(attempt - 1, 30)))
        }
        guard jitterPercent > 0 else { return base }
        let spread = Double.random(in: -1...1, using: &random) * Double(jitterPercent) / 100
        return max(.zero, base + .milliseconds(Int64((base.seconds * spread * 1_000).rounded())))
    }
}
