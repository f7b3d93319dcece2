// SPDX-License-Identifier: Apache-2.0

package import Events
package import Routes

/// Whether a subscriber that a reload changed fails where it didn't before. Pure: how its first attempts end comes in, a
/// verdict comes out.
///
///     undecided ──enough failures, and no fewer than successes──► failed
///         ├──────enough successes──────────────────────────────► passed
///         └──────its time is over──► failed where there were more failures than successes, else passed
///
/// Only deliveries count that had not failed before it began: a backlog of failing retries says nothing of the change that
/// may be meant to mend them. A failure that counts is not charged to its delivery: see ``SubscriberState/suspend(_:until:)``.
package struct Probation: Sendable {
    /// The generation that changed it; attempts that began under an earlier one don't count.
    package let generation: Int
    package let action: BadReloadAction
    package private(set) var verdict: Verdict?
    package private(set) var successes = 0
    package private(set) var failures = 0
    /// How often each delivery has failed.
    private var failed: [DeliveryID: Int] = [:]
    package private(set) var error = ""
    package private(set) var trace: String?
    /// From its first ended attempt on: while nothing is delivered nothing is learned.
    private var end: Timestamp?
    /// The changed plugin has settled writes to the state, or somebody has by hand.
    package var hasWritten = false

    package enum Verdict: Hashable, Sendable {
        case passed, failed
    }

    /// What an attempt says of what made it.
    package enum Sign: Hashable, Sendable {
        case success
        case failure
        /// Nothing more need be tried.
        case hopeless
        case nothing
    }

    package init(generation: Int, action: BadReloadAction) {
        self.generation = generation
        self.action = action
    }

    /// Deliveries that failed.
    package var deliveries: Int { failed.count }

    /// Whether what it began is to be put back: failures are not charged, and few deliveries are in flight.
    package var isBinding: Bool { action != .keep }

    /// When it ends by itself; nil where it is decided, or nothing was delivered yet.
    package var wake: Timestamp? { verdict == nil ? end : nil }

    package mutating func succeeded(_ count: Int, now: Timestamp) {
        guard verdict == nil, count > 0 else { return }
        begin(now)
        successes += count
        if successes >= Limits.probationSuccesses { verdict = .passed }
    }

    /// An attempt on `id` failed; returns how often that delivery has by now. Goes on counting after the verdict, since
    /// what was in flight then still ends.
    package mutating func failed(
        _ id: DeliveryID, _ sign: Sign, error: String, trace: String?, now: Timestamp
    ) -> Int {
        begin(now)
        failures += 1
        failed[id, default: 0] += 1
        if verdict == nil {
            self.error = error
            self.trace = trace
            let isEnough = failures >= Limits.probationFailures || sign == .hopeless
            if isEnough, failures >= successes { verdict = .failed }
        }
        return failed[id]!
    }

    package mutating func tick(now: Timestamp) {
        guard verdict == nil, let end, end <= now else { return }
        verdict = failures > successes ? .failed : .passed
    }

    private mutating func begin(_ now: Timestamp) {
        if end == nil { end = now + Limits.probationTime }
    }
}

extension Settlement {
    /// What it says of the plugin, or of the endpoint and how it is called. A script that answers `ctx.dead` or `ctx.drop`
    /// has judged its event; one that raises an error, or whose request fails so that the delivery dies, has not.
    package var sign: Probation.Sign {
        switch outcome {
        case .drop where isOverdue: .nothing
        case .ack, .drop: .success
        case .returned: .nothing
        case .retry, .dead:
            switch endpoint {
            case .busy: .nothing
            case .gone, .refusing: .hopeless
            case .up, .failing, .unreachable: .failure
            case nil: if case .dead = outcome, trace == nil { .nothing } else { .failure }
            }
        }
    }
}

/// How a subscriber's last attempts ended, whatever they were on: what a change is compared with.
package struct RecentAttempts: Sendable {
    /// One bit each, the newest lowest; 1 failed.
    private var failed: UInt8 = 0
    private var count = 0

    package init() {}

    package mutating func add(_ sign: Probation.Sign) {
        switch sign {
        case .nothing: break
        case .success: add(0, 1)
        case .failure, .hopeless: add(1, 1)
        }
    }

    package mutating func succeeded(_ count: Int) {
        add(0, count)
    }

    private mutating func add(_ bit: UInt8, _ times: Int) {
        failed = times >= UInt8.bitWidth ? 0 : failed << UInt8(times) | bit
        count = min(UInt8.bitWidth, count + times)
    }

    /// At least half of them failed.
    package var isFailing: Bool { count > 0 && failed.nonzeroBitCount * 2 >= count }
}
