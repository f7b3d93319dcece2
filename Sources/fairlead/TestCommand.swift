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
    @Flag(help: "Print the results as TAP, version 13.") var tap = false

    func run() async throws {
        let checked = Check.check(config, strictEnvironment: false)
        for finding in checked.findings { Console.complain(finding.description) }
        guard let table = checked.table else {
            Console.complain("\(config): refused")
            throw ExitCode.refused
        }
        var tally = Tally(isTAP: tap)
        for test in table.tests { tally.report(test.name, Routes.run(test, table: table)) }
        // What `check` has read already; it refuses a folder that can't be read.
        let folder = try PluginFolder(GenerationBuilder.path(table.server.plugins, besides: config))
        for result in await ScriptHost(services: .offline(), lanes: 1).runTests(folder.files) {
            tally.report(
                result.name.map { "\(result.file): \($0)" } ?? "\(result.file) loads",
                result.problem.map { ["\($0)"] } ?? [])
        }
        tally.finish()
        if tally.failed > 0 { throw ExitCode.failure }
    }

    /// Says how each test ended, and counts.
    private struct Tally {
        let isTAP: Bool
        private(set) var passed = 0
        private(set) var failed = 0

        init(isTAP: Bool) {
            self.isTAP = isTAP
            if isTAP { Console.say("TAP version 13") }
        }

        mutating func report(_ name: String, _ failures: [String]) {
            if failures.isEmpty { passed += 1 } else { failed += 1 }
            if isTAP {
                // TAP reads a `#` in a name as a directive.
                let name = name.replacing("#", with: "\\#")
                Console.say("\(failures.isEmpty ? "ok" : "not ok") \(passed + failed) - \(name)")
                for line in failures.flatMap({ $0.split(whereSeparator: \.isNewline) }) { Console.say("# \(line)") }
            } else {
                let mark = failures.isEmpty ? Console.styled("ok", .green) : Console.styled("failed", .red)
                Console.say("\(mark)\(failures.isEmpty ? "      " : "  ")\(name)")
                for failure in failures { Console.say("          \(failure)") }
            }
        }

        func finish() {
            Console.say(isTAP ? "1..\(passed + failed)" : "\(passed) passed, \(failed) failed")
        }
    }
}
