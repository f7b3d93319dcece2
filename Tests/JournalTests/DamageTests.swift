// SPDX-License-Identifier: Apache-2.0

import Events
import Journal
import Synchronization
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// What the journal does with disks that lie, fail, and fill up. The journal is driven by hand, so that each test
/// decides what is on disk when.
@Suite(.timeLimit(.minutes(2))) struct DamageTests {
    let storage = SimulatedStorage(seed: 1)
    let clock = TestClock()
    let topic = Topic.named("orders")

    private func open(segmentBytesMax: Int = 1 << 20) throws -> (Journal, [RecoveryNote]) {
        let journal = Journal(
            folder: "journal", storage: storage, clock: clock, log: quietLogger(), segmentBytesMax: segmentBytesMax,
            writing: .manual)
        let notes = try journal.open()
        try journal.create(topic)
        return (journal, notes)
    }

    @discardableResult
    private func append(_ journal: Journal, _ batch: RecordBatch) -> Result<ClosedRange<Offset>, Failure> {
        let answer = Mutex<Result<ClosedRange<Offset>, Failure>?>(nil)
        journal.append(batch) { result in answer.withLock { $0 = result } }
        journal.step()
        return answer.withLock { $0! }
    }

    private func path(_ first: Int, _ suffix: String = "log") -> String {
        let digits = String(first)
        return "journal/orders/" + String(repeating: "0", count: 20 - digits.count) + digits + "." + suffix
    }

    /// Where the record with this id starts in a file.
    private func position(of id: String, in path: String) throws -> Int {
        let contents = try #require(storage.contents(path))
        let name = Array(id.utf8)
        let at = try #require(
            (0..<contents.count - name.count).first { contents[$0..<$0 + name.count].elementsEqual(name) })
        return at - 52
    }

    @Test func aTornLastRecordIsCutOff() throws {
        let (journal, _) = try open()
        append(journal, batch(topic, "a", count: 3))
        append(journal, batch(topic, "b", count: 1, dataBytes: 200))
        let at = try position(of: "b-0", in: path(0))
        storage.kill()
        storage.corrupt(path(0), at: at + 100, with: [0, 0, 0, 0])
        let (again, notes) = try open()
        #expect(notes.map(\.kind) == [.tornTail])
        #expect(notes[0].bytes > 200)
        #expect(notes[0].lost == nil)
        #expect(try again.ids(topic) == ["a-0", "a-1", "a-2"])
        #expect(try append(again, batch(topic, "c")).get() == 3...3)
        #expect(try again.ids(topic) == ["a-0", "a-1", "a-2", "c-0"])
    }

    @Test func wholeRecordsAfterATornOneAreKeptAsideAndTheirOffsetsNotUsedAgain() throws {
        let (journal, _) = try open()
        append(journal, batch(topic, "a", count: 5, dataBytes: 100))
        let at = try position(of: "a-2", in: path(0))
        storage.kill()
        storage.corrupt(path(0), at: at + 80, with: [0])
        let (again, notes) = try open()
        #expect(notes.map(\.kind) == [.tornTail])
        #expect(notes[0].lost == 2..<5)
        #expect(storage.contents("journal/orders/00000000000000000000.\(at).torn") != nil)
        #expect(try append(again, batch(topic, "b")).get() == 5...5)
        #expect(try again.ids(topic) == ["a-0", "a-1", "b-0"])
        storage.kill()
        let (third, later) = try open()
        #expect(later.isEmpty)
        #expect(try third.ids(topic) == ["a-0", "a-1", "b-0"])
    }

    /// It was taken for a write that had not been acknowledged, and cut off without a loss being reported.
    @Test(arguments: [0, 9]) func damageToWhatACleanStopLeftIsALossAndNoTornTail(_ number: Int) throws {
        let (journal, _) = try open()
        for index in 0..<10 { append(journal, batch(topic, "e\(index)", dataBytes: 300)) }
        journal.close()
        let at = try position(of: "e\(number)-0", in: path(0))
        storage.corrupt(path(0), at: at + 100, with: [1, 2, 3])
        let (again, notes) = try open()
        let lost = Offset(number)
        #expect(notes.map(\.kind) == [.damagedRecords])
        #expect(notes[0].lost == lost..<lost + 1)
        #expect(notes[0].isLoss)
        #expect(try again.ids(topic).count == 9)
        // Its offset isn't used again.
        #expect(try append(again, batch(topic, "new")).get() == 10...10)
        #expect(try again.ids(topic).last == "new-0")
        again.close()
        let (third, more) = try open()
        #expect(try third.ids(topic).count == 10)
        #expect(more.filter { $0.kind == .tornTail }.isEmpty)
    }

    @Test func aLastSegmentThatWasCutShortIsALoss() throws {
        let (journal, _) = try open()
        for index in 0..<10 { append(journal, batch(topic, "e\(index)", dataBytes: 300)) }
        journal.close()
        try storage.open(path(0), create: false).truncate(try position(of: "e8-0", in: path(0)))
        let (again, notes) = try open()
        #expect(notes.map(\.kind) == [.missing])
        #expect(notes[0].lost == 8..<10)
        #expect(try append(again, batch(topic, "new")).get() == 10...10)
    }

    @Test func damageInsideASealedSegmentIsReportedAndReadAround() throws {
        let (journal, _) = try open(segmentBytesMax: 8_192)
        for index in 0..<40 { append(journal, batch(topic, "e\(index)", dataBytes: 400)) }
        journal.close()
        let at = try position(of: "e3-0", in: path(0))
        storage.corrupt(path(0), at: at + 200, with: [1, 2, 3])
        let (again, notes) = try open(segmentBytesMax: 8_192)
        #expect(notes.isEmpty)
        let expected = (0..<40).filter { $0 != 3 }.map { "e\($0)-0" }
        #expect(try again.ids(topic) == expected)
        #expect(again.notes().map(\.kind) == [.damagedRecords])
        #expect(again.notes()[0].lost == 3..<4)
        // Read again, it is known and not reported a second time.
        #expect(try again.ids(topic) == expected)
        #expect(try again.read(topic, from: 3, maxRecords: 1, maxBytes: 1)?.first == 4)
        #expect(again.notes().count == 1)
    }

    @Test func aRecordWhoseLengthIsDamagedCostsOnlyItself() throws {
        let (journal, _) = try open()
        append(journal, batch(topic, "a", count: 10, dataBytes: 300))
        let at = try position(of: "a-4", in: path(0))
        storage.corrupt(path(0), at: at, with: [0xFF, 0xFF, 0xFF, 0x7F])
        #expect(try journal.ids(topic) == (0..<10).filter { $0 != 4 }.map { "a-\($0)" })
        #expect(journal.notes().map(\.lost) == [4..<5])
    }

    @Test func aDamagedHeaderIsWrittenAnewWhereTheRecordsAreRight() throws {
        let (journal, _) = try open(segmentBytesMax: 8_192)
        for index in 0..<40 { append(journal, batch(topic, "e\(index)", dataBytes: 400)) }
        journal.close()
        storage.corrupt(path(0), at: 0, with: [9, 9, 9, 9])
        let (again, notes) = try open(segmentBytesMax: 8_192)
        #expect(notes.map(\.kind) == [.headerRewritten])
        #expect(try again.ids(topic).count == 40)
        again.close()
        #expect(try open(segmentBytesMax: 8_192).1.isEmpty)
    }

    @Test func anUnusableSegmentIsSetAsideAndTheRestServed() throws {
        let (journal, _) = try open(segmentBytesMax: 8_192)
        for index in 0..<60 { append(journal, batch(topic, "e\(index)", dataBytes: 400)) }
        journal.close()
        let names = try storage.list("journal/orders").filter { $0.hasSuffix(".log") }.sorted()
        let second = try #require(Int(names[1].prefix(20)))
        let third = try #require(Int(names[2].prefix(20)))
        storage.corrupt(path(second), at: 0, with: [UInt8](repeating: 0xAA, count: 600))
        let (again, notes) = try open(segmentBytesMax: 8_192)
        #expect(notes.map(\.kind) == [.setAside])
        #expect(notes[0].lost == Offset(second)..<Offset(third))
        #expect(storage.contents(path(second, "log.damaged")) != nil)
        let expected = (0..<60).filter { $0 < second || $0 >= third }.map { "e\($0)-0" }
        #expect(try again.ids(topic) == expected)
        again.close()
        // The gap stays known.
        #expect(try open(segmentBytesMax: 8_192).1.map(\.kind) == [.missing])
    }

    @Test func offsetsOfALostLastSegmentAreNotUsedAgain() throws {
        let (journal, _) = try open(segmentBytesMax: 8_192)
        for index in 0..<30 { append(journal, batch(topic, "e\(index)", dataBytes: 400)) }
        journal.close()
        let last = try #require(
            Int(try storage.list("journal/orders").filter { $0.hasSuffix(".log") }.sorted().last!.prefix(20)))
        storage.corrupt(path(last), at: 0, with: [UInt8](repeating: 0xAA, count: 100))
        let (again, notes) = try open(segmentBytesMax: 8_192)
        #expect(notes.map(\.kind) == [.setAside])
        #expect(notes[0].lost == Offset(last)..<30)
        #expect(try append(again, batch(topic, "new")).get() == 30...30)
        #expect(try again.ids(topic).last == "new-0")
    }

    @Test func aMissingSegmentIsReported() throws {
        let (journal, _) = try open(segmentBytesMax: 8_192)
        for index in 0..<60 { append(journal, batch(topic, "e\(index)", dataBytes: 400)) }
        journal.close()
        let names = try storage.list("journal/orders").filter { $0.hasSuffix(".log") }.sorted()
        try storage.remove("journal/orders/" + names[1])
        let (_, notes) = try open(segmentBytesMax: 8_192)
        #expect(notes.map(\.kind) == [.missing])
        #expect(notes[0].lost == Offset(names[1].prefix(20))!..<Offset(names[2].prefix(20))!)
    }

    @Test func aLostIndexIsMadeAgain() throws {
        let (journal, _) = try open(segmentBytesMax: 8_192)
        for index in 0..<40 { append(journal, batch(topic, "e\(index)", dataBytes: 400)) }
        journal.close()
        try storage.remove(path(0, "idx"))
        let (again, notes) = try open(segmentBytesMax: 8_192)
        #expect(notes.map(\.kind) == [.indexRebuilt])
        #expect(try again.ids(topic).count == 40)
        again.close()
        #expect(try open(segmentBytesMax: 8_192).1.isEmpty)
    }

    @Test(arguments: [0, 8, 20, 28, 40, 60]) func aWrongIndexMisleadsNobody(_ position: Int) throws {
        let (journal, _) = try open(segmentBytesMax: 8_192)
        for index in 0..<40 { append(journal, batch(topic, "e\(index)", dataBytes: 400)) }
        journal.close()
        storage.corrupt(path(0, "idx"), at: position, with: [0x5A])
        let (again, _) = try open(segmentBytesMax: 8_192)
        #expect(try again.ids(topic) == (0..<40).map { "e\($0)-0" })
        #expect(try again.ids(topic, from: 5).first == "e5-0")
    }

    @Test func aSegmentOfANewerVersionIsRefusedAndLeftAlone() throws {
        let (journal, _) = try open()
        append(journal, batch(topic, "a"))
        journal.close()
        var header = Array(try #require(storage.contents(path(0))).prefix(60))
        header[8] = 9
        storage.corrupt(path(0), at: 0, with: header + crc32c(header))
        #expect {
            try open()
        } throws: { error in
            "\(error)".contains("format version 9; this Fairlead reads up to 1")
        }
    }

    @Test func filesThatAreNotTheJournalsAreLeftAlone() throws {
        let (journal, _) = try open()
        append(journal, batch(topic, "a"))
        journal.close()
        _ = try storage.open("journal/orders/notes.txt", create: true)
        let (again, notes) = try open()
        #expect(notes.map(\.kind) == [.foreignFile])
        #expect(try again.ids(topic) == ["a-0"])
        #expect(storage.contents("journal/orders/notes.txt") != nil)
    }

    // MARK: Calls that fail

    @Test func aFullDiskRefusesAndRecoversByItself() throws {
        let (journal, _) = try open()
        append(journal, batch(topic, "a", count: 2))
        storage.setCapacity(storage.usedBytes)
        let refused = append(journal, batch(topic, "b", count: 3_000, dataBytes: 500))
        guard case .failure(let failure) = refused else {
            Issue.record("a full disk took the batch")
            return
        }
        #expect(failure.code == .overloaded)
        #expect(failure.message.hasPrefix("the disk is full, topic \"orders\" can't be written"))
        #expect(try journal.ids(topic) == ["a-0", "a-1"])
        storage.setCapacity(.max)
        #expect(try append(journal, batch(topic, "c")).get() == 2...2)
        storage.crash()
        let (again, _) = try open()
        #expect(try again.ids(topic) == ["a-0", "a-1", "c-0"])
    }

    @Test func aFailedSyncIsShownToNobodyAndStopsTheTopicUntilReopened() async throws {
        let (journal, _) = try open()
        append(journal, batch(topic, "a"))
        storage.failNext(.sync)
        guard case .failure(let failure) = append(journal, batch(topic, "b")) else {
            Issue.record("an unsynced batch was acknowledged")
            return
        }
        #expect(failure.code == .storage)
        #expect(try journal.ids(topic) == ["a-0"])
        // The next sync would go well, and yet nothing is taken.
        guard case .failure = append(journal, batch(topic, "c")) else {
            Issue.record("a failed topic took a batch")
            return
        }
        #expect(try await journal.failure(of: topic)?.message.contains("then restart fairlead") == true)
        try await journal.reopen(topic)
        #expect(try append(journal, batch(topic, "d")).get() == 1...1)
        #expect(try journal.ids(topic) == ["a-0", "d-0"])
        storage.crash()
        let (again, _) = try open()
        #expect(try again.ids(topic) == ["a-0", "d-0"])
    }

    @Test func oneTopicsFailureLeavesOthersAlone() throws {
        let (journal, _) = try open()
        let other = Topic.named("stock")
        try journal.create(other)
        storage.failNext(.sync)
        guard case .failure = append(journal, batch(topic, "a")) else {
            Issue.record("an unsynced batch was acknowledged")
            return
        }
        #expect(try append(journal, batch(other, "b")).get() == 0...0)
    }

    @Test func aWriteThatFailsForGoodStopsTheTopic() throws {
        let (journal, _) = try open()
        append(journal, batch(topic, "a"))
        storage.failNext(.write)
        guard case .failure(let failure) = append(journal, batch(topic, "b", count: 9)) else {
            Issue.record("a failed write was acknowledged")
            return
        }
        #expect(failure.code == .storage)
        storage.kill()
        let (again, _) = try open()
        #expect(try again.ids(topic) == ["a-0"])
    }

    // MARK: Sync intervals

    @Test func aSyncIntervalShowsRecordsAtOnceAndSyncsLater() throws {
        let (journal, _) = try open()
        try journal.setSyncInterval(topic, .seconds(1))
        append(journal, batch(topic, "a"))
        #expect(try journal.ids(topic) == ["a-0"])
        clock.advance(.seconds(2))
        journal.step()
        // Synced now: a crash keeps it.
        storage.crash()
        let (again, _) = try open()
        #expect(try again.ids(topic) == ["a-0"])
    }

    @Test func offsetsThatMayHaveBeenSeenAreNotUsedAgainAfterACrash() throws {
        let (journal, _) = try open()
        try journal.setSyncInterval(topic, .seconds(1))
        append(journal, batch(topic, "a", count: 10))
        storage.crash()
        let (again, _) = try open()
        let range = try append(again, batch(topic, "b")).get()
        #expect(range.lowerBound >= 10)
    }

    @Test func aCleanCloseLeavesNoOffsetsOut() throws {
        let (journal, _) = try open()
        try journal.setSyncInterval(topic, .seconds(1))
        append(journal, batch(topic, "a", count: 10))
        journal.close()
        let (again, _) = try open()
        #expect(try append(again, batch(topic, "b")).get() == 10...10)
    }
}

/// As RFC 3720 B.4 defines it, bit by bit.
private func crc32c(_ bytes: [UInt8]) -> [UInt8] {
    var crc: UInt32 = ~0
    for byte in bytes {
        crc ^= UInt32(byte)
        for _ in 0..<8 { crc = (crc >> 1) ^ (crc & 1 == 1 ? 0x82F6_3B78 : 0) }
    }
    return withUnsafeBytes(of: (~crc).littleEndian) { Array($0) }
}
