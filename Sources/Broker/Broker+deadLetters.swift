// SPDX-License-Identifier: Apache-2.0

package import Events
import Routes

extension Broker {
    /// Newest first. `before` continues a listing.
    package func deadLetters(
        _ filter: DeadLetterFilter, before: Int64?, limit: Int
    ) async throws(Failure) -> [DeadLetter] {
        try await blocking { () throws(Failure) in
            try self.engine.deadLetters(filter, before: before, limit: limit)
        }
    }

    /// What failed in the same way, the largest group first.
    package func deadLetterGroups(_ filter: DeadLetterFilter, limit: Int) async throws(Failure) -> [DeadLetterSummary] {
        try await blocking { () throws(Failure) in try self.engine.deadLetterGroups(filter, limit: limit) }
    }

    /// Whatever became of it; nil where there never was one, or it is gone since.
    package func deadLetter(_ id: Int64) async throws(Failure) -> DeadLetter? {
        try await blocking { () throws(Failure) in try self.engine.deadLetter(id) }
    }

    /// The attempts on a delivery that are kept, the oldest first.
    package func attempts(of subscriber: String, _ id: DeliveryID) async throws(Failure) -> [Attempt] {
        await on { core in core.tellAttempts(of: subscriber) }
        return try await blocking { () throws(Failure) in try self.engine.attempts(of: subscriber, id) }
    }

    /// The last failed attempts of a subscriber that are kept, the newest first.
    package func failures(of subscriber: String, limit: Int) async throws(Failure) -> [Attempt] {
        try await on { core in core.tellAttemptsOfKnown(subscriber) }.get()
        return try await blocking { () throws(Failure) in try self.engine.failures(of: subscriber, limit: limit) }
    }

