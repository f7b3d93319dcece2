// SPDX-License-Identifier: Apache-2.0

import Events
import Filtering
import Foundation
import Journal
import Ledger
import Routes
import Scripting
import Synchronization

/// Runs a candidate and what ran before it over the same retained events, side by side: the same start of the state, the
/// same time, the same answers. What differs between the two is what the candidate changes.
actor Rehearsal {
    struct Options: Sendable {
        var window = RetainedEvents.Window()
        /// Only each event whose offset is a multiple of this.
        var every = 1
        /// Both sides begin without state, instead of with a copy of what is kept now.
        var startsEmpty = false
        /// Only these, and these even where nothing about them changed.
        var subscribers: [String] = []
        var stubs = HTTPStubs()
    }

    /// One subscriber and what was found of it.
    struct Subscriber: Sendable {
        var name: String
        var before: SubscriberRoute?
        var now: SubscriberRoute?
        /// What its block and files changed, in words.
        var reasons: [String]
        var tally = RehearsalTally()
        /// What limits the comparison, in words.
        var notes: [String] = []

        var isAdded: Bool { before == nil }
        var isRemoved: Bool { now == nil }
    }

    /// Why the candidate would be refused.
    struct Refusal: Error {
        var diagnostics: [String]
    }

    struct Result: Sendable {
        var subscribers: [Subscriber]
        /// Names of those that neither block nor plugin changed of, and that weren't asked for.
        var unchanged: [String]
        /// Events looked at.
        var events: Int
        var answers: Answers
    }

    struct Answers: Sendable {
        var stubbed = 0
        var recorded = 0
    }

    /// What belongs to one subscriber while it runs.
    private struct Run {
        var matcher: Matcher
        var scratch: MatchScratch
        var before: RehearsedRunner?
        var now: RehearsedRunner?
        /// Events handed over at once.
        var batch: Int
        var pending: [Taken] = []
        /// Attempts read ahead, by topic.
        var attempts: [String: (range: ClosedRange<Offset>, last: [Offset: Attempt])] = [:]
    }

    private struct Taken {
        var record: Record
        var before: Bool
        var now: Bool
        var attempt: Attempt?
    }

    private let baseline: RehearsedGeneration
    private let candidate: RehearsedGeneration
    private let ledger: LedgerReader
    private let journal: JournalReader
    private let options: Options
    private var subscribers: [Subscriber] = []
    private var runs: [Run] = []
    private var answers = Answers()

    init(
        of candidate: RehearsedGeneration, after baseline: RehearsedGeneration, _ ledger: LedgerReader,
        _ journal: JournalReader, _ options: Options
    ) {
        self.candidate = candidate
        self.baseline = baseline
        self.ledger = ledger
        self.journal = journal
        self.options = options
    }

    /// - Parameter progress: told how many of how many events are done.
    /// - Throws: ``Refusal``, `Failure`, or what reading the journal throws.
    func run(progress: @Sendable (_ done: Int, _ total: Int) -> Void) async throws -> Result {
        let unchanged = choose()
        var topics: Set<String> = []
        for name in try journal.topics() where !name.hasPrefix("$import.") {
            let topic = Topic.named(name)
            let isTaken = subscribers.contains {
                $0.before?.takes(from: topic) == true || $0.now?.takes(from: topic) == true
            }
            if isTaken { topics.insert(name) }
        }
        var events = try RetainedEvents(journal, of: topics.sorted(), options.window)
        try await load()
        var looked = 0
        var passed = 0
        while let record = try events.next() {
            passed += 1
            if passed % 64 == 0 { progress(passed, max(passed, events.total)) }
            guard record.offset % Offset(options.every) == 0 else { continue }
            looked += 1
            for index in subscribers.indices { try await take(record, index) }
        }
        for index in subscribers.indices {
            await carryOut(index)
            await runs[index].before?.stop()
            await runs[index].now?.stop()
        }
        return Result(subscribers: subscribers, unchanged: unchanged, events: looked, answers: answers)
    }

    /// Returns those that nothing changed of.
    private func choose() -> [String] {
        var unchanged: [String] = []
        var known = Dictionary(baseline.table.subscribers.map { ($0.name, $0) }) { first, _ in first }
        func isWanted(_ name: String) -> Bool { options.subscribers.isEmpty || options.subscribers.contains(name) }
        for route in candidate.table.subscribers {
            let old = known.removeValue(forKey: route.name) ?? route.was.flatMap { known.removeValue(forKey: $0) }
            guard isWanted(route.name) else { continue }
            let isSame = old.map { baseline.fingerprint(of: $0) == candidate.fingerprint(of: route) } ?? false
            if isSame, options.subscribers.isEmpty {
                unchanged.append(route.name)
                continue
            }
            var reasons = old.map { route.changes(since: $0) } ?? []
            if let old, !isSame, old.fingerprint == route.fingerprint { reasons.append("the plugin's files") }
            subscribers.append(Subscriber(name: route.name, before: old, now: route, reasons: reasons))
        }
        for route in baseline.table.subscribers where known[route.name] != nil && isWanted(route.name) {
            subscribers.append(Subscriber(name: route.name, before: route, now: nil, reasons: []))
        }
        return unchanged
    }

    /// Loads the plugins of both sides.
    private func load() async throws {
        var diagnostics: [String] = []
        for index in subscribers.indices {
            let subscriber = subscribers[index]
            let name = subscriber.before?.name ?? subscriber.name
            let matcher = Matcher([subscriber.before?.filter, subscriber.now?.filter])
            var run = Run(
                matcher: matcher, scratch: matcher.makeScratch(),
                batch: (subscriber.now ?? subscriber.before)?.batchCount ?? 1)
            var start = RehearsedState.Start()
            if !options.startsEmpty {
                let kept = try ledger.state(of: name)
                start = RehearsedState.Start(
                    kept.entries.map { ($0.key, $0.value, $0.expires) }, version: kept.version)
            }
            if let now = subscriber.now {
                do {
                    run.now = try await RehearsedRunner(now, in: candidate, from: start, stateOf: name)
                } catch let error as PluginError {
                    diagnostics += error.problems.map { PluginDiagnostic.finding($0, of: now).description }
                } catch {
                    diagnostics.append(PluginDiagnostic.finding("\(error)", of: now).description)
                }
            }
            // What a removed one did needs no comparison: it does it no more.
            if let before = subscriber.before, subscriber.now != nil {
                do {
                    run.before = try await RehearsedRunner(before, in: baseline, from: start, stateOf: name)
                } catch {
                    subscribers[index].notes.append(
                        "\(baseline.name) can't be run here, so nothing is compared with it: \(error)")
                }
            }
            runs.append(run)
        }
        guard diagnostics.isEmpty else {
            for run in runs {
                await run.before?.stop()
                await run.now?.stop()
            }
            throw Refusal(diagnostics: diagnostics)
        }
    }

    private func take(_ record: Record, _ index: Int) async throws {
        let subscriber = subscribers[index]
        var matches = [false, false]
        runs[index].matcher.match(record, runs[index].scratch) { matches[$0] = true }
        let before = matches[0] && subscriber.before?.takes(from: record.topic) == true
        let now = matches[1] && subscriber.now?.takes(from: record.topic) == true
        guard before || now else { return }
        subscribers[index].tally.match(
            Self.subject(record), before: before, now: now,
            term: Self.term(record, of: now ? subscriber.before : subscriber.now))
        var attempt: Attempt?
        if before {
            attempt = try lastAttempt(record, index)
            subscribers[index].tally.record(attempt)
        }
        runs[index].pending.append(Taken(record: record, before: before, now: now, attempt: attempt))
        if runs[index].pending.count >= runs[index].batch { await carryOut(index) }
    }

    /// Runs both sides on what has been taken.
    private func carryOut(_ index: Int) async {
        let taken = runs[index].pending
        guard let first = taken.first?.record else { return }
        runs[index].pending = []
        let recorded = taken.count == 1 ? taken[0].attempt.flatMap(Self.recordedAnswer) : nil
        let book = AnswerBook(options.stubs, recorded)
        let old = taken.filter(\.before).map(\.record)
        let new = taken.filter(\.now).map(\.record)
        var before: RehearsedResult?
        var now: RehearsedResult?
        // Whoever comes second finds the event in the caches, so they take turns, unless the candidate's answers hang on what
        // the other side asked.
        let isFirst = recorded == nil && first.offset % 2 == 1
        if isFirst { now = await handle(new, runs[index].now) { book.answer(to: $0) } }
        before = await handle(old, runs[index].before) { book.answerAndNote($0) }
        if !isFirst { now = await handle(new, runs[index].now) { book.answer(to: $0) } }
        let count = book.count
        answers.stubbed += count.stubbed
        answers.recorded += count.recorded
        guard before != nil || now != nil else { return }
        var subject = Self.subject(first)
        subject.count = taken.count
        subscribers[index].tally.add(
            subject, before: before, now: now, recorded: taken.count == 1 ? taken[0].attempt : nil)
    }

    private func handle(
        _ records: [Record], _ runner: RehearsedRunner?, answering answer: @escaping RehearsedRunner.Answer
    ) async -> RehearsedResult? {
        records.isEmpty ? nil : await runner?.handle(records, answering: answer)
    }

    private func lastAttempt(_ record: Record, _ index: Int) throws(Failure) -> Attempt? {
        let topic = record.topic.name
        if let known = runs[index].attempts[topic], known.range.contains(record.offset) {
            return known.last[record.offset]
        }
        let range = record.offset...record.offset + Self.attemptsAhead
        let last = try ledger.lastAttempts(
            of: subscribers[index].before?.name ?? subscribers[index].name, topic: topic, range)
        runs[index].attempts[topic] = (range, last)
        return last[record.offset]
    }

    /// Offsets whose attempts are read at once.
    private static let attemptsAhead: Offset = 1_000

    private static func subject(_ record: Record) -> RehearsalTally.Subject {
        .init(id: record.id, topic: record.topic.name, offset: record.offset)
    }

    private static func recordedAnswer(_ attempt: Attempt) -> RecordedAnswer? {
        guard attempt.outcome == .retry || attempt.outcome == .dead else { return nil }
        return attempt.reason.flatMap(RecordedAnswer.init(reason:))
    }

    /// Why `route`, which doesn't take the record, doesn't.
    private static func term(_ record: Record, of route: SubscriberRoute?) -> String? {
        guard let route else { return nil }
        guard route.takes(from: record.topic) else {
            return "from \(route.from.map(\.text).joined(separator: ", ")) doesn't mean \(record.topic.shownName)"
        }
        guard let explanation = route.filter?.explain(record) else { return nil }
        let decided = explanation.leaves.first { $0.verdict != .isTrue } ?? explanation.leaves.first
        return decided.map { "\($0.text) is \($0.verdict.text): \($0.values.joined(separator: ", "))" }
    }
}

