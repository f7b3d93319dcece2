// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Routes

struct Fmt: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Lay out configuration files as everybody does.",
        discussion: """
            Without files: routes.conf and all it includes. Comments stay, meaning doesn't change, and files that `check` \
            refuses are laid out too. With - it reads standard input and writes standard output, for editors.

            Exit code 1 with --check or --diff: a file is laid out otherwise. 2: a file can't be read or laid out.
            """)

    @Argument(help: "The files; - is standard input.", completion: .routes) var files: [String] = []
    @Flag(help: "Change nothing; name the files that would change.") var check = false
    @Flag(help: "Change nothing; show what would change.") var diff = false

    func run() async throws {
        let paths =
            files.isEmpty
            ? RouteCompiler.compile("routes.conf", from: FileRouteSources(), strictEnvironment: false).files : files
        var differs = false
        var isRefused = false
        for path in paths {
            guard let old = Self.read(path) else {
                Console.complain("can't read \(path); give the path of a configuration, or - for standard input")
                isRefused = true
                continue
            }
            let formatted = RouteFormatter.format(old)
            if let refusal = formatted.refusal {
                Console.complain("\(path) is left as it is: \(refusal)")
                isRefused = true
            }
            if path == "-", !check, !diff {
                Console.say(formatted.bytes)
                continue
            }
            guard formatted.bytes != old else { continue }
            differs = true
            if diff {
                Console.say(unifiedDiff(old, formatted.bytes, path: path).trimmingSuffix { $0.isNewline })
            } else if check {
                Console.say("\(path) would be laid out otherwise")
            } else {
                try Data(formatted.bytes).write(to: URL(fileURLWithPath: path), options: .atomic)
                Console.say("\(path) laid out")
            }
        }
        if isRefused { throw ExitCode.refused }
        if differs, check || diff { throw ExitCode.failure }
    }

    private static func read(_ path: String) -> [UInt8]? {
        if path == "-" { return Array(FileHandle.standardInput.readDataToEndOfFile()) }
        return FileManager.default.contents(atPath: path).map(Array.init)
    }
}

extension String {
    fileprivate func trimmingSuffix(_ isTrimmed: (Character) -> Bool) -> String {
        var text = self
        while let last = text.last, isTrimmed(last) { text.removeLast() }
        return text
    }
}
