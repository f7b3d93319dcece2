// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look at everything that Fairlead needs of this machine, and say what to do about it.",
        discussion: """
            The configuration, secrets and plugins, Lua, the data folder (disk, permissions, how long a sync takes, whether \
            the file system keeps what it is given), the limit on open files, the clock, and the port or the server that \
            has it. Nothing is changed; to try the disk, a file is written into the data folder and removed. A running \
            server isn't disturbed. Nothing leaves the machine unless --network is given.

            Exit code 0: nothing keeps Fairlead from working. 1: something does.
            """)

    @Argument(help: "The configuration.", completion: .routes) var config = "routes.conf"
    @Flag(help: "Also try to reach the mail server.") var network = false
    @Flag(help: "Print the findings as JSON.") var json = false

    func run() async throws {
        let findings = await Examination(config: config, usesNetwork: network).run()
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            Console.say(String(decoding: try encoder.encode(findings), as: UTF8.self))
        } else {
            let width = findings.map(\.name.count).max() ?? 0
            for finding in findings {
                let mark =
                    switch finding.level {
                    case .ok: Console.styled("ok  ", .green)
                    case .warn: Console.styled("warn", .yellow)
                    case .fail: Console.styled("FAIL", .red)
                    }
                let pad = String(repeating: " ", count: width - finding.name.count)
                Console.say("\(mark)  \(finding.name)\(pad)  \(finding.text)")
                if let remedy = finding.remedy {
                    Console.say(String(repeating: " ", count: width + 8) + remedy)
                }
            }
        }
        if findings.contains(where: { $0.level == .fail }) { throw ExitCode.failure }
    }
}

/// One line of the doctor's.
struct DoctorFinding: Encodable {
    enum Level: String, Encodable {
        case ok, warn, fail
    }

    var name: String
    var level: Level
    var text: String
    /// What to do; none where all is well.
    var remedy: String?

    static func ok(_ name: String, _ text: String) -> Self { Self(name: name, level: .ok, text: text) }
    static func warn(_ name: String, _ text: String, _ remedy: String) -> Self {
        Self(name: name, level: .warn, text: text, remedy: remedy)
    }
    static func fail(_ name: String, _ text: String, _ remedy: String) -> Self {
        Self(name: name, level: .fail, text: text, remedy: remedy)
    }
}
