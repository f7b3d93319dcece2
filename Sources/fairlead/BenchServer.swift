// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AsyncHTTPClient
import Foundation
import Glibc
import NIOCore
import NIOHTTP1

/// The server that a bench measures: this program, as a process of its own on a folder of its own.
final class BenchServer {
    let port: Int
    private let process = Process()

    /// `errors` gets what the server logs.
    init(folder: URL, errors: Pipe? = nil) throws {
        port = try Self.freePort()
        let plugins = folder.appendingPathComponent("Plugins")
        try FileManager.default.createDirectory(at: plugins, withIntermediateDirectories: true)
        let routes = """
            listen 127.0.0.1:\(port)
            topic plain { retain 1d }
            topic handled { retain 1d }
            topic pulled { retain 1d }
            topic orders { retain 1d }
            topic keyed { retain 1d; key data.order_id }
            subscriber handler {
              from  handled
              where data.total > 100 and data.currency = 'EUR'
              run   handler
            }
            subscriber bookkeeper { from orders; run bookkeeper }
            subscriber puller { from pulled; pull; start earliest }
            subscriber keeper { from keyed; pull; ordered; start earliest; retry { attempts unlimited; backoff 1s } }
            """
        let handler = """
            return function(event, ctx)
              local line = event.data.order_id .. event.data.currency
              return #line > 0
            end
            """
        let bookkeeper = """
            return function(event, ctx)
              local line = event.data.order_id .. event.data.currency
              if event.data.sent and not event.replay then ctx.log.warn("handled " .. event.data.sent) end
              return #line > 0
            end
            """
        try Data(bookkeeper.utf8).write(to: plugins.appendingPathComponent("bookkeeper.lua"))
        try Data(routes.utf8).write(to: folder.appendingPathComponent("routes.conf"))
        try Data(handler.utf8).write(to: plugins.appendingPathComponent("handler.lua"))
        process.executableURL = Self.program
        if let errors { process.standardError = errors }
        process.arguments = ["serve", folder.appendingPathComponent("routes.conf").path, "--log-level", "warning"]
        try process.run()
    }

    /// This program.
    static let program = URL(
        fileURLWithPath: CommandLine.arguments[0].contains("/") ? CommandLine.arguments[0] : "/proc/self/exe"
    ).resolvingSymlinksInPath()

    func stop() {
        process.terminate()
        process.waitUntilExit()
    }

    func kill() {
        Glibc.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    func waitUntilReady() async throws {
        let client = ServerClient(base: "http://127.0.0.1:\(port)")
        for _ in 0..<2_000 {
            if !process.isRunning { break }
            var request = HTTPClientRequest(url: client.base + "/readyz")
            request.method = .GET
            if let response = try? await HTTPClient.shared.execute(request, timeout: .seconds(5)),
                response.status == .ok
            {
                return
            }
            try await Task.sleep(for: .milliseconds(5))
        }
        Console.complain("the bench's server does not start")
        throw ExitCode.failure
    }

    /// One past the topic's last offset.
    func end(_ topic: String) async throws -> Int {
        let answer = try await ServerClient(base: "http://127.0.0.1:\(port)").send("GET", "/v1/status")
        return try answer.decoded(Status.Answer.self).topics.first { $0.name == topic }.map { Int($0.end) } ?? 0
    }

    func acked(_ subscriber: String) async throws -> Int {
        let answer = try await ServerClient(base: "http://127.0.0.1:\(port)").send("GET", "/v1/status")
        return try answer.decoded(Status.Answer.self).subscribers.first { $0.name == subscriber }?.acked ?? 0
    }

    /// Asks the system for a port that nobody listens on.
    static func freePort() throws -> Int {
        let probe = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(probe) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(probe, $0, length) == 0 && getsockname(probe, $0, &length) == 0
            }
        }
        guard isBound else { throw LoadConnection.Failed(what: "bind: \(String(cString: strerror(errno)))") }
        return Int(in_port_t(bigEndian: address.sin_port))
    }
}
