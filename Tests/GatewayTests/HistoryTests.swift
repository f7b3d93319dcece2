// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Testing

struct HistoryTests {
    private static let base = "/v1/subscribers/history"

    @Test func aReplayIsAnsweredWithHowItGoes() async throws {
        let answer = try await RoutesTests.call(
            FakeBroker(), .post, "\(Self.base)/replay", #"{"from":2,"where":"type = 'a'","rate":"500/s"}"#)
        #expect(answer.status == .accepted)
        #expect(
            answer.body
                == #"{"id":3,"kind":"replay","state":"running","topics":[{"topic":"orders","from":2,"until":12}],"#
                + #""where":"type = 'a'","rate":"500/s","total":10,"passed":4,"delivered":0,"inFlight":0,"waiting":0,"#
                + #""perSecond":2,"remainingSeconds":3,"begun":"2026-03-09T14:05:00.000Z"}"#)
    }

    @Test(arguments: [
        (#""earliest""#, 2), (#""7""#, 7), ("7", 7), (#""1970-01-01T00:00:01Z""#, 1_000),
        (#""1970-01-02""#, 86_400_000),
        (#""1s""#, 1_773_065_099_000),
    ])
    func aReplayBeginsAtAnOffsetATimeOrSoLongAgo(_ from: String, _ offset: Int) async throws {
        let answer = try await RoutesTests.call(FakeBroker(), .post, "\(Self.base)/replay", #"{"from":\#(from)}"#)
        #expect(answer.status == .accepted)
        #expect(answer.body.contains(#""from":\#(offset),"until""#), "\(answer.body)")
    }

    @Test(arguments: [
        ("{}", "say from where"), (#"{"from":"soon"}"#, #"\"from\" is \"soon\"; write earliest, an offset, a time"#),
        (#"{"from":"earliest","rate":"fast"}"#, #"\"rate\" is \"fast\"; write a number per unit"#),
        (#"{"from":"earliest","form":1}"#, #"unknown member \"form\""#),
    ])
    func aReplayThatIsAskedForWronglyIsSaidSo(_ body: String, _ text: String) async throws {
        let answer = try await RoutesTests.call(FakeBroker(), .post, "\(Self.base)/replay", body)
        #expect(answer.status == .badRequest)
        #expect(answer.body.contains(text), "\(answer.body)")
    }

    @Test func replaysAreListedShownAndCancelled() async throws {
        let list = try await RoutesTests.call(FakeBroker(), .get, "\(Self.base)/replays")
        #expect(list.body.hasPrefix(#"{"replays":[{"id":3,"#))
        let one = try await RoutesTests.call(FakeBroker(), .get, "\(Self.base)/replays/3")
        #expect(one.status == .ok && one.body.hasPrefix(#"{"id":3,"#))
        let cancelled = try await RoutesTests.call(FakeBroker(), .delete, "\(Self.base)/replays/3")
        #expect(cancelled.status == .conflict && cancelled.body.contains("is finished already"))
        let wrong = try await RoutesTests.call(FakeBroker(), .get, "\(Self.base)/replays/x")
        #expect(wrong.status == .badRequest)
    }

    @Test func anImportIsBegunSentAndCompleted() async throws {
        let begun = try await RoutesTests.call(
            FakeBroker(), .post, "\(Self.base)/imports", #"{"topic":"orders","file":"abc","events":2}"#)
        #expect(begun.status == .accepted)
        #expect(
            begun.body.hasPrefix(
                #"{"id":3,"kind":"import","state":"running","topic":"orders","file":"abc","taken":2,"complete":false,"#)
        )
        let sent = try await RoutesTests.call(
            FakeBroker(), .post, "\(Self.base)/imports/3?at=5&type=order.placed", "{\"a\":1}\n{\"a\":2}")
        #expect(sent.status == .accepted && sent.body == #"{"taken":7}"#, "\(sent.body)")
        let nowhere = try await RoutesTests.call(FakeBroker(), .post, "\(Self.base)/imports/3", "{}")
        #expect(nowhere.status == .badRequest && nowhere.body.contains("say with ?at= how many events are in already"))
        let bad = try await RoutesTests.call(FakeBroker(), .post, "\(Self.base)/imports/3?at=0", "{}\n{")
        #expect(bad.status == .badRequest && bad.body.contains("line 2"))
        let complete = try await RoutesTests.call(
            FakeBroker(), .post, "\(Self.base)/imports/3/complete", #"{"events":2}"#)
        #expect(complete.status == .ok)
        let unsaid = try await RoutesTests.call(FakeBroker(), .post, "\(Self.base)/imports", #"{"topic":"orders"}"#)
        #expect(unsaid.status == .badRequest && unsaid.body.contains("say what for and which"))
    }
}
