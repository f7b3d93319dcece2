// SPDX-License-Identifier: Apache-2.0

package import Events
package import Routes

/// Whether a subscriber's endpoint may be sent to. Pure: what attempts say comes in, and how many may start comes out.
///
///     closed ──too many failures in a row, or no consent──► open ──its time is over──► (one probe starts) ──► probing
///       ▲  └───────────────────────────────────────────────◄─ the probe succeeds ──────────────────────────────┘ │
///       └ any success                                      open, for twice as long, ◄─ it fails ──────────────────┘
///
/// A failure that finds the breaker open, or opens it, is *excused*: the attempt doesn't count, so that an outage of
/// days costs no event its attempts. Beside that, an endpoint that is busy is left alone until the time it named,
/// whatever the breaker says; that is excused too.
package struct CircuitBreaker: Sendable {
    package private(set) var policy: BreakerPolicy?
    private var phase = Phase.closed
    private var busyUntil: Timestamp?
    /// What failed in a row, so that one delivery that the endpoint chokes on counts once; as many as the policy's
    /// failures at most.
    private var failed: Set<DeliveryID> = []
    /// Attempts in a row that found no connection. They count twice, as no delivery can be at fault for them.
    private var unreachable = 0

    private enum Phase: Sendable {
        /// → `open`
        case closed
        /// → `probing`, when `until` has come; → `closed`
        case open(until: Timestamp, pause: Duration)
        /// One delivery is on its way to see whether the endpoint is back; → `open`, → `closed`
        case probing(DeliveryID, pause: Duration)
    }

    /// What may start now.
    package enum Stand: Hashable, Sendable {
        case everything
        /// One delivery.
        case probe
        /// Nothing until then.
        case nothing(until: Timestamp)
        /// Nothing until the probe has been answered.
        case probing
    }

    package init(policy: BreakerPolicy?) {
        self.policy = policy
    }

    package mutating func update(_ policy: BreakerPolicy?) {
        guard policy != self.policy else { return }
        self.policy = policy
        reset()
    }

    /// Forgets what was: somebody wants to see for himself, or it is another endpoint now.
    package mutating func reset() {
        phase = .closed
        busyUntil = nil
        failed = []
        unreachable = 0
    }

    /// It was open before a restart: half-open now, so that one probe tells at once whether the endpoint is back, and, where it
    /// isn't, the outage costs no attempts. How long the pauses had become is not kept: a restart is rare, and they are long
    /// again after a few probes. False where no breaker is wanted any more.
    package mutating func reopen(now: Timestamp) -> Bool {
        guard let policy else { return false }
        phase = .open(until: now, pause: policy.first)
        return true
    }

    package var isOpen: Bool {
        if case .closed = phase { false } else { true }
    }

    package func stand(now: Timestamp) -> Stand {
        if let busyUntil, busyUntil > now { return .nothing(until: busyUntil) }
        switch phase {
        case .closed: return .everything
        case .open(let until, _): return until > now ? .nothing(until: until) : .probe
        case .probing: return .probing
        }
    }

    /// `deliveries` have started; the first of them is the probe where the breaker is open.
    package mutating func started(_ first: DeliveryID) {
        if case .open(_, let pause) = phase { phase = .probing(first, pause: pause) }
    }

    package mutating func succeeded() {
        phase = .closed
        if !failed.isEmpty { failed = [] }
        unreachable = 0
    }

    /// An attempt has ended without success, and said `sign` of the endpoint; true where it is excused.
    package mutating func ended(_ delivery: DeliveryID, _ sign: EndpointSign?, now: Timestamp) -> Bool {
        switch sign {
        case .up:
            succeeded()
            return false
        case .failing:
            guard let policy else { return false }
            failed.insert(delivery)
            return trip(delivery, atOnce: false, policy, now)
        case .unreachable:
            guard let policy else { return false }
            unreachable += 1
            return trip(delivery, atOnce: false, policy, now)
        case .refusing:
            guard let policy else { return false }
            return trip(delivery, atOnce: true, policy, now)
        case .busy(let wait):
            let until = now + min(max(wait, Limits.busyMin), Limits.busyMax)
            busyUntil = busyUntil.map { max($0, until) } ?? until
            abandonProbe(delivery, now)
            return true
        case .gone:
            abandonProbe(delivery, now)
            return true
        case nil:
            abandonProbe(delivery, now)
            return false
        }
    }

    private mutating func trip(
        _ delivery: DeliveryID, atOnce: Bool, _ policy: BreakerPolicy, _ now: Timestamp
    ) -> Bool {
        switch phase {
        case .closed:
            guard atOnce || failed.count + 2 * unreachable >= policy.failures else { return false }
            open(for: policy.first, now)
        case .probing(delivery, let pause): open(for: min(policy.last, pause * 2), now)
        // Begun before, or beside the probe: it tells nothing new.
        case .open, .probing: break
        }
        return true
    }

    private mutating func open(for pause: Duration, _ now: Timestamp) {
        phase = .open(until: now + pause, pause: pause)
        failed = []
        unreachable = 0
    }

    /// The probe came back without having told anything: another one may start at once.
    private mutating func abandonProbe(_ delivery: DeliveryID, _ now: Timestamp) {
        if case .probing(delivery, let pause) = phase { phase = .open(until: now, pause: pause) }
    }
}
