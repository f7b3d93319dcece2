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
        var passed = 0
        var failed = 0
        for test in table.tests {
            let failures = Routes.run(test, table: table)
            if failures.isEmpty {
                passed += 1
                Console.say("\(Console.styled("ok", .green))      \(test.name)")
            } else {
                failed += 1
                Console.say("\(Console.styled("failed", .red))  \(test.name)")
                for failure in failures { Console.say("          \(failure)") }
            }
        }
        Console.say("\(passed) passed, \(failed) failed")
        if failed > 0 { throw ExitCode.failure }
    }
}
