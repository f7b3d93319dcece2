// SPDX-License-Identifier: Apache-2.0

import DequeModule
package import Events
package import Routes

/// Dead letters on their way out again. Pure: what ended comes in, what to send now comes out.
///
/// It stops at the first letter that fails: what has the same fault would fail as well, and every letter that was not
/// sent yet is left as it was. A *canary* run sends one, then ten, then the rest, each only when all before have
/// succeeded.
package struct RedriveRun: Sendable {
    package enum State: Hashable, Sendable {
        case running
        /// All were sent, and all that were sent are settled.
        case finished
        /// A letter failed again.
        case stopped(letter: Int64, reason: String)
        case cancelled
    }

    package struct Options: Hashable, Sendable {
        package var isCanary: Bool
        /// Go on when letters fail again.
        package var keepsGoing: Bool
        package var rate: Rate?

        package init(isCanary: Bool = false, keepsGoing: Bool = false, rate: Rate? = nil) {
            self.isCanary = isCanary
            self.keepsGoing = keepsGoing
            self.rate = rate
        }
    }

    package struct Progress: Hashable, Sendable {
        package var id: Int
        package var state: State
        package var total: Int
        package var waiting: Int
        package var underway: Int
        package var succeeded: Int
        package var failed: Int
        /// No longer there to be sent, as somebody else dealt with them.
        package var skipped: Int
    }

    package let id: Int
    package let options: Options
    package private(set) var state = State.running
    private let total: Int
    /// The oldest first.
    private var waiting: Deque<Int64>
    private var underway: Set<Int64> = []
    private var succeeded = 0
    private var failed = 0
    private var skipped = 0
    private var stage = 0
    private var bucket: TokenBucket?

    /// How many letters the first steps of a canary run send.
    static let canarySteps = [1, 10]

    package init(id: Int, letters: [Int64], options: Options) {
        self.id = id
        self.options = options
        total = letters.count
        waiting = Deque(letters)
        bucket = options.rate.map { TokenBucket(rate: $0) }
        endIfDone()
    }

    package var progress: Progress {
        Progress(
            id: id, state: state, total: total, waiting: waiting.count, underway: underway.count,
            succeeded: succeeded, failed: failed, skipped: skipped)
    }

    /// Letters to send now, the oldest first; they are under way from here on.
    package mutating func next(now: Timestamp) -> [Int64] {
        guard state == .running else { return [] }
        var count = min(waiting.count, Limits.redriveBatch - underway.count)
        if isProving {
            guard underway.isEmpty else { return [] }
            if stage < Self.canarySteps.count { count = min(count, Self.canarySteps[stage]) }
        }
        if bucket != nil, count > 0 { count = bucket!.take(upTo: count, now: now) }
        guard count > 0 else { return [] }
        if options.isCanary { stage += 1 }
        let sent = Array(waiting.prefix(count))
        waiting.removeFirst(count)
        underway.formUnion(sent)
        return sent
    }

    /// A canary's next step waits until all before it have succeeded.
    private var isProving: Bool { options.isCanary && stage <= Self.canarySteps.count }

    /// When ``next(now:)`` has more because of the rate; nil where it waits for letters to end, or for nothing.
    package func wake(now: Timestamp) -> Timestamp? {
        guard state == .running, !waiting.isEmpty, underway.count < Limits.redriveBatch, let bucket else { return nil }
        if isProving, !underway.isEmpty { return nil }
        return bucket.next(after: now)
    }

    /// Of those returned by ``next(now:)``, `letters` were not there to be sent.
    package mutating func skip(_ letters: some Sequence<Int64>) {
        for letter in letters where underway.remove(letter) != nil { skipped += 1 }
        endIfDone()
    }

    package mutating func succeed(_ letter: Int64) {
        guard underway.remove(letter) != nil else { return }
        succeeded += 1
        endIfDone()
    }

    /// An attempt on it failed; whether or not it will be tried again, it is no success.
    package mutating func fail(_ letter: Int64, _ reason: String) {
        guard underway.remove(letter) != nil else { return }
        failed += 1
        if state == .running, !options.keepsGoing { state = .stopped(letter: letter, reason: reason) }
        endIfDone()
    }

    package mutating func cancel() {
        if state == .running { state = .cancelled }
    }

    private mutating func endIfDone() {
        if state == .running, waiting.isEmpty, underway.isEmpty { state = .finished }
    }
}
