// SPDX-License-Identifier: Apache-2.0

import Events
import Gateway
import Logging
import Scripting
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// Measures the Lua host alone, without a broker: how many events a second one lane takes, and what a thousand handlers
/// cost that wait for HTTP at once. Prints one line for each; the exit code is 1 where a bar was not kept.
@main
struct ScriptingBench {
    /// Bars: events a second on one core, bytes for a thousand waiting handlers.
    static let eventsPerSecondMin = 400_000.0
    static let waitingBytesMax = 100 << 20

    static let events = 256
    static let rounds = 1_000
    static let waiting = 1_000

    static func main() async throws {
        var isKept = true
        for (name, code) in handlers {
            let rate = try await measure(code)
            let isMeasured = name == "two fields"
            print("\(name): \(Int(rate)) events/s" + (isMeasured ? " (bar \(Int(eventsPerSecondMin)))" : ""))
            if isMeasured, rate < eventsPerSecondMin { isKept = false }
        }
        let bytes = try await measureWaiting()
        print("\(waiting) handlers waiting for HTTP: \(bytes >> 20) MiB (bar \(waitingBytesMax >> 20))")
        if bytes > waitingBytesMax { isKept = false }
        exit(isKept ? 0 : 1)
    }

    static let handlers = [
        ("two fields", "return function(event, ctx) local s = event.type .. event.data.order_id end"),
        ("nothing", "return function() end"),
        ("a count in state", "return function(event, ctx) ctx.state.add('n', 1) end"),
        ("a publication", "return function(event, ctx) ctx.publish('t', event.data) end"),
    ]

    private static let data = """
        {"order_id":"o-12345","customer":{"email":"someone@example.com","name":"Some One"},"total":129.5,\
        "items":[{"sku":"a-1","quantity":2,"price":40},{"sku":"b-2","quantity":1,"price":49.5}]}
        """

    private static func deliveries() -> [Delivery] {
        var builder = RecordBatchBuilder(topic: .named("orders"), key: nil, capacity: 1 << 20)
        for number in 0..<events {
            builder.append(
                Event(id: "e-\(number)", source: "/shop", type: "order.placed", data: .json(Array(data.utf8))))
        }
        let batch = builder.finish()
        batch.stamp(first: 0, time: Timestamp(milliseconds: 1_700_000_000_000))
        return (0..<batch.count).map { Delivery(record: batch[$0], attempt: 1, replay: false) }
    }

    private static func load(
        _ code: String, concurrency: Int = 1, http: any HTTPSender = Offline()
    ) async throws -> LuaDestination {
        let services = ScriptServices(
            state: Empty(), http: http, mail: Offline(), files: Offline(),
            clock: SystemClock(),
            logger: Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() }, environment: { _ in nil },
            metric: { _, _, _ in })
        let host = ScriptHost(services: services, lanes: 1)
        let source = PluginSource(name: "bench", files: ["bench.lua": Array(code.utf8)], entry: "bench.lua")
        let destination = try await host.load(
            PluginBinding(
                subscriber: "bench", source: source, grants: [.publish("t"), .http("127.0.0.1")], timeout: .seconds(60),
                concurrency: concurrency))
        kept.withLock { $0.append(host) }
        return destination
    }

    /// A host's lanes end with it.
    private static let kept = Mutex<[ScriptHost]>([])

    /// Hands the same events over again and again, two batches ahead, as the broker does with a subscriber that keeps up.
    private static func measure(_ code: String) async throws -> Double {
        let destination = try await load(code)
        let deliveries = deliveries()
        let counter = Counter()
        destination.start { settlements in
            settlements.whenTaken?()
            counter.add(settlements.acks.count + settlements.others.count)
        }
        let clock = ContinuousClock()
        var best = 0.0
        // The best of a few, as other work on the machine only ever takes away.
        for _ in 0..<3 {
            let begun = clock.now
            let before = counter.count
            for round in 0..<rounds {
                destination.deliver(deliveries)
                if round % 32 == 31 { await counter.wait(for: before + (round - 15) * events) }
            }
            await counter.wait(for: before + rounds * events)
            let seconds = (clock.now - begun) / .seconds(1)
            best = max(best, Double(rounds * events) / seconds)
        }
        await destination.stop(.shutdown, deadline: .zero)
        return best
    }

    /// Resident memory that a thousand handlers add while each waits for an answer on a connection of its own.
    private static func measureWaiting() async throws -> Int {
        let endpoint = try SilentEndpoint()
        let sender = HTTPClientSender()
        let destination = try await load(
            "return function(event, ctx) ctx.http.get('http://127.0.0.1:\(endpoint.port)/') end",
            concurrency: waiting, http: sender)
        destination.start { _ in }
        let before = residentBytes()
        var left = waiting
        while left > 0 {
            destination.deliver(Array(deliveries().prefix(left)))
            left -= min(left, events)
        }
        endpoint.waitForRequests(waiting)
        let bytes = residentBytes() - before
        await destination.stop(.shutdown, deadline: .zero)
        endpoint.close()
        try await sender.shutdown()
        return bytes
    }

    private static func residentBytes() -> Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        guard fgets(&line, 256, file) != nil else { return 0 }
        let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return (text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0)
            * Int(sysconf(Int32(_SC_PAGESIZE)))
    }
}

