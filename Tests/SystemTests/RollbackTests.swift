// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Going back to the files of an earlier generation, on the real program.
@Suite(.timeLimit(.minutes(5))) struct RollbackTests {
    private static let routes = """
        topic orders { retain 30d }
        topic seen { retain 30d }
        include "more/*.conf"
        subscriber first { from orders; run first; allow publish seen; start earliest }
        """

    private static func plugin(_ version: Int) -> String {
        """
        local tell = require "tell"
        return function(event, ctx) tell(ctx, \(version)) end
        """
    }

    private func versionAtWork(_ server: RunningServer) async throws -> Int? {
        let count = try await server.tail("seen").count
        #expect(try await server.post("/v1/topics/orders/events", "{}").status == 202)
        try await eventually("it is handled") { try await server.tail("seen").count > count }
        return try await server.tail("seen").last?.data["version"] as? Int
    }

    private func reloaded(_ server: RunningServer, version: Int) async throws {
        try server.write(plugin: "first", Self.plugin(version))
        #expect(try await server.command("reload").code == 0)
    }

    @Test func aRollbackRunsTheOldFilesUntilTheNextReload() async throws {
        let server = try RunningServer(routes: Self.routes, plugins: ["first": Self.plugin(1)])
        try FileManager.default.createDirectory(
            at: server.folder.appendingPathComponent("Plugins/lib"), withIntermediateDirectories: true)
        try FileManager.default.createDirectory(
            at: server.folder.appendingPathComponent("more"), withIntermediateDirectories: true)
        let included = server.folder.appendingPathComponent("more/extra.conf")
        try Data("topic extra { retain 1d }".utf8).write(to: included)
        try server.write(
            plugin: "lib/tell",
            "return function(ctx, version) ctx.publish('seen', { version = version }, { type = 'seen' }) end")
        try await server.start()
        #expect(try await versionAtWork(server) == 1)
        try await reloaded(server, version: 2)
        try FileManager.default.removeItem(at: included)
        try await reloaded(server, version: 3)
        #expect(try await versionAtWork(server) == 3)
        #expect(try await server.post("/v1/topics/extra/events", "{}").status == 404)

        let back = try await server.command("rollback")
        #expect(back.code == 0, "\(back.errors)")
        #expect(back.output == "generation 4 applied\n  first changed\n", "\(back.output)")
        #expect(try await versionAtWork(server) == 2)
        #expect(try await server.post("/v1/topics/extra/events", "{}").status == 202, "includes come back, too")
        let status = try await server.command("status").output
        #expect(status.contains("gone back to the files of generation 2"), "\(status)")
        #expect(status.contains("on disk is another configuration"), "\(status)")
        #expect(try await server.command("generations").output.contains("rollback to 2"))
        let plan = try await server.command("plan").output
        #expect(plan.contains("a reload of generation 4 would change"), "\(plan)")

        // Again: further back, not forth.
        #expect(try await server.command("rollback").code == 0)
        #expect(try await versionAtWork(server) == 1)
        let nowhere = try await server.command("rollback")
        #expect(nowhere.code == 2)
        #expect(nowhere.errors.contains("there is no generation before 1"), "\(nowhere.errors)")
        let named = try await server.post("/v1/rollback", #"{"generation":3}"#)
        #expect(try named.object["generation"] as? Int == 6, "\(named.text)")
        #expect(try await versionAtWork(server) == 3)
        #expect(try await !server.command("status").output.contains("on disk is another configuration"))
        let unknown = try await server.command("rollback", "77")
        #expect(unknown.code == 2)
        #expect(unknown.errors.contains("there is no generation 77; `fairlead generations` lists them"))

        #expect(try await server.command("rollback", "1").code == 0)
        #expect(try await server.command("reload").code == 0)
        #expect(try await versionAtWork(server) == 3, "a reload goes by the disk again")
        #expect(try await !server.command("status").output.contains("gone back"))
        try await eventually("they are on $config") {
            try await server.get("/v1/topics/$config/events?from=0&max=50&wait=0s").text
                .components(separatedBy: "fairlead.config.rolled_back").count == 5
        }
    }

    @Test func aRollbackThatTakesARestartOrFailsChangesNothing() async throws {
        let server = try RunningServer(
            routes: "topic orders { retain 30d }\nsubscriber first { from orders; run first; start earliest }",
            plugins: ["first": "return function() end"])
        try await server.start()
        server.signal(SIGTERM)
        try await eventually("the process has ended") { !server.process.isRunning }
        try server.write(
            routes:
                "insecure yes\ntopic orders { retain 30d }\nsubscriber first { from orders; run first; start earliest }"
        )
        try await server.start()
        let restart = try await server.command("rollback")
        #expect(restart.code == 3)
        #expect(restart.errors.contains("insecure yes → no"), "\(restart.errors)")
        #expect(try await server.get("/v1/status").object["generation"] as? Int == 2)
        #expect(try await server.command("generations").output.contains("restart needed"))
    }
}
