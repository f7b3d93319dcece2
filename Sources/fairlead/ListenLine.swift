// SPDX-License-Identifier: Apache-2.0

import Foundation
import Routes

/// What a routes.conf that may be full of errors says of `listen`: a command that talks to the running server must find it
/// while somebody is editing.
struct ListenLine: RouteSources {
    private let line: [UInt8]

    static func settings(in config: String) -> ServerSettings {
        let compiled = RouteCompiler.compile(config, from: FileRouteSources(), strictEnvironment: false)
        if let table = compiled.table { return table.server }
        let text = FileManager.default.contents(atPath: config).map { String(decoding: $0, as: UTF8.self) } ?? ""
        for line in text.split(whereSeparator: \.isNewline)
        where line.trimmingCharacters(in: .whitespaces).hasPrefix("listen") {
            let alone = RouteCompiler.compile(config, from: Self(line: Array(line.utf8)), strictEnvironment: false)
            if let table = alone.table { return table.server }
        }
        return ServerSettings()
    }

    private init(line: [UInt8]) {
        self.line = line
    }

    func bytes(of path: String) throws -> [UInt8] { line }
    func files(matching pattern: String) throws -> [String] { [] }
    func environment(_ name: String) -> String? { ProcessInfo.processInfo.environment[name] }
    func secret(_ name: String) throws -> String? { nil }
}
