// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Routes
import Scripting

struct Test: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the `test` blocks of a configuration, then the tests of its plugins.",
        discussion: "The same matching and the same sandbox as in the server. Exit code 1: a test failed.")

    @Argument(help: "The configuration.") var config = "routes.conf"

    func run() async throws {
        let checked = Check.check(config, strictEnvironment: false)
        for diagnostic in checked.diagnostics { Console.complain(diagnostic) }
        guard let table = checked.table else {
            Console.complain("\(config): refused")
            throw ExitCode.refused
        }
        var tally = Tally()
        for test in table.tests { tally.report(test.name, Routes.run(test, table: table)) }
        // What `check` has read already; it refuses a folder that can't be read.
        let folder = try PluginFolder(GenerationBuilder.path(table.server.plugins, besides: config))
        for result in await ScriptHost(services: .offline(), lanes: 1).runTests(folder.files) {
            tally.report(
                result.name.map { "\(result.file): \($0)" } ?? "\(result.file) loads",
                result.problem.map { ["\($0)"] } ?? [])
        }
        Console.say("\(tally.passed) passed, \(tally.failed) failed")
        if tally.failed > 0 { throw ExitCode.failure }
    }

    /// Says how each test ended, and counts.
    private struct Tally {
        private(set) var passed = 0
        private(set) var failed = 0

        mutating func report(_ name: String, _ failures: [String]) {
            if failures.isEmpty {
                passed += 1
                Console.say("\(Console.styled("ok", .green))      \(name)")
            } else {
                failed += 1
                Console.say("\(Console.styled("failed", .red))  \(name)")
                for failure in failures { Console.say("          \(failure)") }
            }
        }
    }
}
