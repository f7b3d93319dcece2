// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Programs of others, from PyPI, against the real server. `make deps` installs them; without them the tests fail.
struct ClientTests {
    private static let clients = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../Clients").standardizedFileURL
    private static let python = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../.build/python/bin").standardizedFileURL

    private static func program(_ name: String) throws -> URL {
        let program = python.appendingPathComponent(name)
        try #require(
            FileManager.default.isExecutableFile(atPath: program.path), "\(program.path) is missing; run: make deps")
        return program
    }

    @Test(.timeLimit(.minutes(3))) func theCloudEventsClientPublishesAndReceives() async throws {
        let ports = try (0..<2).map { _ in try Loopback.freePort() }
        let server = try RunningServer(
            routes: """
                topic orders { }
                subscriber binary { from orders; push "http://127.0.0.1:\(ports[0])/"; retry { attempts 20; backoff 100ms } }
                subscriber whole { from orders; push "http://127.0.0.1:\(ports[1])/" { mode structured }; retry { attempts 20; backoff 100ms } }
                subscriber books { from orders; pull }
                """)
        try await server.start()
        let run = try await RunningServer.command(
            [Self.clients.appendingPathComponent("cloudevents_client.py").path, "\(server.port)"]
                + ports.map { "\($0)" },
            of: Self.program("python"), in: server.folder)
        #expect(run.code == 0, "\(run.errors)")
        #expect(run.output == "15 events, pushed to 2 endpoints and pulled\n")
    }

    /// A seed makes a run repeatable; `make fuzz` tries others and more.
    @Test(.timeLimit(.minutes(3))) func schemathesisFindsNothing() async throws {
        let server = try RunningServer(
            routes: """
                token "test" secret("TEST_TOKEN") { publish orders; pull books; read; admin }
                topic orders { }
                subscriber books { from orders; pull }
                """)
        try await server.start(environment: ["TEST_TOKEN": "a-token-for-schemathesis"])
        let environment = ProcessInfo.processInfo.environment
        // The stream of /v1/live never ends. Which strings are names, filters and times, a schema can't say: what it allows
        // may be refused, and positive_data_acceptance wants all of it to be taken.
        let run = try await RunningServer.command(
            [
                "run", "http://127.0.0.1:\(server.port)/v1/openapi.json", "--header",
                "Authorization: Bearer a-token-for-schemathesis", "--exclude-path", "/v1/live", "--checks", "all",
                "--exclude-checks", "positive_data_acceptance", "--phases", "examples,coverage,fuzzing",
                "--max-examples",
                environment["SCHEMATHESIS_EXAMPLES"] ?? "10", "--seed", environment["SCHEMATHESIS_SEED"] ?? "1",
                "--no-shrink",
                "--no-color",
            ],
            of: Self.program("schemathesis"), in: server.folder,
            environment: [
                "SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": Self.clients.path,
                "PYTHONDONTWRITEBYTECODE": "1",
            ])
        #expect(run.code == 0, "\(run.output.suffix(6_000))\(run.errors.suffix(2_000))")
        #expect(server.process.isRunning)
    }

    @Test func theDescriptionsArePrinted() async throws {
        let server = try RunningServer(routes: "topic orders { }\nsubscriber books { from orders; pull }")
        let described = try await server.command("openapi")
        #expect(described.code == 0)
        #expect(described.output.contains(#""openapi" : "3.1.0""#))
        try await server.start()
        let served = try await server.get("/v1/openapi.json")
        let printed = try JSONSerialization.jsonObject(with: Data(described.output.utf8)) as? NSDictionary
        #expect(try printed == (JSONSerialization.jsonObject(with: Data(served.body)) as? NSDictionary))
        let routes = try await server.command("asyncapi")
        #expect(routes.code == 0)
        let document = try JSONSerialization.jsonObject(with: Data(routes.output.utf8)) as? [String: Any] ?? [:]
        #expect(
            (document["operations"] as? [String: Any])?.keys.sorted() == ["deliver.books.orders", "publish.orders"])
        try Data("topic".utf8).write(to: server.folder.appendingPathComponent("routes.conf"))
        #expect(try await server.command("asyncapi").code == 2)
    }
}
