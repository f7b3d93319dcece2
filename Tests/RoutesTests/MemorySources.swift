// SPDX-License-Identifier: Apache-2.0

import Routes

/// Files, variables and secrets out of dictionaries.
struct MemorySources: RouteSources {
    var files: [String: [UInt8]]
    var variables: [String: String] = [:]
    var secrets: [String: String] = [:]
    var unreadable: Set<String> = []

    init(
        _ text: String, _ more: [String: String] = [:], variables: [String: String] = [:],
        secrets: [String: String] = [:]
    ) {
        files = more.mapValues { Array($0.utf8) }
        files["routes.conf"] = Array(text.utf8)
        self.variables = variables
        self.secrets = secrets
    }

    struct Missing: Error, CustomStringConvertible {
        var description: String { "no such file" }
    }

    func bytes(of path: String) throws -> [UInt8] {
        guard let bytes = files[path], !unreadable.contains(path) else { throw Missing() }
        return bytes
    }

    /// `*` for any run within one folder, as the shell does.
    func files(matching pattern: String) throws -> [String] {
        let parts = pattern.split(separator: "*", omittingEmptySubsequences: false)
        guard parts.count == 2 else { return files.keys.contains(pattern) ? [pattern] : [] }
        return files.keys.filter {
            $0.hasPrefix(parts[0]) && $0.hasSuffix(parts[1])
                && !$0.dropFirst(parts[0].count).dropLast(parts[1].count).contains("/")
        }.sorted()
    }

    func environment(_ name: String) -> String? { variables[name] }
    func secret(_ name: String) throws -> String? { secrets[name] }
}

func compile(_ text: String, strict: Bool = false) -> CompiledRoutes {
    RouteCompiler.compile("routes.conf", from: MemorySources(text), strictEnvironment: strict)
}
