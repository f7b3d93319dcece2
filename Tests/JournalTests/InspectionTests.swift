// SPDX-License-Identifier: Apache-2.0

import Events
import Journal
import Synchronization
import Testing

/// `fairlead verify` names every damage, and its repair sets aside what it replaces.
@Suite(.timeLimit(.minutes(3))) struct InspectionTests {
    private let storage = SimulatedStorage(seed: 3)
    private let clock = TestClock()
    private let topic = Topic.named("orders")

    private func open() throws -> Journal {
        let journal = Journal(
            folder: "journal", storage: storage, clock: clock, log: quietLogger(), segmentBytesMax: 8_192,
            writing: .manual)
        try journal.open()
        try journal.create(topic)
        return journal
    }

    /// Four segments or so, closed.
    private func fill(_ count: Int = 60) throws {
        let journal = try open()
        for number in 0..<count {
            journal.append(batch(topic, "e\(number)", dataBytes: 400)) { _ in }
            journal.step()
            clock.advance(.milliseconds(10))
        }
        journal.close()
    }

    private func inspect(isServed: Bool = false) throws -> JournalInspection {
        try JournalInspection(reading: "journal", storage: storage, isServed: isServed)
    }

    private func mend(_ inspection: JournalInspection) throws {
        _ = try JournalRepair(of: "journal", storage: storage).mend(
            inspection.findings, clock: clock, log: quietLogger())
    }

    private var segments: [String] {
        get throws { try storage.list("journal/orders").filter { $0.hasSuffix(".log") }.sorted() }
    }

    private func offset(_ name: String) throws -> Offset { try #require(Offset(name.prefix(20))) }

    @Test func aSoundJournalHasNoFindings() throws {
        try fill()
        let inspection = try inspect()
        #expect(inspection.findings.isEmpty)
        #expect(inspection.records == 60)
        #expect(inspection.present["orders"]?.first?.lowerBound == 0)
        #expect(inspection.has(59, of: "orders"))
        #expect(!inspection.has(60, of: "orders"))
        #expect(inspection.bounds(of: "orders") == 0..<60)
        #expect(inspection.bounds(of: "nothing") == nil)
    }

    @Test func aDamagedRecordIsNamedAndRepairedOnceForAll() throws {
        try fill()
        let second = try segments[1]
        let first = try offset(second)
        storage.corrupt("journal/orders/\(second)", at: 64 + 200, with: [1, 2, 3])
        let before = try inspect()
        #expect(before.findings.map(\.kind) == [.damagedRecords])
        #expect(before.findings.map(\.lost) == [first..<first + 1])
        #expect(before.findings.allSatisfy { $0.isDamage && $0.repair != nil })
        #expect(!before.has(first, of: "orders"))
        try mend(before)
        let after = try inspect()
        #expect(!after.findings.contains { $0.isDamage })
        #expect(after.findings.contains { $0.kind == .leftOut && $0.lost == first..<first + 1 })
        #expect(after.findings.contains { $0.kind == .setAside && $0.file.hasSuffix(second + ".damaged") })
        // A start finds nothing wrong any more, and the others are served.
        let journal = try open()
        #expect(journal.notes().filter(\.isLoss).isEmpty)
        #expect(try journal.ids(topic).count == 59)
        journal.close()
    }

    @Test func damageAtTheEndOfASealedSegmentIsRepairedOnceForAll() throws {
        try fill()
        let names = try segments
        let size = try #require(storage.contents("journal/orders/\(names[1])")).count
        storage.corrupt("journal/orders/\(names[1])", at: size - 100, with: [9, 9, 9])
        let last = try offset(names[2]) - 1
        let before = try inspect()
        #expect(before.findings.first?.lost == last..<last + 1)
        try mend(before)
        let after = try inspect()
        #expect(!after.findings.contains { $0.isDamage }, "\(after.findings)")
        let journal = try open()
        #expect(try journal.ids(topic).count == 59)
        journal.close()
    }

    @Test func aWrongIndexIsKeptAndMadeAgain() throws {
        try fill()
        let index = "journal/orders/" + (try segments[1]).dropLast(3) + "idx"
        storage.corrupt(index, at: 40, with: [7])
        let before = try inspect()
        #expect(before.findings.map(\.kind) == [.wrongIndex])
        try mend(before)
        #expect(try !inspect().findings.contains { $0.isDamage })
        #expect(storage.contents(index + ".damaged") != nil)
    }

    @Test func aMissingSegmentIsNamedWithItsOffsets() throws {
        try fill()
        let names = try segments
        try storage.remove("journal/orders/\(names[1])")
        let findings = try inspect().findings.filter(\.isDamage)
        #expect(findings.map(\.kind) == [.missing])
        #expect(findings[0].lost == (try offset(names[1]))..<(try offset(names[2])))
        #expect(findings[0].repair == nil)
    }

    @Test func aHeaderASegmentAndAForeignFileAreToldApart() throws {
        try fill()
        let names = try segments
        storage.corrupt("journal/orders/\(names[0])", at: 3, with: [0])
        storage.corrupt(
            "journal/orders/\(names[1])", at: 0, with: [UInt8](repeating: 0xFF, count: 700))
        _ = try storage.open("journal/orders/notes.txt", create: true)
        let before = try inspect()
        #expect(before.findings.map(\.kind) == [.foreignFile, .damagedHeader, .unusableSegment])
        try mend(before)
        let after = try inspect()
        #expect(!after.findings.contains { $0.isDamage }, "\(after.findings)")
        #expect(storage.contents("journal/orders/\(names[1]).damaged") != nil)
    }

    @Test func aTornEndIsNoDamage() throws {
        try fill()
        let last = try #require(try segments.last)
        let file = try storage.open("journal/orders/\(last)", create: false)
        let end = try file.size()
        let torn = [UInt8](repeating: 0x77, count: 90)
        try torn.withUnsafeBytes { try file.write([$0], at: end) }
        let findings = try inspect().findings
        #expect(findings.map(\.kind) == [.tornTail])
        #expect(findings[0].bytes == 90)
        #expect(!findings[0].isDamage)
        // A server may be in the middle of it.
        #expect(try inspect(isServed: true).findings.isEmpty)
    }

    /// Whatever bit is wrong, in whatever file: it is found, what is served is right, and repairing leaves a sound journal.
    @Test(arguments: 0..<4) func anyFlippedBitIsFoundAndMended(_ block: UInt64) throws {
        for seed in block * 40..<block * 40 + 40 {
            // Each on a disk of its own.
            try InspectionTests().flipOneBit(seed)
        }
    }

    private func flipOneBit(_ seed: UInt64) throws {
        var random = Numbers(state: seed &* 0x9E37_79B9_7F4A_7C15 &+ 1)
        try fill(50)
        let files = try storage.list("journal/orders").sorted()
        let name = files[Int(random.next() % UInt64(files.count))]
        let path = "journal/orders/\(name)"
        let contents = try #require(storage.contents(path))
        let at = Int(random.next() % UInt64(contents.count))
        storage.corrupt(path, at: at, with: [contents[at] ^ UInt8(1 << (random.next() % 8))])
        let before = try inspect()
        // The last index may be cut to what of it is sound: that is no disagreement.
        let isLastIndex = name == files.last { $0.hasSuffix(".idx") }
        #expect(!before.findings.isEmpty || isLastIndex, "seed \(seed): bit in \(name) at \(at) went unnoticed")
        let expected = before.records
        let journal = try open()
        let ids = try journal.ids(topic)
        #expect(ids.count >= expected, "seed \(seed): \(ids.count) of \(expected) are served")
        #expect(ids.allSatisfy { $0.hasPrefix("e") && $0.hasSuffix("-0") })
        #expect(ids == ids.sorted { Int($0.dropFirst().dropLast(2))! < Int($1.dropFirst().dropLast(2))! })
        journal.close()
        try mend(try inspect())
        let after = try inspect()
        #expect(!after.findings.contains { $0.isDamage }, "seed \(seed): \(name) at \(at): \(after.findings)")
    }

    // MARK: clocks

    @Test func aClockThatWasSetBackKeepsLookupsByTimeRight() throws {
        let journal = try open()
        let start = clock.now()
        for number in 0..<20 {
            journal.append(batch(topic, "a\(number)", dataBytes: 400)) { _ in }
            journal.step()
            clock.advance(.seconds(10))
        }
        clock.advance(.seconds(-3_600))
        for number in 0..<20 {
            journal.append(batch(topic, "b\(number)", dataBytes: 400)) { _ in }
            journal.step()
            clock.advance(.seconds(10))
        }
        let times = try journal.records(topic).map(\.time)
        #expect(times == times.sorted())
        #expect(try journal.offset(at: start + .seconds(55), in: topic) == 6)
        #expect(try journal.offset(at: start + .seconds(190), in: topic) == 19)
        #expect(try journal.offset(at: start + .seconds(191), in: topic) == 40)
        journal.close()
        // And after a restart, still before the clock has caught up.
        let again = try open()
        again.append(batch(topic, "c")) { _ in }
        again.step()
        let last = try #require(try again.records(topic).last)
        #expect(last.time == times.last)
        again.close()
        #expect(try inspect().findings.isEmpty)
    }
}

/// xorshift64*.
private struct Numbers: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return state &* 0x2545_F491_4F6C_DD1D
    }
}
