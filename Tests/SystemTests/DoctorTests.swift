// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Testing

struct DoctorTests {
    private struct Line: Decodable {
        var name: String
        var level: String
        var text: String
        var remedy: String?
    }

    private func lines(_ server: RunningServer) async throws -> (code: Int32, lines: [String: Line]) {
        let answer = try await server.command("doctor", "--json")
        let lines = try JSONDecoder().decode([Line].self, from: Data(answer.output.utf8))
        for line in lines where line.level != "ok" { #expect(line.remedy?.isEmpty == false, "\(line.name)") }
        return (answer.code, Dictionary(uniqueKeysWithValues: lines.map { ($0.name, $0) }))
    }

    @Test func aHealthyPlaceIsFoundHealthyBeforeAndWhileTheServerRuns() async throws {
        let server = try RunningServer(
            routes: "topic orders { retain 30d }\nsubscriber a { from orders; run a }",
            plugins: ["a": "return function(event, ctx) end"])
        let before = try await lines(server)
        #expect(before.code == 0, "\(before.lines.values.filter { $0.level == "fail" })")
        #expect(before.lines["port"]?.text == "127.0.0.1:\(server.port) is free")
        #expect(before.lines["data folder"]?.text.contains("will be made by the first start") == true)
        #expect(before.lines["lua"]?.text.hasPrefix("Lua 5.4.") == true)
        for name in [
            "configuration", "secrets", "plugins", "disk", "file system", "sync", "open files", "clock", "mail",
        ] {
            #expect(before.lines[name] != nil, "no line on \(name)")
        }
        #expect(try !FileManager.default.contentsOfDirectory(atPath: server.folder.path).contains("data"))
        try await server.start()
        let running = try await lines(server)
        #expect(running.code == 0)
        #expect(running.lines["server"]?.text == "runs on 127.0.0.1:\(server.port) and is ready")
        let text = try await server.command("doctor")
        #expect(text.output.contains("ok    server"), "\(text.output)")
    }

    @Test func whatKeepsItFromWorkingIsNamedWithWhatToDo() async throws {
        let server = try RunningServer(
            routes: """
                topic orders { retain 30d }
                mail { smtp "mail.invalid:25" { from "shop@example.com" } }
                subscriber a { from orders; run a { key secret("NO_SUCH_SECRET") } }
                """, plugins: ["a": "return function(event, ctx) end"])
        let sink = try Sink()
        try Data(
            String(contentsOf: server.folder.appendingPathComponent("routes.conf"), encoding: .utf8)
                .replacingOccurrences(of: "127.0.0.1:\(server.port)", with: "127.0.0.1:\(sink.port)").utf8
        ).write(to: server.folder.appendingPathComponent("routes.conf"))
        try Data("a file".utf8).write(to: server.folder.appendingPathComponent("data"))
        let found = try await lines(server)
        #expect(found.code == 1)
        #expect(found.lines["secrets"]?.level == "fail")
        #expect(found.lines["secrets"]?.text.contains("NO_SUCH_SECRET") == true)
        #expect(found.lines["data folder"]?.level == "fail")
        #expect(found.lines["mail"]?.text == "mail.invalid:25, not tried (--network does)")
    }

    @Test func aClockThatWasSetBackIsNoticed() async throws {
        let server = try RunningServer(routes: "topic orders { retain 30d }")
        let topic = server.folder.appendingPathComponent("data/journal/orders")
        try FileManager.default.createDirectory(at: topic, withIntermediateDirectories: true)
        let file = topic.appendingPathComponent("00000000000000000000.log")
        try Data().write(to: file)
        try FileManager.default.setAttributes(
            [.modificationDate: Date().addingTimeInterval(3_600)], ofItemAtPath: file.path)
        let found = try await lines(server)
        #expect(found.lines["clock"]?.level == "warn")
        #expect(found.lines["clock"]?.text.contains("it was set back") == true)
    }

    @Test func aBrokenConfigurationIsItsFirstLine() async throws {
        let server = try RunningServer(routes: "topic orders { retan 30d }")
        let found = try await lines(server)
        #expect(found.code == 1)
        #expect(found.lines["configuration"]?.level == "fail")
        #expect(found.lines["configuration"]?.text.contains("routes.conf:2:") == true)
        #expect(found.lines["disk"] != nil)
    }
}
