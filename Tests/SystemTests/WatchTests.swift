// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// `serve --watch`, on the real program.
@Suite(.timeLimit(.minutes(3))) struct WatchTests {
    @Test func everyChangeIsLoadedAndWhatIsWrongIsSaid() async throws {
        let routes = """
            topic orders { retain 30d }
            include "more/*.conf"
            subscriber first { from orders; run first; start earliest }
            """
        let server = try RunningServer(routes: routes, plugins: ["first": "return function() end"])
        let more = server.folder.appendingPathComponent("more")
        try FileManager.default.createDirectory(at: more, withIntermediateDirectories: true)
        try await server.start("--watch")
        func said(_ text: String) async throws {
            try await eventually("it says: \(text)") { server.output.contains(text) }
        }
        try server.write(plugin: "first", "return function() return true end")
        try await said("first.lua: generation 2 applied: first changed")

        try server.write(plugin: "second", "return function( end")
        try Data("subscriber second { from orders; run second; start earliest }".utf8)
            .write(to: more.appendingPathComponent("second.conf"))
        try await said("refused; the running generation goes on")
        try await said("second.lua:1:")
        try server.write(plugin: "second", "return function() end")
        try await said("second added")

        try server.write(routes: "topic orders { retain")
        try await said("routes.conf: refused; the running generation goes on")
        try server.write(routes: routes)
        try await eventually("it goes on") {
            try await server.get("/v1/generations?limit=1").text.contains(#""trigger":"watch""#)
        }
        try FileManager.default.removeItem(at: more.appendingPathComponent("second.conf"))
        try await said("second removed")
        #expect(try await server.get("/readyz").status == 200)
    }
}
