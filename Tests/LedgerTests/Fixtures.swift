// SPDX-License-Identifier: Apache-2.0

import Events
import Ledger
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

/// A folder of its own that goes away with the test.
final class TemporaryFolder {
    let path: String

    init() {
        var template = Array("/tmp/fairlead-test-XXXXXX".utf8CString)
        path = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
    }

    deinit {
        guard let stream = opendir(path) else { return }
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            unlink("\(path)/\(name)")
        }
        closedir(stream)
        rmdir(path)
    }
}

extension Ledger {
    /// Commits and waits for the answer.
    func committed(_ change: LedgerChange) throws -> LedgerCommit {
        let answer = Monitor<Result<LedgerCommit, Failure>?>(nil)
        commit(change) { result in answer.notify { $0 = result } }
        guard let result = answer.wait(timeout: .seconds(20), { $0 }) else {
            throw Failure(.storage, "no answer within 20 s")
        }
        return try result.get()
    }

    func text(_ subscriber: String, _ key: String) throws -> String? {
        try value(subscriber: subscriber, key: key).map { String(decoding: $0, as: UTF8.self) }
    }
}

func put(_ key: String, _ json: String, expires: Timestamp? = nil) -> StateWrite {
    .put(key: key, value: Array(json.utf8), expires: expires)
}

func add(_ key: String, _ delta: Int64) -> StateWrite {
    .add(key: key, delta: .integer(delta))
}

func publication(_ id: String, topic: String = "stock") -> Publication {
    Publication(
        topic: topic,
        event: Event(id: id, source: "/test", type: "stock.low", data: .json(Array("{\"left\":2}".utf8))))
}

/// The bytes of one stored record, as the journal has them.
func record(_ id: String, key: String? = nil) -> [UInt8] {
    struct Fixed: KeyExtractor {
        var key: String?
        func withKey(of record: UnsafeRawPointer, _ body: (UnsafeRawBufferPointer) -> Void) {
            if let key { Array(key.utf8).withUnsafeBytes(body) }
        }
    }
    var builder = RecordBatchBuilder(topic: .named("orders"), key: Fixed(key: key), capacity: 512)
    builder.append(Event(id: id, source: "/test", type: "order.placed"))
    let batch = builder.finish()
    batch.stamp(first: 0, time: Timestamp(milliseconds: 1))
    return Array(batch.bytes)
}