/// Counts what is settled, and wakes who waits for a number.
private final class Counter: Sendable {
    private struct State {
        var count = 0
        var waiter: (count: Int, continuation: CheckedContinuation<Void, Never>)?
    }

    private let state = Mutex(State())

    var count: Int { state.withLock { $0.count } }

    func add(_ more: Int) {
        let ready = state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.count += more
            guard let waiter = state.waiter, state.count >= waiter.count else { return nil }
            state.waiter = nil
            return waiter.continuation
        }
        ready?.resume()
    }

    func wait(for count: Int) async {
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state in
                if state.count >= count { return true }
                state.waiter = (count, continuation)
                return false
            }
            if isThere { continuation.resume() }
        }
    }
}

/// Accepts connections and never answers: a process of its own, so that its memory is not counted.
private struct SilentEndpoint {
    let port: Int
    private let process: pid_t
    private let news: Int32

    struct Failed: Error {}

    init() throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(listener, pointer, length) == 0 && listen(listener, 1_024) == 0
                    && getsockname(listener, pointer, &length) == 0
            }
        }
        guard isListening else { throw Failed() }
        port = Int(UInt16(bigEndian: address.sin_port))
        // The kernel accepts into the backlog by itself; this process only takes the connections from there.
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw Failed() }
        news = ends[0]
        let script = """
            import os, socket, sys
            listener = socket.socket(fileno=\(listener))
            kept = []
            while True:
                connection, _ = listener.accept()
                connection.recv(1)
                kept.append(connection)
                os.write(\(ends[1]), b'.')
            """
        let words = ["python3", "-c", script]
        var arguments = words.map { word in strdup(word) }
        arguments.append(nil)
        defer { for argument in arguments { free(argument) } }
        var child = pid_t()
        guard posix_spawnp(&child, "python3", nil, nil, &arguments, nil) == 0 else { throw Failed() }
        process = child
        Glibc.close(listener)
        Glibc.close(ends[1])
    }

    func waitForRequests(_ count: Int) {
        var left = count
        var bytes = [UInt8](repeating: 0, count: 4_096)
        while left > 0 {
            let got = read(news, &bytes, min(left, bytes.count))
            precondition(got > 0, "the endpoint is there")
            left -= got
        }
    }

    func close() {
        kill(process, SIGKILL)
        waitpid(process, nil, 0)
        Glibc.close(news)
    }
}

/// No state, and nobody to talk to.
private struct Empty: StateReader {
    func value(subscriber: String, key: String) throws -> [UInt8]? { nil }
    func usage(subscriber: String) throws -> StateUsage { StateUsage() }
    func values(
        subscriber: String, prefix: String, after: String?, limit: Int
    ) throws -> [(key: String, value: [UInt8])] { [] }
}

private struct Offline: HTTPSender, MailSender, FileAppending {
    func send(_ request: OutboundRequest) async throws(OutboundFailure) -> OutboundResponse { throw .timeout }
    func send(_ message: MailMessage) async throws(MailFailure) { throw .temporary("offline") }
    func append(_ addition: FileAddition) async throws(FileFailure) -> FileAppended { throw .refused("offline") }
}
