// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Journal
import Testing

/// Reading beside whoever writes.
@Suite(.timeLimit(.minutes(2))) struct JournalReaderTests {
    let folder = TemporaryFolder()
    let clock = TestClock()
    let topic = Topic.named("orders")
    private var path: String { folder.path + "/journal" }

    private func open(segmentBytesMax: Int = 64 << 20) throws -> Journal {
        let journal = Journal(folder: path, clock: clock, log: quietLogger(), segmentBytesMax: segmentBytesMax)
        _ = try journal.open()
        try journal.create(topic)
        return journal
    }

    private func offsets(_ reader: JournalReader, from: Offset = 0, maxRecords: Int = 7) throws -> [Offset] {
        var offsets: [Offset] = []
        var at = from
        while let batch = try reader.read("orders", from: at, maxRecords: maxRecords, maxBytes: 1 << 20) {
            #expect(batch.count <= maxRecords)
            offsets += (0..<batch.count).map { batch[$0].offset }
            at = batch.last + 1
        }
        return offsets
    }

    @Test func itReadsWhatTheWriterHasWrittenSoFar() async throws {
        let journal = try open()
        let reader = JournalReader(folder: path)
        #expect(try reader.topics() == ["orders"])
        #expect(try reader.end(of: "orders") == 0)
        _ = try await journal.append(batch(topic, "a", count: 10))
        #expect(try offsets(reader) == Array(0..<10))
        _ = try await journal.append(batch(topic, "b", count: 10))
        #expect(try offsets(reader, from: 5) == Array(5..<20))
        #expect(try reader.end(of: "orders") == 20)
        journal.close()
        #expect(try offsets(reader) == Array(0..<20), "and when nobody writes")
    }

    @Test func itReadsThroughManySegmentsAndFindsTimesInThem() async throws {
        let journal = try open(segmentBytesMax: 8 << 10)
        var times: [Timestamp] = []
        for number in 0..<40 {
            clock.advance(.seconds(1))
            times.append(clock.now())
            _ = try await journal.append(batch(topic, "e\(number)", count: 2, dataBytes: 900))
        }
        let reader = JournalReader(folder: path)
        let files = try FileStorage().list(path + "/orders").filter { $0.hasSuffix(".log") }
        #expect(files.count > 5, "\(files)")
        #expect(try offsets(reader) == Array(0..<80))
        #expect(try offsets(reader, from: 33, maxRecords: 1_000) == Array(33..<80))
        for (number, time) in times.enumerated() {
            #expect(try reader.offset(at: time, in: "orders") == Offset(number * 2))
        }
        #expect(try reader.offset(at: times[39] + .seconds(1), in: "orders") == 80)
        #expect(try reader.offset(at: .distantPast, in: "orders") == 0)
        #expect(try reader.end(of: "orders") == 80)
        journal.close()
    }

    @Test func damageIsPassedOverAndATornTailEndsIt() async throws {
        let journal = try open()
        for name in ["a", "b", "c"] { _ = try await journal.append(batch(topic, name, count: 1, dataBytes: 200)) }
        journal.close()
        let file = path + "/orders/" + "00000000000000000000.log"
        var bytes = try Data(contentsOf: URL(fileURLWithPath: file))
        let second = try #require(bytes.firstRange(of: Data("b-0".utf8)))
        bytes[second.lowerBound] = UInt8(ascii: "x")
        try bytes.write(to: URL(fileURLWithPath: file))
        #expect(try offsets(JournalReader(folder: path)) == [0, 2])
        let third = try #require(bytes.firstRange(of: Data("c-0".utf8)))
        bytes[third.lowerBound] = UInt8(ascii: "x")
        try bytes.write(to: URL(fileURLWithPath: file))
        #expect(try offsets(JournalReader(folder: path)) == [0])
        #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == bytes, "it mends nothing")
    }
}
