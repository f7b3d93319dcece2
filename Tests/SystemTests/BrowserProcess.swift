// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Testing

/// chromedriver and the Chromium that it starts, in a folder of their own.
///
/// Both inherit whichever signals the test's thread has blocked, so SIGTERM may not reach them. A shell leads their process
/// group and kills all of it as soon as its input ends: when the suite is over, and also when the tests themselves are
/// killed.
final class BrowserProcess: Sendable {
    let folder: URL
    private let port: Int
    private let leader: Process
    private let life: Pipe

    private static let program = "/usr/bin/chromedriver"
    private static let script = #""$@" </dev/null & read -r end; kill -s KILL -- -$$"#

    init() throws {
        guard FileManager.default.isExecutableFile(atPath: Self.program) else {
            throw Browser.Refused(description: "there is no \(Self.program); `make deps` installs it")
        }
        port = try Loopback.freePort()
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("browser-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        life = Pipe()
        leader = Process()
        leader.executableURL = URL(fileURLWithPath: "/bin/sh")
        leader.arguments = ["-c", Self.script, "sh", Self.program, "--port=\(port)", "--log-level=OFF"]
        // Chromium keeps what it must write there, and not in whatever home there is.
        leader.environment = ProcessInfo.processInfo.environment.merging(["HOME": folder.path]) { $1 }
        leader.standardInput = life
        leader.standardOutput = FileHandle.nullDevice
        leader.standardError = FileHandle.nullDevice
        try leader.run()
    }

    /// Kills all of them, and waits until they are gone.
    func end() async throws {
        try life.fileHandleForWriting.close()
        try await eventually("the browser is gone") { try !self.leader.isRunning && self.remaining().isEmpty }
        try FileManager.default.removeItem(at: folder)
    }

    /// Command lines of those that are alive: of the group, and Chromium's crash handlers, which leave it but name the folder.
    func remaining() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { name in
            // One may end while it is looked at. After the name in parentheses: state, parent, group.
            guard Int(name) != nil, let stat = try? String(contentsOfFile: "/proc/\(name)/stat", encoding: .utf8),
                let fields = stat.split(separator: ")").last?.split(separator: " "), fields.count > 2,
                let bytes = FileManager.default.contents(atPath: "/proc/\(name)/cmdline")
            else { return nil }
            let command = String(decoding: bytes.map { $0 == 0 ? UInt8(ascii: " ") : $0 }, as: UTF8.self)
            let isOurs = Int32(fields[2]) == leader.processIdentifier || command.contains(folder.path)
            // Dead ones that nobody has waited for run no more.
            return isOurs && fields[0] != "Z" && fields[0] != "X" ? command : nil
        }
    }

    func send(_ method: String, _ path: String, _ body: [String: Any] = [:]) async throws -> Any? {
        let bytes = method == "POST" ? Array(try JSONSerialization.data(withJSONObject: body)) : nil
        let answer = try await Loopback.send(method, port, path, body: bytes)
        guard answer.status == 200 else { throw Browser.Refused(description: String(answer.text.prefix(600))) }
        return try answer.object["value"]
    }
}

/// Gives the tests of a suite one browser, or one test a browser of its own.
struct BrowserTrait: SuiteTrait, TestTrait, TestScoping {
    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        try await Browser.run { browser in
            try await Browser.$current.withValue(browser) { try await function() }
        }
    }
}

extension Trait where Self == BrowserTrait {
    static var browser: Self { Self() }
}