/// How the requests of one event are answered: on the side that ran before as they really were, where an attempt kept it;
/// on the candidate's side the same for the same request. A request that only the candidate makes was never answered, so a stub does.
private final class AnswerBook: Sendable {
    private struct Request: Hashable {
        var method: String
        var url: String
        /// Without what is random.
        var body: String

        init(_ request: OutboundRequest) {
            method = request.method
            url = request.url
            body = RehearsedEffect.withoutRandom(String(decoding: request.body, as: UTF8.self))
        }
    }

    private struct Contents {
        var known: [Request: Result<OutboundResponse, OutboundFailure>] = [:]
        var count = Rehearsal.Answers()
    }

    private let stubs: HTTPStubs
    private let recorded: RecordedAnswer?
    private let contents = Mutex(Contents())

    init(_ stubs: HTTPStubs, _ recorded: RecordedAnswer?) {
        self.stubs = stubs
        self.recorded = recorded
    }

    var count: Rehearsal.Answers { contents.withLock { $0.count } }

    func answerAndNote(_ request: OutboundRequest) -> Result<OutboundResponse, OutboundFailure> {
        let real = recorded?.answer(to: request)
        return contents.withLock { contents in
            if let real {
                contents.known[Request(request)] = real
                contents.count.recorded += 1
                return real
            }
            contents.count.stubbed += 1
            return stubs.answer(to: request)
        }
    }

    func answer(to request: OutboundRequest) -> Result<OutboundResponse, OutboundFailure> {
        contents.withLock { contents in
            if let known = contents.known[Request(request)] {
                contents.count.recorded += 1
                return known
            }
            contents.count.stubbed += 1
            return stubs.answer(to: request)
        }
    }
}

extension SubscriberRoute {
    /// Events handed over at once.
    fileprivate var batchCount: Int {
        switch delivery {
        case .run(_, _, let batch): batch?.count ?? 1
        case .push(let push): push.batch?.count ?? 1
        case .pull: 1
        }
    }
}
