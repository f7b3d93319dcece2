// SPDX-License-Identifier: Apache-2.0

package import Events

/// How far one delivery is, and what was tried.
package struct DeliveryTrace: Sendable {
    package enum State: String, Sendable {
        /// The subscriber hasn't come to it yet.
        case unread = "not reached yet"
        case waiting
        case underway
        /// Not to be delivered before its time.
        case scheduled
        /// Waits for its next attempt.
        case retrying
        /// Waits behind an earlier event with the same key.
        case parked
        case dead
        /// Acknowledged or dropped; the last attempt says which, as long as attempts are kept.
        case settled
        /// The subscriber came later than the event, and didn't ask for history.
        case before = "older than the subscriber"
    }

    package var state: State
    /// When the next attempt is due.
    package var due: Timestamp?
    package var attempts: [Attempt] = []
    package var deadLetter: Int64?

    package init(state: State) {
        self.state = state
    }
}

extension SubscriberState {
    /// Where a matching record of `id` is; nil where the subscriber takes nothing from its topic.
    func place(of id: DeliveryID) -> DeliveryTrace? {
        if inFlight[id] != nil { return DeliveryTrace(state: .underway) }
        if let entry = deferred[id] {
            var trace = DeliveryTrace(state: entry.due == nil ? .parked : .retrying)
            trace.due = entry.due
            return trace
        }
        guard let feed = feeds[id.topic] else { return nil }
        if id.offset >= feed.next { return DeliveryTrace(state: .unread) }
        return DeliveryTrace(state: feed.isOutstanding(id.offset) ? .waiting : .settled)
    }
}

extension Broker {
    /// nil where no such subscriber runs, or it takes nothing from the topic.
    package func trace(_ subscriber: String, _ id: DeliveryID) async throws(Failure) -> DeliveryTrace? {
        guard var trace = await on({ core in core.subscribers[subscriber]?.place(of: id) }) else { return nil }
        trace.attempts = try await attempts(of: subscriber, id)
        let letter = try await blocking { () throws(Failure) in try self.engine.deadLetter(of: subscriber, id) }
        if let letter {
            trace.deadLetter = letter.id
            if letter.state == .open { trace.state = .dead }
        }
        return trace
    }

    /// The newest event with this id. Looks through the journal from its end: `topic` and `source` narrow it down.
    ///
    /// - Throws: `.overloaded` where nothing was found within ``Limits/findTime``.
    package func find(_ event: String, source: String?, topic: String?) async throws(Failure) -> Record? {
        let names = await status().topics.map(\.name)
        if let topic, !names.contains(topic) { throw Failure(.unknownTopic, "no topic \"\(topic)\" in routes.conf") }
        return try await blocking { () throws(Failure) in
            let deadline = ContinuousClock.now + Limits.findTime
            let id = Array(event.utf8)
            for name in topic.map({ [$0] }) ?? names {
                if let found = try self.find(id, source, in: Topic.named(name), until: deadline) { return found }
            }
            return nil
        }
    }

    private func find(
        _ id: [UInt8], _ source: String?, in topic: Topic, until deadline: ContinuousClock.Instant
    ) throws(Failure) -> Record? {
        let bounds = engine.bounds(of: topic)
        var end = bounds.end
        while end > bounds.first {
            guard ContinuousClock.now < deadline else {
                throw Failure(
                    .overloaded,
                    "not found among the newest events of topic \"\(topic)\" within \(Limits.findTime); name the topic, "
                        + "or read on with `fairlead tail`")
            }
            let first = max(bounds.first, end - min(end, Limits.findEvents))
            var at = first
            var found: Record?
            while at < end,
                let batch = try engine.read(
                    topic, from: at, maxRecords: Int(end - at), maxBytes: Limits.catchUpBytes), batch.count > 0
            {
                id.withUnsafeBytes { id in
                    for index in 0..<batch.count
                    where batch[index].hasID(id) && (source == nil || batch[index].source == source) {
                        found = batch[index]
                    }
                }
                at = batch.last + 1
            }
            if let found { return found }
            end = first
        }
        return nil
    }
}
