// SPDX-License-Identifier: Apache-2.0

import Events
import Testing

@testable import Scripting

/// What a rehearsal makes of what its two sides did; a pure struct.
struct RehearsalTallyTests {
    private func subject(_ id: String) -> RehearsalTally.Subject { .init(id: id, topic: "orders", offset: 0) }

    private func post(_ json: String, to url: String = "https://hooks.slack.com/a") -> RehearsedEffect {
        RehearsedEffect(
            PluginTrial.Request(
                method: "POST", url: url, headers: [("content-type", "application/json")], body: json, answer: "200"))
    }

    private func stock(_ sku: String, left: Int, order: String) -> RehearsedEffect {
        RehearsedEffect(
            .publish, "stock.low to stock",
            fields: ["data.sku": sku, "data.left": "\(left)", "data.order_id": order, "id": "x"])
    }

    @Test func equalSidesAreTheSame() {
        var tally = RehearsalTally()
        for id in ["a", "b"] {
            tally.match(subject(id), before: true, now: true, term: nil)
            let result = RehearsedResult(.ack, effects: [post(#"{"text":"1"}"#)])
            tally.add(subject(id), before: result, now: result)
        }
        #expect(tally.isSame)
        #expect(tally.sameEndings == [.ack: 2])
        #expect(tally.effects.values.map(\.now) == [2])
    }

    @Test func matchesAreToldWithTheTermThatDecided() {
        var tally = RehearsalTally()
        tally.match(subject("in"), before: false, now: true, term: "data.total >= 150 is false: data.total = 120")
        tally.match(subject("out"), before: true, now: false, term: "x")
        tally.match(subject("both"), before: true, now: true, term: "never looked at")
        #expect((tally.takenBefore, tally.takenNow) == (2, 2))
        #expect(tally.newlyMatched.count == 1)
        #expect(tally.newlyMatched.examples[0].detail == "data.total >= 150 is false: data.total = 120")
        #expect(tally.noLongerMatched.examples.map(\.subject.id) == ["out"])
        #expect(tally.hasOtherMatches && !tally.isSame)
    }

    @Test func endingsAreGroupedAndAFewOfEachAreNamed() {
        var tally = RehearsalTally()
        for number in 0..<10 {
            tally.add(
                subject("e-\(number)"), before: .init(.ack), now: .init(.retry, reason: "order o-\(number) is wrong"))
        }
        tally.add(subject("fine"), before: .init(.dead, reason: "no"), now: .init(.ack))
        let group = tally.transitions[.init(before: .ack, now: .retry)]
        #expect(group?.count == 10)
        #expect(group?.examples.map(\.subject.id) == ["e-0", "e-1", "e-2"])
        #expect(tally.transitions[.init(before: .dead, now: .ack)]?.count == 1)
        #expect(tally.failures.count == 2, "what differs from event to event is no cause of its own")
        #expect(tally.failures.first { $0.reason == "order o-0 is wrong" }?.now.count == 10)
        #expect(tally.failures.first { $0.reason == "no" }?.before == 1)
        #expect(tally.hasNewFailures && tally.hasOtherOutcomes)
    }

    @Test func fewerFailuresAreADifferenceAndNoNewError() {
        var tally = RehearsalTally()
        tally.add(subject("a"), before: .init(.retry, reason: "no"), now: .init(.ack))
        #expect(!tally.hasNewFailures && tally.hasOtherOutcomes && !tally.isSame)
    }

    @Test func aChangedRequestIsToldFieldByField() {
        var tally = RehearsalTally()
        for id in ["a", "b"] {
            tally.add(
                subject(id),
                before: .init(.ack, effects: [post(##"{"channel":"#sales","text":"Order \##(id)","old":1}"##)]),
                now: .init(.ack, effects: [post(##"{"channel":"#big","text":"Order \##(id)"}"##)]))
        }
        let effects = tally.effects[.init(kind: .http, group: "POST https://hooks.slack.com")]
        #expect(effects?.changed.count == 2)
        #expect(effects?.fields.keys.sorted() == ["json.channel", "json.old"])
        #expect(effects?.fields["json.channel"]?.before == ##""#sales""##)
        #expect(effects?.fields["json.channel"]?.now == ##""#big""##)
        #expect(effects?.fields["json.old"]?.now == nil)
        #expect(effects?.fields["json.old"]?.count == 2)
    }

    @Test func effectsAreAddedAndGone() {
        let comparison = EffectComparison(
            before: [post("{}"), .init(.state, "put a", fields: ["value": "1"])],
            now: [.init(.state, "put b", fields: ["value": "1"]), .init(.mail, "to ann@example.com", group: "")])
        #expect(comparison.added.map(\.target) == ["put b", "to ann@example.com"])
        #expect(comparison.gone.map(\.target) == ["POST https://hooks.slack.com/a", "put a"])
        #expect(comparison.changed.isEmpty, "another key is another thing")
    }

    @Test func theSameLetterToSomebodyElseIsOneChange() {
        let comparison = EffectComparison(
            before: [.init(.mail, "to ann@example.com", group: "", fields: ["subject": "Hello"])],
            now: [.init(.mail, "to ben@example.com", group: "", fields: ["subject": "Hello"])])
        #expect(comparison.changed.count == 1)
        #expect(comparison.changed[0].fields.map(\.path) == ["target"])
    }

    @Test func anEventThatIsPublishedForSomethingElseIsAnother() {
        let other = EffectComparison(
            before: [stock("MAP", left: 4, order: "o-1")], now: [stock("MUG", left: 10, order: "o-1")])
        #expect(other.added.count == 1 && other.gone.count == 1 && other.changed.isEmpty)
        let same = EffectComparison(
            before: [stock("MAP", left: 4, order: "o-1")], now: [stock("MAP", left: 3, order: "o-1")])
        #expect(same.changed.count == 1 && same.added.isEmpty)
    }

    @Test func randomIdentifiersAreNoDifference() {
        let first = post(#"{"id":"0b7f0a6e-3c51-4f5e-9d0a-1f2e3d4c5b6a"}"#)
        let second = post(#"{"id":"9a1f0a6e-3c51-4f5e-8d0a-1f2e3d4c5b6a"}"#)
        #expect(EffectComparison(before: [first], now: [second]).isSame)
        #expect(first.fields["json.id"] == #""(random id)""#)
    }

    @Test func costsAreTheMedianAndTheHundredth() {
        var tally = RehearsalTally()
        for number in 1...100 {
            tally.add(
                subject("\(number)"), before: .init(.ack, cpu: .milliseconds(1)),
                now: .init(.ack, cpu: .milliseconds(number), wasKilled: number == 100))
        }
        #expect(tally.costBefore.quantile(0.5) == .milliseconds(1))
        #expect(tally.costNow.quantile(0.5) == .milliseconds(51))
        #expect(tally.costNow.quantile(0.99) == .milliseconds(100))
        #expect(tally.hasNewKills)
    }

    @Test func whatReallyHappenedStandsBesideIt() {
        var tally = RehearsalTally()
        func attempt(_ outcome: Attempt.Outcome, number: Int = 1) -> Attempt {
            Attempt(
                topic: "orders", offset: 0, number: number, began: .distantPast, ended: .distantPast, outcome: outcome,
                generation: 1)
        }
        tally.record(attempt(.ack))
        tally.record(attempt(.ack, number: 3))
        tally.record(attempt(.dead))
        tally.record(nil)
        tally.add(subject("x"), before: .init(.ack), now: .init(.ack), recorded: attempt(.dead))
        tally.add(subject("y"), before: .init(.ack), now: .init(.ack), recorded: attempt(.retry))
        #expect(tally.recorded.endings == [.ack: 2, .dead: 1])
        #expect(tally.recorded.retried == 1)
        #expect(tally.recorded.unknown == 1)
        #expect(tally.recorded.otherwise.examples.map(\.detail) == ["dead, rehearsed ack"])
    }
}
