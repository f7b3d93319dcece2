// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Routes
import Scripting

struct Test: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the `test` blocks of a configuration, then the tests of its plugins.",
        discussion: "The same matching and the same sandbox as in the server. Exit code 1: a test failed.")

    @Argument(help: "The configuration.", completion: .routes) var config = "routes.conf"
    @Flag(help: "Print the results as TAP, version 13.") var tap = false
    @Flag(help: "Print the results as one JSON object.") var json = false

    func validate() throws {
        guard !(tap && json) else { throw ValidationError("say one of --tap and --json") }
    }

    func run() async throws {
        let checked = Check.check(config, strictEnvironment: false)
        for finding in checked.findings { Console.complain(finding.description) }
        guard let table = checked.table else {
            Console.complain("\(config): refused")
            throw ExitCode.refused
        }
        var tally = Tally(form: json ? .json : tap ? .tap : .text)
        for test in table.tests { tally.report(test.name, Routes.run(test, table: table)) }
        // What `check` has read already; it refuses a folder that can't be read.
        let folder = try PluginFolder(GenerationBuilder.path(table.server.plugins, besides: config))
        for result in await ScriptHost(services: .offline(), lanes: 1).runTests(folder.files) {
            tally.report(
                result.name.map { "\(result.file): \($0)" } ?? "\(result.file) loads",
                result.problem.map { ["\($0)"] } ?? [])
        }
        try tally.finish()
        if tally.failed > 0 { throw ExitCode.failure }
    }

    /// Says how each test ended, and counts.
    private struct Tally {
        enum Form { case text, tap, json }

        private struct Summary: Encodable {
            var passed = 0
            var failed = 0
            var tests: [Case] = []

            struct Case: Encodable {
                var name: String
                var passed: Bool
                var failures: [String]
            }
        }

        let form: Form
        private var cases: [Summary.Case] = []
        private(set) var passed = 0
        private(set) var failed = 0

        init(form: Form) {
            self.form = form
            if form == .tap { Console.say("TAP version 13") }
        }

        mutating func report(_ name: String, _ failures: [String]) {
            if failures.isEmpty { passed += 1 } else { failed += 1 }
            switch form {
            case .json: cases.append(.init(name: name, passed: failures.isEmpty, failures: failures))
            case .tap:
                // TAP reads a `#` in a name as a directive.
                let name = name.replacing("#", with: "\\#")
                Console.say("\(failures.isEmpty ? "ok" : "not ok") \(passed + failed) - \(name)")
                for line in failures.flatMap({ $0.split(whereSeparator: \.isNewline) }) { Console.say("# \(line)") }
            case .text:
                let mark = failures.isEmpty ? Console.styled("ok", .green) : Console.styled("failed", .red)
                Console.say("\(mark)\(failures.isEmpty ? "      " : "  ")\(name)")
                for failure in failures { Console.say("          \(failure)") }
            }
        }

        func finish() throws {
            switch form {
            case .text: Console.say("\(passed) passed, \(failed) failed")
            case .tap: Console.say("1..\(passed + failed)")
            case .json:
                let encoder = JSONEncoder()
                encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
                let summary = Summary(passed: passed, failed: failed, tests: cases)
                Console.say(String(decoding: try encoder.encode(summary), as: UTF8.self))
            }
        }
    }
}
