// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Testing

/// What systemd is told, read from a socket as systemd does.
@Suite(.timeLimit(.minutes(3))) struct SystemdTests {
    /// The end that systemd has.
    private final class Manager {
        private let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        private var received: [[String: String]] = []

        init(_ name: [UInt8]) throws {
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
            let length = socklen_t(
                MemoryLayout<sockaddr_un>.offset(of: \.sun_path)! + name.count + (name.first == 0 ? 0 : 1))
            let result = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
            }
            guard result == 0 else { throw Loopback.Broken() }
        }

        deinit { close(descriptor) }

        /// Everything so far, one for each datagram.
        func datagrams() -> [[String: String]] {
            var buffer = [UInt8](repeating: 0, count: 4_096)
            while case let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT)), count > 0 {
                let lines = String(decoding: buffer[..<count], as: UTF8.self).split(separator: "\n")
                received.append(
                    Dictionary(
                        lines.map { line in
                            let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                            return (String(parts[0]), String(parts.last ?? ""))
                        }
                    ) { _, last in last })
            }
            return received
        }
    }

    private static let routes = "topic orders { retain 30d }"

    @Test(arguments: [false, true])
    func startReloadStopAndSignsOfLifeAreTold(_ isAbstract: Bool) async throws {
        let server = try RunningServer(routes: Self.routes)
        let path = server.folder.appendingPathComponent("notify").path
        let name = isAbstract ? [0] + Array("fairlead-\(UUID().uuidString)".utf8) : Array(path.utf8)
        let manager = try Manager(name)
        let variable = isAbstract ? "@" + String(decoding: name.dropFirst(), as: UTF8.self) : path
        let before = monotonic()
        try await server.start(environment: ["NOTIFY_SOCKET": variable, "WATCHDOG_USEC": "200000"])
        try await eventually("it is ready") { manager.datagrams().contains { $0["READY"] == "1" } }
        #expect(manager.datagrams().first?["READY"] == "1")
        #expect(manager.datagrams().first?["STATUS"]?.hasPrefix("generation 1, ") == true)
        try await eventually("it gives signs of life") {
            manager.datagrams().filter { $0["WATCHDOG"] == "1" }.count >= 3
        }

        try server.write(routes: Self.routes + "\ntopic more { retain 1d }")
        server.signal(SIGHUP)
        try await eventually("it is ready again") { manager.datagrams().filter { $0["READY"] == "1" }.count == 2 }
        let told = manager.datagrams().filter { $0["WATCHDOG"] == nil }
        #expect(
            told.map { $0.keys.sorted() } == [
                ["READY", "STATUS"], ["MONOTONIC_USEC", "RELOADING"], ["READY", "STATUS"],
            ])
        let moment = try #require(Int64(told[1]["MONOTONIC_USEC"] ?? ""))
        #expect(moment >= before && moment <= monotonic())
        #expect(told[2]["STATUS"]?.hasPrefix("generation 2, ") == true)

        try server.write(routes: "topic")
        server.signal(SIGHUP)
        try await eventually("it is ready although it refused") {
            manager.datagrams().filter { $0["READY"] == "1" }.count == 3
        }
        let status = try #require(manager.datagrams().last { $0["READY"] == "1" }?["STATUS"])
        #expect(status.hasPrefix("generation 2, ") && status.contains("the last reload was refused: "), "\(status)")

        server.signal(SIGTERM)
        try await eventually("the process has ended") { !server.process.isRunning }
        #expect(manager.datagrams().last?["STOPPING"] == "1")
    }

    @Test func aSocketThatIsNoneIsRefusedAtStart() async throws {
        let server = try RunningServer(routes: Self.routes)
        let refused = try await RunningServer.command(
            ["serve", "routes.conf"], in: server.folder, environment: ["NOTIFY_SOCKET": "nowhere"])
        #expect(refused.code == 1)
        #expect(refused.errors.contains("NOTIFY_SOCKET is \"nowhere\""), "\(refused.errors)")
    }

    private func monotonic() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000
    }
}
