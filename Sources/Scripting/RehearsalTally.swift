// SPDX-License-Identifier: Apache-2.0

package import Events

/// What a rehearsal has found of one subscriber, event by event. A pure struct: whoever runs the two sides tells it.
package struct RehearsalTally: Sendable {
    /// Names an event in examples.
    package struct Subject: Hashable, Sendable {
        package var id: String
        package var topic: String
        package var offset: Offset
        /// More than 1: the first of a batch.
        package var count: Int

        package init(id: String, topic: String, offset: Offset, count: Int = 1) {
            self.id = id
            self.topic = topic
            self.offset = offset
            self.count = count
        }
    }

    /// So many, the first of which are named.
    package struct Group: Sendable {
        package private(set) var count = 0
        package private(set) var examples: [Example] = []

        package struct Example: Sendable {
            package var subject: Subject
            /// What is worth saying of it.
            package var detail: String?
        }

        mutating func add(_ subject: Subject, _ detail: @autoclosure () -> String? = nil) {
            count += 1
            if examples.count < Limits.rehearsalExamples {
                examples.append(Example(subject: subject, detail: detail()))
            }
        }
    }

    package struct Transition: Hashable, Sendable {
        package var before: RehearsedResult.Ending
        package var now: RehearsedResult.Ending
    }

    /// Failures of one cause.
    package struct Failures: Sendable {
        package var reason: String
        package var trace: String?
        package var before = 0
        package var now = Group()
    }

    package struct EffectKey: Hashable, Sendable {
        package var kind: RehearsedEffect.Kind
        package var group: String
    }

    package struct Effects: Sendable {
        package var before = 0
        package var now = 0
        package var changed = Group()
        package var added = Group()
        package var gone = Group()
        package fileprivate(set) var fields: [String: FieldChange] = [:]
        package var isSame: Bool { changed.count == 0 && added.count == 0 && gone.count == 0 }
    }

    package struct FieldChange: Sendable {
        package var count = 0
        /// Of the first event that it changed in.
        package var subject: Subject
        package var before: String?
        package var now: String?
    }

    package struct Cost: Sendable {
        fileprivate var samples: [Duration] = []
        /// Times that the host had to stop the script.
        package var kills = 0

        package var count: Int { samples.count }

        /// - Parameter part: 0.5 is the median.
        package func quantile(_ part: Double) -> Duration? {
            guard !samples.isEmpty else { return nil }
            let sorted = samples.sorted()
            return sorted[min(sorted.count - 1, Int(Double(sorted.count) * part))]
        }
    }

    package struct Recorded: Sendable {
        /// How deliveries really ended, or stand now.
        package fileprivate(set) var endings: [RehearsedResult.Ending: Int] = [:]
        /// Of those how many took more than one attempt.
        package fileprivate(set) var retried = 0
        /// Of nothing that is kept.
        package fileprivate(set) var unknown = 0
        /// Ended for good otherwise than what ran before ends in the rehearsal: as the world, or the state, was another then.
        package fileprivate(set) var otherwise = Group()
        package var isEmpty: Bool { endings.isEmpty && unknown == 0 }
    }

    /// Events that the filter of each side takes.
    package private(set) var takenBefore = 0
    package private(set) var takenNow = 0
    package private(set) var newlyMatched = Group()
    package private(set) var noLongerMatched = Group()
    /// Runs of both sides that ended alike.
    package private(set) var sameEndings: [RehearsedResult.Ending: Int] = [:]
    package private(set) var transitions: [Transition: Group] = [:]
    /// How those ended that only the candidate takes.
    package private(set) var newEndings: [RehearsedResult.Ending: Int] = [:]
    /// In the order in which they were first met.
    package private(set) var failures: [Failures] = []
    package private(set) var effects: [EffectKey: Effects] = [:]
    package private(set) var costBefore = Cost()
    package private(set) var costNow = Cost()
    package private(set) var recorded = Recorded()
    private var failureKeys: [String: Int] = [:]

    package init() {}

    /// The filters' verdicts on one event. `term` says which part of a filter decided, where they differ.
    package mutating func match(_ subject: Subject, before: Bool, now: Bool, term: @autoclosure () -> String?) {
        if before { takenBefore += 1 }
        if now { takenNow += 1 }
        if now, !before { newlyMatched.add(subject, term()) }
        if before, !now { noLongerMatched.add(subject, term()) }
    }

    /// What both sides did; nil is a side that doesn't take the event, or isn't there. `recorded` is what is kept of the
    /// delivery of a single event.
    package mutating func add(
        _ subject: Subject, before: RehearsedResult?, now: RehearsedResult?, recorded attempt: Attempt? = nil
    ) {
        if let before, let really = attempt.map(RehearsedResult.Ending.init), really != .retry, really != before.ending
        {
            recorded.otherwise.add(subject, "\(really.rawValue), rehearsed \(before.ending.rawValue)")
        }
        switch (before?.ending, now?.ending) {
        case (let old?, let new?) where old == new: sameEndings[new, default: 0] += 1
        case (let old?, let new?):
            // Failures are told by themselves.
            let dropped = new == .drop ? now?.reason : old == .drop ? before?.reason.map { "was: \($0)" } : nil
            transitions[Transition(before: old, now: new), default: Group()].add(subject, dropped)
        case (nil, let new?): newEndings[new, default: 0] += 1
        case (_, nil): break
        }
        if let before {
            costBefore.add(before)
            if before.ending.isFailure { failures[place(of: before)].before += 1 }
        }
        if let now {
            costNow.add(now)
            if now.ending.isFailure { failures[place(of: now)].now.add(subject) }
        }
        compare(subject, EffectComparison(before: before?.effects ?? [], now: now?.effects ?? []))
    }

    /// How the delivery of an event that the baseline takes ended; nil where nothing is kept of it.
    package mutating func record(_ attempt: Attempt?) {
        guard let attempt else {
            recorded.unknown += 1
            return
        }
        recorded.endings[RehearsedResult.Ending(attempt), default: 0] += 1
        if attempt.number > 1 { recorded.retried += 1 }
    }

    private mutating func place(of result: RehearsedResult) -> Int {
        let reason = result.reason ?? "failed"
        // A group knows nothing of numbers: a 400 and a 503 differ in how they end.
        let key = result.ending.rawValue + DeadLetterGroup(reason: reason, trace: result.trace).id
        if let known = failureKeys[key] { return known }
        failureKeys[key] = failures.count
        failures.append(Failures(reason: reason, trace: result.trace))
        return failures.count - 1
    }

    private mutating func compare(_ subject: Subject, _ comparison: EffectComparison) {
        func key(_ effect: RehearsedEffect) -> EffectKey { EffectKey(kind: effect.kind, group: effect.group) }
        for effect in comparison.same {
            effects[key(effect), default: Effects()].before += 1
            effects[key(effect), default: Effects()].now += 1
        }
        for effect in comparison.added {
            effects[key(effect), default: Effects()].now += 1
            effects[key(effect), default: Effects()].added.add(subject, effect.shown)
        }
        for effect in comparison.gone {
            effects[key(effect), default: Effects()].before += 1
            effects[key(effect), default: Effects()].gone.add(subject, effect.shown)
        }
        for change in comparison.changed {
            effects[key(change.before), default: Effects()].before += 1
            var entry = effects[key(change.now)] ?? Effects()
            entry.now += 1
            entry.changed.add(subject)
            for (path, before, now) in change.fields {
                entry.fields[
                    path, default: FieldChange(subject: subject, before: before, now: now)
                ].count += 1
            }
            effects[key(change.now)] = entry
        }
    }

    // MARK: What differs

    package var hasOtherMatches: Bool { newlyMatched.count + noLongerMatched.count > 0 }
    package var hasOtherOutcomes: Bool { !transitions.isEmpty }
    package var hasOtherEffects: Bool { effects.values.contains { !$0.isSame } }
    /// Failures that come with the candidate: of a new cause, or more of a known one.
    package var hasNewFailures: Bool { failures.contains { $0.now.count > $0.before } }
    package var hasNewKills: Bool { costNow.kills > costBefore.kills }

    package var isSame: Bool {
        !hasOtherMatches && !hasOtherOutcomes && !hasOtherEffects && !hasNewKills
            && failures.allSatisfy { $0.now.count == $0.before }
    }
}

extension RehearsedResult.Ending {
    fileprivate init(_ attempt: Attempt) {
        self =
            switch attempt.outcome {
            case .ack: .ack
            case .retry: .retry
            case .dead: .dead
            case .drop: .drop
            }
    }
}

extension RehearsalTally.Cost {
    fileprivate mutating func add(_ result: RehearsedResult) {
        samples.append(result.cpu)
        if result.wasKilled { kills += 1 }
    }
}

extension Limits {
    /// Events named as examples of one finding: enough to look into it, few enough to read.
    package static let rehearsalExamples = 3
}
