// SPDX-License-Identifier: Apache-2.0

import Events
import Journal
import Logging
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// Time that tests move by hand.
final class TestClock: Clock {
    private let time: Mutex<Timestamp>

    init(_ milliseconds: Int64 = 1_000_000) {
        time = Mutex(Timestamp(milliseconds: milliseconds))
    }

    func now() -> Timestamp { time.withLock { $0 } }
    func advance(_ duration: Duration) { time.withLock { $0 = $0 + duration } }
}

func quietLogger() -> Logger {
    Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
}

/// `count` events whose data are `name-0`, `name-1`, …, padded to `dataBytes`.
func batch(_ topic: Topic, _ name: String, count: Int = 1, dataBytes: Int = 0) -> RecordBatch {
    var builder = RecordBatchBuilder(topic: topic, key: nil, capacity: count * (dataBytes + 128))
    for index in 0..<count {
        var data = Array("\(name)-\(index)".utf8)
        data += [UInt8](repeating: UInt8(ascii: "."), count: max(0, dataBytes - data.count))
        builder.append(Event(id: "\(name)-\(index)", source: "/test", type: "test", data: .text(data)))
    }
    return builder.finish()
}

/// A folder of its own that goes away with the test.
final class TemporaryFolder {
    let path: String

    init() {
        var template = Array("/tmp/fairlead-test-XXXXXX".utf8CString)
        path = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
    }

    deinit {
        remove(path)
    }

    private func remove(_ path: String) {
        let names = (try? FileStorage().list(path)) ?? []
        for name in names { remove("\(path)/\(name)") }
        if unlink(path) != 0 { rmdir(path) }
    }
}

extension Journal {
    /// One turn of retention for which nobody holds anything back.
    func removeExpired() -> [Dropped] {
        expired().compactMap { expired in expired.segments.last.flatMap { drop(expired.topic, before: $0.upperBound) } }
    }

    /// Every id of the topic from `offset` on, read in small steps.
    func ids(_ topic: Topic, from offset: Offset = 0) throws -> [String] {
        try records(topic, from: offset).map(\.id)
    }

    func records(_ topic: Topic, from offset: Offset = 0) throws -> [Record] {
        var records: [Record] = []
        var next = offset
        while let batch = try read(topic, from: next, maxRecords: 7, maxBytes: 4_096) {
            records += (0..<batch.count).map { batch[$0] }
            next = batch.last + 1
        }
        return records
    }
}
