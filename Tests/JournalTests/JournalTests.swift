// SPDX-License-Identifier: Apache-2.0

import Events
import Journal
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(2))) struct JournalTests {
    let folder = TemporaryFolder()
    let clock = TestClock()
    let topic = Topic.named("orders")

    private func open(segmentBytesMax: Int = 64 << 20) throws -> (Journal, [RecoveryNote]) {
        let journal = Journal(
            folder: folder.path + "/journal", clock: clock, log: quietLogger(), segmentBytesMax: segmentBytesMax)
        let notes = try journal.open()
        try journal.create(topic)
        return (journal, notes)
    }

    @Test func aTopicMayCountFromAnyOffsetAndBeRemoved() async throws {
        let (journal, _) = try open()
        let past = Topic.imported(7, for: "orders.eu")
        #expect(past.name == "$import.7.orders.eu" && past.shownName == "orders.eu" && past.isImport && past.isSystem)
        #expect(topic.shownName == "orders" && !topic.isImport)
        try await journal.create(past, first: 7 << 40)
        #expect(try await journal.append(batch(past, "a", count: 2)) == (7 << 40)...(7 << 40 + 1))
        // Whoever goes on after a crash creates it again.
        try await journal.create(past, first: 7 << 40)
        journal.close()

        let (again, notes) = try open()
        #expect(notes.isEmpty)
        #expect(again.bounds(past)?.first == 7 << 40 && again.bounds(past)?.end == 7 << 40 + 2)
        #expect(try again.ids(past) == ["a-0", "a-1"])
        try await again.remove(past)
        #expect(again.topics() == [topic])
        #expect(try FileStorage().list(folder.path + "/journal") == ["orders"])
        #expect(throws: Failure.self) { try again.ids(past) }
        try await again.remove(past)
        again.close()
    }

    @Test func aJournalOfImportsSharesTheFolderAndNothingElse() async throws {
        func open(_ scope: Journal.Scope) throws -> Journal {
            let journal = Journal(folder: folder.path + "/journal", clock: clock, log: quietLogger(), scope: scope)
            #expect(try journal.open().isEmpty)
            return journal
        }
        let past = Topic.imported(7, for: "orders")
        let (published, imported) = (try open(.published), try open(.imported))
        try published.create(topic)
        try await imported.create(past, first: 7 << 40)
        _ = try await published.append(batch(topic, "a", count: 2))
        _ = try await imported.append(batch(past, "b", count: 2))
        published.close()
        imported.close()

        let (again, importedAgain) = (try open(.published), try open(.imported))
        #expect(again.topics() == [topic] && importedAgain.topics() == [past])
        #expect(try again.ids(topic) == ["a-0", "a-1"] && importedAgain.ids(past) == ["b-0", "b-1"])
        try await importedAgain.remove(past)
        again.close()
        importedAgain.close()
        #expect(try FileStorage().list(folder.path + "/journal") == ["orders"])
    }

    @Test func whatWasAppendedIsReadBackInOrder() async throws {
        let (journal, _) = try open()
        let first = try await journal.append(batch(topic, "a", count: 3))
        let second = try await journal.append(batch(topic, "b", count: 2))
        #expect(first == 0...2)
        #expect(second == 3...4)
        #expect(try journal.ids(topic) == ["a-0", "a-1", "a-2", "b-0", "b-1"])
        #expect(try journal.ids(topic, from: 3) == ["b-0", "b-1"])
        #expect(try journal.read(topic, from: 5, maxRecords: 1, maxBytes: 1) == nil)
        journal.close()
    }

    @Test func recordsSurviveClosingAndOpening() async throws {
        let (journal, _) = try open()
        for name in ["a", "b", "c"] { _ = try await journal.append(batch(topic, name, count: 10)) }
        journal.close()
        let (again, notes) = try open()
        #expect(notes.isEmpty)
        #expect(again.bounds(topic)!.end == 30)
        #expect(try again.ids(topic).count == 30)
        #expect(try await again.append(batch(topic, "d")) == 30...30)
        again.close()
    }

    @Test func aReadStopsAtItsBounds() async throws {
        let (journal, _) = try open()
        _ = try await journal.append(batch(topic, "a", count: 100, dataBytes: 1_000))
        #expect(try journal.read(topic, from: 0, maxRecords: 10, maxBytes: 1 << 20)!.count == 10)
        let few = try #require(try journal.read(topic, from: 50, maxRecords: 100, maxBytes: 5_000))
        #expect(few.count == 4)
        #expect(few.first == 50)
        let one = try #require(try journal.read(topic, from: 99, maxRecords: 100, maxBytes: 1))
        #expect(one.count == 1)
        journal.close()
    }

    @Test func aRecordLargerThanTheReadsBytesComesWhole() async throws {
        let (journal, _) = try open()
        _ = try await journal.append(batch(topic, "large", dataBytes: 900_000))
        let read = try #require(try journal.read(topic, from: 0, maxRecords: 5, maxBytes: 100))
        #expect(read[0].data.count == 900_000)
        journal.close()
    }

    @Test func segmentsFollowOneAnother() async throws {
        let (journal, _) = try open(segmentBytesMax: 4_096)
        for index in 0..<50 { _ = try await journal.append(batch(topic, "e\(index)", dataBytes: 300)) }
        let expected = (0..<50).map { "e\($0)-0" }
        #expect(try journal.ids(topic) == expected)
        #expect(try journal.ids(topic, from: 33) == Array(expected[33...]))
        journal.close()
        let names = try FileStorage().list(folder.path + "/journal/orders")
        #expect(names.filter { $0.hasSuffix(".log") }.count > 3)
        let (again, notes) = try open(segmentBytesMax: 4_096)
        #expect(notes.isEmpty)
        #expect(try again.ids(topic) == expected)
        again.close()
    }

    @Test func batchesOfManyTasksAreEachContiguousAndAllThere() async throws {
        let (journal, _) = try open(segmentBytesMax: 1 << 20)
        let topic = topic
        let ranges = try await withThrowingTaskGroup(of: [ClosedRange<Offset>].self) { group in
            for task in 0..<8 {
                group.addTask {
                    var ranges: [ClosedRange<Offset>] = []
                    for index in 0..<50 {
                        ranges.append(try await journal.append(batch(topic, "t\(task)-\(index)", count: 20)))
                    }
                    return ranges
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        #expect(ranges.flatMap { Array($0) }.sorted() == Array(0..<8_000))
        let ids = try journal.ids(topic)
        #expect(Set(ids).count == 8_000)
        journal.close()
    }

    @Test func batchesArriveForRoutingInOrderBeforeTheirCallersAreTold() async throws {
        let routed = Mutex<[Offset]>([])
        let journal = Journal(folder: folder.path + "/journal", clock: clock, log: quietLogger())
        try journal.open { batches in
            routed.withLock { $0 += batches.flatMap { batch in (0..<batch.count).map { batch[$0].offset } } }
        }
        try journal.create(topic)
        for _ in 0..<20 {
            let range = try await journal.append(batch(topic, "a", count: 5))
            #expect(routed.withLock { $0.last } == range.upperBound)
        }
        #expect(routed.withLock { $0 } == Array(0..<100))
        journal.close()
    }

    @Test func timeNeverGoesBackWithinATopic() async throws {
        let (journal, _) = try open()
        _ = try await journal.append(batch(topic, "a"))
        clock.advance(.seconds(-500))
        _ = try await journal.append(batch(topic, "b"))
        journal.close()
        let (again, _) = try open()
        _ = try await again.append(batch(topic, "c"))
        let times = try again.records(topic).map(\.time)
        #expect(times == [Timestamp(milliseconds: 1_000_000), times[0], times[0]])
        again.close()
    }

    @Test func anOffsetIsFoundByTime() async throws {
        let (journal, _) = try open(segmentBytesMax: 8_192)
        for index in 0..<100 {
            _ = try await journal.append(batch(topic, "e\(index)", dataBytes: 400))
            clock.advance(.seconds(1))
        }
        let start = Timestamp(milliseconds: 1_000_000)
        #expect(try journal.offset(at: .distantPast, in: topic) == 0)
        #expect(try journal.offset(at: start, in: topic) == 0)
        for second in [1, 17, 50, 99] {
            #expect(try journal.offset(at: start + .seconds(second), in: topic) == Offset(second))
            #expect(try journal.offset(at: start + .milliseconds(second * 1_000 - 1), in: topic) == Offset(second))
        }
        #expect(try journal.offset(at: start + .seconds(100), in: topic) == 100)
        journal.close()
    }

    @Test func retentionBySizeRemovesWholeSegmentsFromTheOldestOn() async throws {
        let (journal, _) = try open(segmentBytesMax: 4_096)
        for index in 0..<100 { _ = try await journal.append(batch(topic, "e\(index)", dataBytes: 400)) }
        let before = journal.bounds(topic)!
        try journal.setRetention(topic, age: nil, bytes: 20_000)
        let dropped = journal.removeExpired()
        let after = journal.bounds(topic)!
        #expect(dropped.map(\.offsets) == [0..<after.first])
        #expect(dropped[0].bytes == before.bytes - after.bytes)
        #expect(after.bytes <= 20_000)
        #expect(after.end == 100)
        // A reader from before goes on with what there is.
        #expect(try journal.ids(topic).first == "e\(after.first)-0")
        journal.close()
        let (again, notes) = try open(segmentBytesMax: 4_096)
        #expect(notes.isEmpty)
        #expect(again.bounds(topic)!.first == after.first)
        again.close()
    }

    @Test func retentionByAgeEmptiesATopicThatWentQuiet() async throws {
        let (journal, _) = try open(segmentBytesMax: 4_096)
        for index in 0..<30 { _ = try await journal.append(batch(topic, "e\(index)", dataBytes: 400)) }
        try journal.setRetention(topic, age: .seconds(3_600), bytes: nil)
        #expect(journal.removeExpired().isEmpty)
        clock.advance(.seconds(3_601))
        _ = journal.removeExpired()
        // The active segment is closed by the writer, and goes at the next turn.
        #expect(try await journal.failure(of: topic) == nil)
        _ = journal.removeExpired()
        #expect(journal.bounds(topic)!.first == 30)
        #expect(try await journal.append(batch(topic, "new")) == 30...30)
        clock.advance(.seconds(7_200))
        journal.close()
        // Another process may have it by now.
        #expect(journal.removeExpired().isEmpty)
        #expect(journal.removeExpired().isEmpty)
    }

    @Test(arguments: ["", ".", "..", "../x", "a/b", ".hidden", "naïve", "a\0b", String(repeating: "a", count: 129)])
    func aTopicNameNeverLeavesTheFolder(_ name: String) throws {
        let (journal, _) = try open()
        #expect(throws: Failure.self) { try journal.create(Topic.named(name)) }
        journal.close()
    }

    @Test func appendingToAnUnknownTopicIsRefused() async throws {
        let (journal, _) = try open()
        let other = Topic.named("nobody-made-this")
        await #expect(throws: Failure(.unknownTopic, "topic \"nobody-made-this\" has no journal: create it first")) {
            try await journal.append(batch(other, "a"))
        }
        #expect(journal.bounds(other) == nil)
        journal.close()
    }

    @Test func anEmptyBatchAndAnOversizedRecordAreRefused() async throws {
        let (journal, _) = try open()
        await #expect(throws: Failure(.malformed, "the batch for topic \"orders\" is empty")) {
            try await journal.append(batch(topic, "a", count: 0))
        }
        let large = batch(topic, "a", dataBytes: 5 << 20)
        await #expect {
            try await journal.append(large)
        } throws: { error in
            (error as? Failure)?.code == .tooLarge && (error as? Failure)?.index == 0
        }
        journal.close()
    }

    @Test func aClosedJournalRefuses() async throws {
        let (journal, _) = try open()
        journal.close()
        await #expect(throws: Failure(.storage, "the journal is closed")) {
            try await journal.append(batch(topic, "a"))
        }
    }

    @Test func tooMuchWaitingIsRefusedAtOnceAndNothingElseIsLost() async throws {
        let journal = Journal(
            folder: folder.path + "/journal", clock: clock, log: quietLogger(), writing: .manual)
        try journal.open()
        try journal.create(topic)
        let results = Mutex<[Result<ClosedRange<Offset>, Failure>]>([])
        for _ in 0..<3 {
            journal.append(batch(topic, "a", count: 100_000)) { result in results.withLock { $0.append(result) } }
        }
        // The third is refused while the first two wait.
        #expect(results.withLock { $0.count } == 1)
        guard case .failure(let refusal) = results.withLock({ $0[0] }) else {
            Issue.record("the third batch was taken")
            return
        }
        #expect(refusal.code == .overloaded)
        #expect(refusal.message.contains("200000 events"))
        while journal.step() {}
        #expect(results.withLock { $0.count } == 3)
        #expect(journal.bounds(topic)!.end == 200_000)
        journal.close()
    }
}
