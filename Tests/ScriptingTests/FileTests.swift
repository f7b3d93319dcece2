// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Testing

@testable import Scripting

/// `ctx.file.append` on a real folder.
@Suite(.timeLimit(.minutes(1)))
struct FileTests {
    /// A folder of its own; `out` in it is what tests grant.
    private final class Place: Sendable {
        let base = FileManager.default.temporaryDirectory.appendingPathComponent("files-\(UUID())")
        let files: FileAppender

        init() throws {
            try FileManager.default.createDirectory(at: base, withIntermediateDirectories: true)
            files = FileAppender(base: base.path, clock: FixedClock())
        }

        deinit { try? FileManager.default.removeItem(at: base) }

        func text(_ path: String) throws -> String {
            try String(contentsOf: base.appendingPathComponent(path), encoding: .utf8)
        }

        func names(_ path: String = "out") throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: base.appendingPathComponent(path).path).sorted()
        }

        func append(_ name: String, _ text: String, sizeMax: Int? = nil) async throws(FileFailure) -> FileAppended {
            try await files.append(
                try FileAddition(folder: "out", name: name, bytes: Array(text.utf8), sizeMax: sizeMax))
        }
    }

    private func run(
        _ body: String, on place: Place, grants: [PluginGrant] = [.file("out")]
    ) async throws -> Settlement {
        var services = FakeServices()
        services.files = place.files
        return try await Harness(
            "return function(event, ctx) \(body) end", grants: grants, services: services
        ).run()
    }

    private func reason(_ settlement: Settlement) -> String {
        switch settlement.outcome {
        case .retry(_, let reason), .dead(let reason), .drop(let reason): reason
        case .ack, .returned: ""
        }
    }

    @Test func linesAreThereWhenTheEventIsAcknowledged() async throws {
        let place = try Place()
        let settlement = try await run(
            """
            local size = ctx.file.append("2026/orders.ndjson", { id = event.id, n = 1 })
            assert(size == 19, size)
            size = ctx.file.append("2026/orders.ndjson", "a text\\n")
            assert(size == 26, size)
            """, on: place)
        #expect(settlement.outcome == .ack, "\(settlement.outcome)")
        #expect(try place.text("out/2026/orders.ndjson") == "{\"id\":\"e-1\",\"n\":1}\na text\n")
    }

    @Test(arguments: [
        "/etc/passwd", "../x", "a/../../x", "..", ".", "", "a//b", ".hidden", "a/", "a\\b", "a\u{0}b", "a\nb",
        "1/2/3/4/5/6/7/8/9/x", String(repeating: "x", count: 256),
    ])
    func noNameLeadsOutOfTheFolder(_ name: String) async throws {
        let place = try Place()
        await #expect(throws: FileFailure.self) { _ = try await place.append(name, "x\n") }
        #expect(!FileManager.default.fileExists(atPath: place.base.appendingPathComponent("out").path))
    }

    @Test func aNameThatIsRefusedIsADeadLetter() async throws {
        let settlement = try await run("ctx.file.append('../x', {})", on: try Place())
        guard case .dead(let reason) = settlement.outcome else {
            Issue.record("\(settlement.outcome)")
            return
        }
        #expect(reason.contains("\"../x\" can't be a file's name here: a part of it begins with a dot"), "\(reason)")
    }

    @Test func noLinkLeadsOutOfTheFolder() async throws {
        let place = try Place()
        _ = try await place.append("in/a", "x\n")
        let secret = place.base.appendingPathComponent("secret")
        try Data("old\n".utf8).write(to: secret)
        let out = place.base.appendingPathComponent("out")
        try FileManager.default.createSymbolicLink(
            at: out.appendingPathComponent("link"), withDestinationURL: secret)
        try FileManager.default.createSymbolicLink(
            at: out.appendingPathComponent("folder"), withDestinationURL: place.base)
        for name in ["link", "folder/secret", "in", "in/a/b"] {
            await #expect("\(name)") { _ = try await place.append(name, "x\n") } throws: { error in
                guard case FileFailure.refused = error else { return false }
                return true
            }
        }
        #expect(try place.text("secret") == "old\n")
    }

    @Test func aPipeIsNotWaitedFor() async throws {
        let place = try Place()
        _ = try await place.append("a", "x\n")
        mkfifo(place.base.appendingPathComponent("out/pipe").path, 0o644)
        await #expect(throws: FileFailure.refused("pipe is no plain file")) {
            _ = try await place.append("pipe", "x\n")
        }
    }

    @Test func halfALineOfACrashStaysAlone() async throws {
        let place = try Place()
        _ = try await place.append("a", "whole\n")
        try Data("whole\n{\"torn".utf8).write(to: place.base.appendingPathComponent("out/a"))
        _ = try await place.append("a", "next\n")
        #expect(try place.text("out/a") == "whole\n{\"torn\nnext\n")
    }

    @Test func aFullFileIsSetAsideAndNothingIsLost() async throws {
        let place = try Place()
        var aside: [String] = []
        for number in 1...5 {
            let done = try await place.append("log.ndjson", "line \(number)\n", sizeMax: 14)
            if let name = done.setAside { aside.append(name) }
        }
        // The clock stands still: the second of them gets the next free millisecond.
        #expect(aside == ["log.2023-11-14T22-15-00.000Z.ndjson", "log.2023-11-14T22-15-00.001Z.ndjson"])
        let all = try (aside + ["log.ndjson"]).map { try place.text("out/\($0)") }
        #expect(all == ["line 1\nline 2\n", "line 3\nline 4\n", "line 5\n"])
        #expect(try place.names().count == 3)
    }

    @Test func appendsOfManyLoseNone() async throws {
        let place = try Place()
        await withTaskGroup(of: Void.self) { group in
            for writer in 0..<8 {
                group.addTask {
                    for line in 0..<50 {
                        do { _ = try await place.append("all", "\(writer) \(line)\n", sizeMax: 1_000) } catch {
                            Issue.record("\(error)")
                        }
                    }
                }
            }
        }
        let lines = try place.names().flatMap { try place.text("out/\($0)").split(separator: "\n") }
        #expect(lines.count == 400 && Set(lines).count == 400)
    }

    @Test func aFolderThatCannotBeMadeIsARetry() async throws {
        let place = try Place()
        try Data().write(to: place.base.appendingPathComponent("out"))
        let settlement = try await run("ctx.file.append('a', 'x')", on: place)
        guard case .retry(_, let reason) = settlement.outcome else {
            Issue.record("\(settlement.outcome)")
            return
        }
        #expect(reason.contains("can't open the folder") && reason.contains("Not a directory"), "\(reason)")
    }

    @Test(arguments: [
        ("ctx.file.append('a', 'x', { folder = 'other' })", "add `allow file \"other\"` to subscriber test"),
        ("ctx.file.append('a', 'x', { max_size = 5 })", "max_size is at least 1024 bytes"),
        ("ctx.file.append('a', 'x', { maxsize = '1MB' })", "no option \"maxsize\"; did you mean \"max_size\"?"),
        ("ctx.file.append('a')", "text or table expected"),
        ("ctx.file.append('a', print)", "text or table expected"),
        ("ctx.file.append('a', { print })", "a function can't be JSON"),
        ("ctx.file.append('a', ('x'):rep(5000000))", "5000001 bytes; the limit is 4194304"),
        ("for i = 1, 101 do ctx.file.append('a', 'x') end", "one call may append 100 times"),
    ])
    func aWrongCallSaysWhatToDo(_ call: String, _ expected: String) async throws {
        let found = reason(try await run(call, on: try Place()))
        #expect(found.contains(expected), "\(found)")
    }

    @Test func withoutAGrantNothingIsWritten() async throws {
        let place = try Place()
        let found = reason(try await run("ctx.file.append('a', 'x')", on: place, grants: []))
        #expect(found.contains("appending to files is not granted to plugin \"test\"; add `allow file"), "\(found)")
        let which = reason(
            try await run("ctx.file.append('a', 'x')", on: place, grants: [.file("one"), .file("two")]))
        #expect(which.contains("several folders are granted; say which: folder = \"one\""), "\(which)")
        #expect(try place.names(".").isEmpty)
    }

    @Test func whatAPluginRequiresMayNameASetting() async throws {
        let code = """
            return { config = { webhook = { type = "secret" }, topic = { type = "topic" }, to = { type = "string" } },
              requires = { http = { "$webhook" }, publish = { "$topic" }, mail = "$to", file = true },
              handle = function() end }
            """
        func problems(_ settings: [PluginSetting], _ grants: [PluginGrant]) -> [String] {
            ScriptHost(services: FakeServices().services, lanes: 1)
                .check(Harness.binding(code, settings: settings, grants: grants)).map(\.description)
        }
        let all = [
            PluginSetting("webhook", .secret(name: "W", value: "https://hooks.example.com/secret")),
            PluginSetting("topic", .name("stock")), PluginSetting("to", .string("a@b")),
        ]
        #expect(problems([], [.file("out")]) == [])
        #expect(
            problems(all, []).map { $0.split(separator: "requires ")[1].split(separator: ",")[0] } == [
                "http \"hooks.example.com\"", "mail", "publish stock", "file \"FOLDER\"",
            ])
        #expect(problems(all, [.http("*.example.com"), .publish("stock"), .mail, .file("out")]) == [])
    }
}
