// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Tokens and TLS on the running program.
struct SecurityTests {
    @Test func tokensAreAskedForAndChangeWithAReload() async throws {
        func routes(_ secret: String) -> String {
            """
            topic orders { retain 30d }
            subscriber books { from orders; pull { lease 30s }; start earliest }
            token "shop" secret("\(secret)") { publish orders }
            token "root" secret("ROOT") { admin }
            """
        }
        let server = try RunningServer(routes: routes("OLD"))
        let secrets = ["OLD": "the-old-token", "NEW": "the-new-token", "ROOT": "the-root-token"]
        try await server.start(environment: secrets)
        func publish(_ token: String?) async throws -> Int {
            try await Loopback.send(
                "POST", server.port, "/v1/topics/orders/events", body: Array("{}".utf8),
                headers: token.map { ["Authorization: Bearer \($0)"] } ?? []
            ).status
        }
        #expect(try await publish(nil) == 401)
        #expect(try await publish("the-old-token") == 202)
        #expect(try await publish("the-root-token") == 403)

        func command(_ arguments: String...) async throws -> (code: Int32, output: String, errors: String) {
            try await RunningServer.command(
                arguments, in: server.folder, environment: secrets.merging(["FAIRLEAD_TOKEN": "the-root-token"]) { $1 })
        }
        #expect(try await command("status").code == 0)
        let refused = try await command("status", "--token", "wrong")
        #expect(refused.code == 2 && refused.errors.contains("no token of routes.conf"), "\(refused.errors)")

        try server.write(routes: routes("NEW"))
        #expect(try await command("reload").code == 0)
        #expect(try await publish("the-old-token") == 401)
        #expect(try await publish("the-new-token") == 202)
        for secret in secrets.values { #expect(!server.output.contains(secret), "no secret is logged") }
    }

    @Test func tlsIsServedAndTheCommandsTrustItsCertificate() async throws {
        let server = try RunningServer(routes: "")
        try server.write(
            routes: """
                tls { certificate "cert.pem"; key "key.pem" }
                topic orders { retain 30d }
                """)
        try await makeCertificate("fairlead.test", in: server.folder)
        try await server.start(until: "Listening")
        let status = try await server.command("status")
        #expect(status.code == 0 && status.output.contains("orders"), "\(status.errors)")
        let stranger = try await server.command("status", "--server", "https://127.0.0.1:\(server.port)")
        #expect(stranger.code == 1, "a certificate that nobody vouches for is not trusted")
    }

    private static let openssl = URL(fileURLWithPath: "/usr/bin/openssl")

    private func makeCertificate(_ name: String, in folder: URL) async throws {
        let made = try await RunningServer.command(
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", "/CN=\(name)", "-keyout", "key.pem", "-out", "cert.pem",
            ], of: Self.openssl, in: folder)
        #expect(made.code == 0, "\(made.errors)")
    }

    @Test func aReloadTakesANewCertificateAndRefusesABadOne() async throws {
        let server = try RunningServer(
            routes: "tls { certificate \"cert.pem\"; key \"key.pem\" }\ntopic orders { retain 30d }")
        try await makeCertificate("first.test", in: server.folder)
        try await server.start(until: "Listening")
        func served() async throws -> String {
            let shown = try await RunningServer.command(
                ["s_client", "-connect", "127.0.0.1:\(server.port)", "-showcerts"], of: Self.openssl, in: server.folder)
            return shown.output
        }
        #expect(try await served().contains("first.test"))

        try await makeCertificate("second.test", in: server.folder)
        server.signal(SIGHUP)
        try await eventually("new connections get the new certificate") {
            try await served().contains("second.test")
        }

        try Data("nonsense".utf8).write(to: server.folder.appendingPathComponent("key.pem"))
        let before = server.output.ranges(of: "Reloaded").count
        server.signal(SIGHUP)
        try await eventually("the bad key is refused by name") {
            server.output.contains("Reload refused") && server.output.contains("key.pem can't be read as PEM")
        }
        #expect(server.output.ranges(of: "Reloaded").count == before)
        #expect(try await served().contains("second.test"), "what was served goes on")
    }

    @Test func aKeyThatIsMissingIsNamed() async throws {
        let server = try RunningServer(routes: "tls { certificate \"cert.pem\"; key \"key.pem\" }")
        let refused = try await RunningServer.command(["serve"], in: server.folder)
        #expect(refused.code == 1)
        #expect(refused.errors.contains("cert.pem can't be read as PEM"), "\(refused.errors)")
    }

    @Test func listeningBeyondLoopbackTakesTokens() async throws {
        let server = try RunningServer(routes: "")
        try Data("listen 0.0.0.0:\(server.port)\ntopic orders { retain 1d }\n".utf8)
            .write(to: server.folder.appendingPathComponent("routes.conf"))
        let refused = try await RunningServer.command(["serve"], in: server.folder)
        #expect(refused.code == 78)
        #expect(refused.errors.contains("anybody who reaches 0.0.0.0 may publish"), "\(refused.errors)")
    }

    @Test func afterADeadLetterASubscriberMayPauseOrPublish() async throws {
        let server = try RunningServer(
            routes: """
                topic orders { retain 30d }
                topic broken { retain 30d }
                subscriber stops { from orders; run poison; on dead pause }
                subscriber sorts { from orders; run poison; on dead publish broken }
                subscriber fixer { from broken; pull { lease 30s }; start earliest }
                """, plugins: ["poison": "return function(event, ctx) return ctx.dead('poison') end"])
        try await server.start()
        for number in 1...2 { _ = try await server.post("/v1/topics/orders/events", #"{"n":\#(number)}"#) }
        try await eventually("both subscribers have met the poison") {
            let stops = try await server.subscriber("stops")
            let sorts = try await server.subscriber("sorts")
            return stops["state"] as? String == "paused" && sorts["dead"] as? Int == 2
        }
        let sorted = try await server.command("pull", "fixer", "--wait", "5s", "--max", "2")
        #expect(sorted.output.contains(#""data":{"n":1}"#), "\(sorted.output)")
        let resumed = try await server.command("resume", "stops")
        #expect(resumed.code == 0)
    }
}
