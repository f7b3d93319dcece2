// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The built program as a process of its own, on a folder of its own and a free port.
final class RunningServer {
    let folder: URL
    let port: Int
    private(set) var process = Process()
    private var log: URL { folder.appendingPathComponent("server.log") }

    struct Gone: Error, CustomStringConvertible {
        var description: String
    }

    static var program: URL {
        // The tests and the program are built into one folder.
        URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
            .appendingPathComponent("fairlead")
    }

    /// `routes` without its `listen` line.
    init(routes: String, plugins: [String: String] = [:]) throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("fairlead-\(UUID().uuidString)")
        port = try Loopback.freePort()
        try FileManager.default.createDirectory(
            at: folder.appendingPathComponent("Plugins"), withIntermediateDirectories: true)
        try write(routes: routes)
        for (name, source) in plugins { try write(plugin: name, source) }
    }

    deinit {
        if process.isRunning {
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
        try? FileManager.default.removeItem(at: folder)
    }

    func write(routes: String) throws {
        try Data("listen 127.0.0.1:\(port)\n\(routes)\n".utf8).write(to: folder.appendingPathComponent("routes.conf"))
    }

    func write(plugin name: String, _ source: String) throws {
        try Data(source.utf8).write(to: folder.appendingPathComponent("Plugins/\(name).lua"))
    }

    /// Starts the program and waits until it says that it is ready; where it speaks TLS, until its log has `words`.
    func start(
        _ arguments: String..., environment: [String: String] = [:], until words: String? = nil
    ) async throws {
        try await start(arguments, environment: environment, until: words)
    }

    func start(_ arguments: [String], environment: [String: String] = [:], until words: String? = nil) async throws {
        try launch(arguments, environment: environment)
        try await eventually("the server is ready") {
            guard self.process.isRunning else { throw Gone(description: "the server ended:\n\(self.output)") }
            if let words { return self.output.contains(words) }
            return (try? await self.get("/readyz").status) == 200
        }
    }

    /// Starts the program and doesn't wait.
    func launch(_ arguments: [String] = [], environment: [String: String] = [:]) throws {
        process = Process()
        process.executableURL = Self.program
        process.arguments = ["serve", "routes.conf"] + arguments
        process.currentDirectoryURL = folder
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        if !FileManager.default.fileExists(atPath: log.path) {
            try Data().write(to: log)
        }
        let output = try FileHandle(forWritingTo: log)
        try output.seekToEnd()
        process.standardError = output
        process.standardOutput = output
        try process.run()
    }

    var output: String { (try? String(contentsOf: log, encoding: .utf8)) ?? "" }

    func signal(_ number: Int32) {
        kill(process.processIdentifier, number)
    }

    func waitUntilExit() {
        process.waitUntilExit()
    }

    func killHard() {
        signal(SIGKILL)
        process.waitUntilExit()
    }

    func get(_ path: String) async throws -> Loopback.Answer {
        try await Loopback.send("GET", port, path)
    }

    func post(_ path: String, _ body: String, type: String = "application/json") async throws -> Loopback.Answer {
        try await Loopback.send("POST", port, path, body: Array(body.utf8), type: type)
    }

    func subscriber(_ name: String) async throws -> [String: Any] {
        let status = try await get("/v1/status").object
        let all = status["subscribers"] as? [[String: Any]] ?? []
        guard let found = all.first(where: { $0["name"] as? String == name }) else {
            throw Gone(description: "the server has no subscriber \(name)")
        }
        return found
    }

    /// What a plugin keeps under a key, where it is a whole number.
    func state(_ subscriber: String, _ key: String) async throws -> Int? {
        let answer = try await get("/v1/subscribers/\(subscriber)/state/\(key)")
        return answer.status == 200 ? Int(answer.text) : nil
    }

    /// The value of a metric, named as `/metrics` has it, labels included.
    func metric(_ name: String) async throws -> String? {
        try await get("/metrics").text.split(separator: "\n")
            .first { $0.hasPrefix(name + " ") }.map { String($0.dropFirst(name.count + 1)) }
    }

    func acked(_ subscriber: String) async throws -> Int? {
        try await self.subscriber(subscriber)["acked"] as? Int
    }

    struct Kept {
        var id: String
        var data: [String: Any]
    }

    /// Every event of a topic, in order.
    func tail(_ topic: String) async throws -> [Kept] {
        var all: [Kept] = []
        var from = 0
        while true {
            let answer = try await get("/v1/topics/\(topic)/events?from=\(from)&max=500&wait=0s")
            let lines = answer.text.split(separator: "\n")
            if lines.isEmpty { return all }
            for line in lines {
                let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
                let event = object["event"] as? [String: Any] ?? [:]
                from = (object["offset"] as? Int ?? from) + 1
                all.append(Kept(id: event["id"] as? String ?? "", data: event["data"] as? [String: Any] ?? [:]))
            }
        }
    }

    /// Runs a command of the program in the server's folder.
    func command(_ arguments: String...) async throws -> (code: Int32, output: String, errors: String) {
        try await Self.command(arguments, in: folder)
    }

    /// How long a command may take before it counts as hanging: many times what any of them needs on a busy machine.
    private static let commandTimeout: Duration = .seconds(60)

    /// Waits on a thread of its own, and ends a command that hangs: its exit code is then that of the signal.
    static func command(
        _ arguments: [String], of program: URL = program, in folder: URL, environment: [String: String] = [:]
    ) async throws -> (code: Int32, output: String, errors: String) {
        try await withCheckedThrowingContinuation { continuation in
            Thread {
                continuation.resume(with: Result { try run(program, arguments, in: folder, environment: environment) })
            }.start()
        }
    }

    private static func run(
        _ program: URL, _ arguments: [String], in folder: URL, environment: [String: String]
    ) throws -> (code: Int32, output: String, errors: String) {
        let process = Process()
        process.executableURL = program
        process.arguments = arguments
        process.currentDirectoryURL = folder
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let output = Pipe()
        let errors = Pipe()
        process.standardOutput = output
        process.standardError = errors
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let identifier = process.processIdentifier
        let watch = DispatchWorkItem { kill(identifier, SIGKILL) }
        DispatchQueue.global().asyncAfter(deadline: .now() + commandTimeout / .seconds(1), execute: watch)
        let text = output.fileHandleForReading.readDataToEndOfFile()
        let complaints = errors.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        watch.cancel()
        return (
            process.terminationStatus, String(decoding: text, as: UTF8.self),
            String(decoding: complaints, as: UTF8.self)
        )
    }
}

/// Asks until `condition` is true, at most for half a minute.
func eventually(
    _ what: String, within limit: Duration = .seconds(30), _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw RunningServer.Gone(description: "never came true: \(what)") }
        try await Task.sleep(for: .milliseconds(10))
    }
}
