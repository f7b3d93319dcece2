// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Events
import Foundation
import Gateway
import Routes

struct OpenAPICommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "openapi",
        abstract: "Print the description of the HTTP API (OpenAPI 3.1).",
        discussion: "Needs no server. A server gives the same at /v1/openapi.json.")

    func run() throws {
        let bytes = OpenAPI.document(version: Fairlead.version)
        Console.say(try Console.pretty(JSONSerialization.jsonObject(with: Data(bytes))))
    }
}

struct AsyncAPICommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "asyncapi",
        abstract: "Print what a configuration routes, as AsyncAPI 3.0.",
        discussion: """
            Needs no server. Topics are channels; publishing to one, and each subscriber's deliveries from it, are operations. \
            Filters, as AsyncAPI has none, stand in the descriptions and as x-where.
            """)

    @Argument(help: "The configuration.", completion: .routes) var config = "routes.conf"

    func run() throws {
        let compiled = RouteCompiler.compile(config, from: FileRouteSources(), strictEnvironment: false)
        guard let table = compiled.table else {
            for diagnostic in compiled.diagnostics { Console.complain(diagnostic.description) }
            Console.complain("\(config): refused")
            throw ExitCode.refused
        }
        var bytes: [UInt8] = []
        AsyncAPIDocument(table, version: Fairlead.version).json.append(to: &bytes)
        Console.say(try Console.pretty(JSONSerialization.jsonObject(with: Data(bytes))))
    }
}