    /// Puts `event` in the place of an open dead letter's own, which is kept beside it. Its identity and its key can't
    /// change: the one is what receivers tell duplicates by, behind the other its followers wait.
    package func mend(_ id: Int64, with event: Event) async throws(Failure) -> DeadLetter {
        let letter = try await openLetter(id)
        guard event.id == letter.original.id, event.source == letter.original.source else {
            throw Failure(
                .malformed,
                "a mended event keeps its id and source (\"\(letter.original.id)\" of \"\(letter.original.source)\"); "
                    + "publish a new event instead")
        }
        let topic = Topic.named(letter.topic)
        let extractor = await on { core in core.keyExtractor(of: topic) }
        var builder = RecordBatchBuilder(topic: topic, key: extractor, capacity: event.data.bytes.count + 512)
        builder.append(event)
        let batch = builder.finish()
        guard batch[0].key == letter.key else {
            throw Failure(
                .malformed,
                "the mended event's key would be \(batch[0].key.map { "\"\($0)\"" } ?? "missing") instead of "
                    + "\(letter.key.map { "\"\($0)\"" } ?? "missing"); events wait in the order of their keys, "
                    + "so a dead letter keeps its own")
        }
        batch.stamp(first: letter.offset, time: letter.time)
        let bytes = Array(batch.bytes)
        guard try await blocking({ () throws(Failure) in try self.engine.mend(id, record: bytes) }) else {
            throw Self.notOpen(letter)
        }
        return try await openLetter(id)
    }

    /// Sends dead letters to their subscriber again, the oldest first, with all their attempts before them. Answers when
    /// the run has begun; ``redriveProgress(_:)`` tells how it goes.
    package func redrive(_ ids: [Int64], _ options: RedriveRun.Options) async throws(Failure) -> RedriveRun.Progress {
        let sorted = Set(ids).sorted()
        try await eachBatch(of: sorted) { (letters) async throws(Failure) in try await self.sendable(letters) }
        return await on { core in core.beginRedrive(sorted, options) }
    }

    /// All open ones that fit.
    package func redrive(
        _ filter: DeadLetterFilter, _ options: RedriveRun.Options
    ) async throws(Failure) -> RedriveRun.Progress {
        let ids = try await ids(filter)
        if let first = ids.first { try await sendable([try await openLetter(first)]) }
        return await on { core in core.beginRedrive(ids, options) }
    }

    package func redriveProgress(_ id: Int) async throws(Failure) -> RedriveRun.Progress {
        guard let progress = await on({ core in core.redrives[id]?.progress }) else { throw Self.noRun(id) }
        return progress
    }

    /// Sends no more of a run's letters; those that were sent go their way.
    package func cancelRedrive(_ id: Int) async throws(Failure) -> RedriveRun.Progress {
        guard let progress = await on({ core in core.cancelRedrive(id) }) else { throw Self.noRun(id) }
        return progress
    }

    /// Gives open dead letters up; what was parked behind them goes on. Returns how many, when that is on disk. They are
    /// kept, with the reason, as long as attempts are.
    package func discard(_ ids: [Int64], reason: String) async throws(Failure) -> Int {
        let sorted = Set(ids).sorted()
        // All or none: only when each is known to be open is the first given up.
        try await eachBatch(of: sorted) { (_) async throws(Failure) in }
        try await eachBatch(of: sorted) { (letters) async throws(Failure) in
            await self.on { core in core.discard(letters, reason) }
        }
        try await written()
        return sorted.count
    }

    package func discard(_ filter: DeadLetterFilter, reason: String) async throws(Failure) -> Int {
        var count = 0
        while case let letters = try await deadLetters(filter, before: nil, limit: Limits.redriveBatch),
            !letters.isEmpty
        {
            await on { core in core.discard(letters, reason) }
            // What the next page shows is known when this one is written.
            try await written()
            count += letters.count
        }
        return count
    }

    private func ids(_ filter: DeadLetterFilter) async throws(Failure) -> [Int64] {
        try await blocking { () throws(Failure) in
            try self.engine.deadLetterIDs(filter, limit: Limits.redriveMax)
        }
    }

    private func openLetter(_ id: Int64) async throws(Failure) -> DeadLetter {
        guard let letter = try await deadLetter(id) else { throw Self.unknown(id) }
        guard letter.state == .open else { throw Self.notOpen(letter) }
        return letter
    }

    /// Reads open dead letters, so many at a time that their events fit into memory. `ids` are in order, each once.
    ///
    /// - Throws: for the first that isn't there, or isn't open.
    private func eachBatch(
        of ids: [Int64], _ body: ([DeadLetter]) async throws(Failure) -> Void
    ) async throws(Failure) {
        var rest = ids[...]
        while !rest.isEmpty {
            let batch = Array(rest.prefix(Limits.redriveBatch))
            rest = rest.dropFirst(batch.count)
            let letters = try await blocking { () throws(Failure) in try self.engine.deadLetters(batch) }
            for (id, letter) in zip(batch, letters) {
                guard letter.id == id else { throw Self.unknown(id) }
                guard letter.state == .open else { throw Self.notOpen(letter) }
            }
            if letters.count < batch.count { throw Self.unknown(batch[letters.count]) }
            try await body(letters)
        }
    }

    private func sendable(_ letters: [DeadLetter]) async throws(Failure) {
        let running = await on { core in Set(core.subscribers.keys) }
        for letter in letters where !running.contains(letter.subscriber) {
            let name = letter.subscriber
            throw Failure(
                .conflict,
                "dead letter \(letter.id) is of subscriber \"\(name)\", which routes.conf no longer has; "
                    + "put it back and reload, or discard the dead letter")
        }
    }

    private static func unknown(_ id: Int64) -> Failure {
        Failure(.notFound, "no dead letter \(id); `fairlead dead list` shows those there are")
    }

    private static func notOpen(_ letter: DeadLetter) -> Failure {
        let how =
            switch letter.end {
            case .discarded?: "was discarded"
            case .acknowledged?: "was sent again and acknowledged"
            case .failedAgain?: "was sent again and failed again, as a dead letter of its own"
            case .lost?: "is lost: its event is gone"
            case nil: "is being sent again"
            }
        return Failure(.conflict, "dead letter \(letter.id) \(how); only an open one can be changed")
    }

    private static func noRun(_ id: Int) -> Failure {
        Failure(.notFound, "no redrive \(id); runs are known until the server restarts")
    }
}

extension BrokerCore {
    /// Hands what is gathered of a subscriber's attempts to the ledger.
    func tellAttempts(of name: String) {
        guard let subscriber = subscribers[name], !subscriber.attempts.isEmpty else { return }
        commit(subscriber, LedgerRound(), allAttempts: true)
    }

    func tellAttemptsOfKnown(_ name: String) -> Result<Void, Failure> {
        guard subscribers[name] != nil else { return .failure(unknownSubscriber(name)) }
        tellAttempts(of: name)
        return .success(())
    }
}
