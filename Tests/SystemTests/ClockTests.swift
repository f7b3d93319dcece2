// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The real program with a clock that is set back under it.
struct ClockTests {
    private static let routes = """
        topic orders { retain 30d; key data.order_id }
        topic seen { retain 30d }
        subscriber flaky {
          from  orders
          run   flaky
          allow publish seen
          start earliest
          retry { attempts 10; backoff 300ms; timeout 5s }
        }
        subscriber accounting { from orders; pull { lease 1s }; start earliest }
        """

    private static let flaky = """
        return function(event, ctx)
          if event.attempt < 3 then return ctx.retry { reason = "not yet" } end
          ctx.state.add("count", 1)
          ctx.publish("seen", { id = event.id }, { type = "seen" })
        end
        """

    private static let clang: String? = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        .map { "\($0)/clang" }.first { FileManager.default.isExecutableFile(atPath: $0) }

    /// What a program preloads to have its wall clock moved by as many seconds as a file of eight bytes says.
    private struct MovedClock {
        let library: URL
        let offset: URL

        private static let source = """
            #define _GNU_SOURCE
            #include <fcntl.h>
            #include <stdint.h>
            #include <stdlib.h>
            #include <sys/mman.h>
            #include <sys/syscall.h>
            #include <time.h>
            #include <unistd.h>

            static volatile int64_t none, *offset = &none;

            __attribute__((constructor)) static void load(void) {
                const char *path = getenv("CLOCK_OFFSET");
                int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
                void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
                if (page != MAP_FAILED) offset = page;
            }

            int clock_gettime(clockid_t clock, struct timespec *time) {
                int result = (int)syscall(SYS_clock_gettime, clock, time);
                if (clock == CLOCK_REALTIME) time->tv_sec += *offset;
                return result;
            }
            """

        init(in folder: URL) async throws {
            library = folder.appendingPathComponent("clock.so")
            offset = folder.appendingPathComponent("clock.offset")
            let source = folder.appendingPathComponent("clock.c")
            try Data(Self.source.utf8).write(to: source)
            let built = try await RunningServer.command(
                ["-shared", "-fPIC", "-o", library.path, source.path], of: URL(fileURLWithPath: clang!), in: folder)
            #expect(built.code == 0, "\(built.errors)")
            try Data(count: 8).write(to: offset)
        }

        var environment: [String: String] { ["LD_PRELOAD": library.path, "CLOCK_OFFSET": offset.path] }

        func set(_ seconds: Int64) throws {
            let file = try FileHandle(forUpdating: offset)
            try file.write(contentsOf: withUnsafeBytes(of: seconds) { Data($0) })
            try file.close()
        }
    }

    private func publish(_ server: RunningServer, _ id: String, after: String? = nil) async throws {
        let answer = try await server.post(
            "/v1/topics/orders/events",
            #"{"specversion":"1.0","id":"\#(id)","source":"/test","type":"order"\#(after.map { #","deliverafter":"\#($0)""# } ?? ""),"data":{"order_id":"\#(id)"}}"#,
            type: "application/cloudevents+json")
        #expect(answer.status == 202, "\(answer.text)")
    }

    private func pull(_ server: RunningServer) async throws -> [(lease: String, id: String)] {
        let answer = try await server.post("/v1/subscribers/accounting/pull", #"{"max":10,"wait":"100ms"}"#)
        return (try answer.object["deliveries"] as? [[String: Any]] ?? []).compactMap {
            guard let lease = $0["lease"] as? String, let id = ($0["event"] as? [String: Any])?["id"] as? String else {
                return nil
            }
            return (lease, id)
        }
    }

    @Test(.enabled(if: clang != nil), .timeLimit(.minutes(4)))
    func aClockThatIsSetBackAnHourHoldsNothingUpAndLosesNothing() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: ["flaky": Self.flaky])
        let clock = try await MovedClock(in: server.folder)
        try await server.start(environment: clock.environment)
        try await publish(server, "before")
        try await publish(server, "later", after: "2s")
        let first = try await pull(server)
        #expect(first.map(\.id) == ["before"])
        try await eventually("a retry waits") { try await server.subscriber("flaky")["retried"] as? Int == 1 }

        try clock.set(-3_600)
        let jumped = ContinuousClock.now
        try await publish(server, "after")
        try await eventually("retries and the delayed one come in their time") {
            try await server.state("flaky", "count") == 3
        }
        var given: Set<String> = []
        try await eventually("the lease runs out, and the delayed one comes") {
            for delivery in try await pull(server) { given.insert(delivery.id) }
            return given == ["before", "later", "after"]
        }
        #expect(ContinuousClock.now - jumped < .seconds(60), "nothing waited for the clock to catch up")
        let late = try await server.post("/v1/subscribers/accounting/settle", #"{"ack":["\#(first[0].lease)"]}"#)
        #expect(late.text.contains("expired") && late.text.contains("it ran out before it was settled"), "\(late.text)")
        try await eventually("the outbox is empty") { try await server.tail("seen").count == 3 }
        try await eventually("the log says so") { server.output.contains("The clock was set back") }

        server.killHard()
        try await server.start(environment: clock.environment)
        try await publish(server, "again")
        try await eventually("all are settled") { try await server.state("flaky", "count") == 4 }
        let times = try await server.get("/v1/topics/orders/events?from=0&max=10&wait=0s").text.split(separator: "\n")
            .compactMap { line in line.firstRange(of: #""time":""#).map { String(line[$0.upperBound...].prefix(24)) } }
        #expect(times.count == 4 && times == times.sorted(), "\(times)")
        server.signal(SIGTERM)
        try await eventually("the process has ended") { !server.process.isRunning }
        let verified = try await server.command("verify")
        #expect(verified.code == 0, "\(verified.output)\(verified.errors)")
    }
}
