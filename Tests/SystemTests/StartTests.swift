// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// What keeps the server from starting, in the words that people see.
struct StartTests {
    private func refusal(
        routes: String, plugins: [String: String] = [:]
    ) async throws -> (code: Int32, output: String, errors: String) {
        let server = try RunningServer(routes: routes, plugins: plugins)
        return try await RunningServer.command(["serve", "routes.conf"], in: server.folder)
    }

    @Test func aBrokenConfigurationEndsWith78AndSaysWhere() async throws {
        let refused = try await refusal(
            routes: """
                topic orders { retain 30d }
                subscriber a { from orderz; pull { lease 30s } }
                """)
        #expect(refused.code == 78)
        #expect(
            refused.errors.contains(
                """
                error[R034] routes.conf:3:21: unknown topic "orderz"
                    3 | subscriber a { from orderz; pull { lease 30s } }
                      |                     ^^^^^^ did you mean "orders"? (declared at routes.conf:2)
                """), "\(refused.errors)")
        #expect(refused.errors.contains("routes.conf can't be used; nothing was started"))
    }

    @Test func aMissingConfigurationIsNamed() async throws {
        let folder = FileManager.default.temporaryDirectory
        let refused = try await RunningServer.command(["serve", "nowhere-\(UUID().uuidString).conf"], in: folder)
        #expect(refused.code == 78)
        #expect(refused.errors.contains("nowhere-"), "\(refused.errors)")
    }

    @Test func aMissingSecretIsNamedWithWhatToDo() async throws {
        let refused = try await refusal(
            routes: """
                topic orders { retain 30d }
                subscriber a { from orders; run a { webhook secret("NO_SUCH_SECRET") }; allow http "example.com" }
                """, plugins: ["a": ReloadTests.plugin])
        #expect(refused.code == 78)
        #expect(refused.errors.contains("NO_SUCH_SECRET"), "\(refused.errors)")
        #expect(refused.errors.contains("routes.conf:3:"))
    }

    @Test func aMissingPluginIsNamedWithThoseThereAre() async throws {
        let refused = try await refusal(
            routes: """
                topic orders { retain 30d }
                subscriber a { from orders; run slak }
                """, plugins: ["slack": ReloadTests.plugin])
        #expect(refused.code == 78)
        #expect(refused.errors.contains(#"no plugin "slak""#), "\(refused.errors)")
        #expect(refused.errors.contains(#"did you mean "slack"?"#))
    }

    @Test func aPluginThatThrowsWhileLoadingIsRefusedWithItsLine() async throws {
        let refused = try await refusal(
            routes: """
                topic orders { retain 30d }
                subscriber a { from orders; run a }
                """, plugins: ["a": "local x = nil\nreturn x.handler"])
        #expect(refused.code == 78)
        #expect(
            refused.errors.contains("Plugins/a.lua:2: attempt to index a nil value (local 'x')"), "\(refused.errors)")
    }

    @Test func twoServersOnOneDataFolderAreOneTooMany() async throws {
        let server = try RunningServer(routes: "topic orders { retain 30d }")
        try await server.start()
        try Data("listen 127.0.0.1:\(try Loopback.freePort())\ntopic orders { retain 30d }\n".utf8)
            .write(to: server.folder.appendingPathComponent("second.conf"))
        let refused = try await RunningServer.command(["serve", "second.conf"], in: server.folder)
        #expect(refused.code == 1)
        #expect(
            refused.errors.contains("is in use by another fairlead (process \(server.process.processIdentifier))"),
            "\(refused.errors)")
    }

    @Test func aPortThatIsTakenIsNamed() async throws {
        let server = try RunningServer(routes: "topic orders { retain 30d }")
        try await server.start()
        let other = try RunningServer(routes: "topic orders { retain 30d }")
        try Data("listen 127.0.0.1:\(server.port)\ntopic orders { retain 30d }\n".utf8)
            .write(to: other.folder.appendingPathComponent("routes.conf"))
        let refused = try await RunningServer.command(["serve"], in: other.folder)
        #expect(refused.code == 1)
        #expect(refused.errors.contains("can't serve on 127.0.0.1:\(server.port)"), "\(refused.errors)")
    }

    @Test func terminationEndsTheServerInOrder() async throws {
        let server = try RunningServer(routes: "topic orders { retain 30d }")
        try await server.start()
        server.signal(SIGTERM)
        try await eventually("the process has ended") { !server.process.isRunning }
        #expect(server.process.terminationStatus == 0)
        #expect(server.output.contains("Stopped"))
    }
}
