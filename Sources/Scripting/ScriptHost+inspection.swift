// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events

/// What a plugin is and needs, whoever uses it.
package struct PluginInspection: Sendable {
    /// Why it can't be used by anybody: syntax, errors while loading, a table that makes no sense.
    package var problems: [PluginProblem] = []
    package var names: [NameFinding] = []
    package var version: String?
    package var takesBatches = false
    package var requires = PluginRequirements()
    package var settings: [Setting] = []

    package struct Setting: Hashable, Sendable {
        package var name: String
        package var type: String
        package var isRequired: Bool
        /// As JSON-like text; nil where there is none.
        package var fallback: String?
        package var doc: String?
    }
}

extension ScriptHost {
    /// Looks at a plugin without any subscriber: compiles all its files, loads it in a scratch state, and follows the names
    /// in its sources. Blocks for as long as loading takes, at most about a second.
    package func inspect(_ source: PluginSource) -> PluginInspection {
        onLane { services in
            var inspection = PluginInspection()
            let good = PluginState.compile(source, problems: &inspection.problems)
            let hasSyntaxErrors = !inspection.problems.isEmpty
            var problems: [PluginProblem] = []
            let binding = PluginBinding(subscriber: source.name, source: source)
            let state = PluginState(binding, clock: services.clock, isBound: false, problems: &problems)
            if let manifest = state?.manifest { inspection.read(manifest) }
            let declared = state.flatMap { $0.manifest["config"].isNone ? nil : inspection.settings.map(\.name) }
            inspection.names = source.unknownNames(settings: declared, in: good)
            if !hasSyntaxErrors {
                // What a name does when it is reached while loading is said by its finding.
                inspection.problems += problems.filter { problem in
                    !inspection.names.contains {
                        $0.file == problem.file && $0.line == problem.line && $0.kind == .global
                    }
                }
            }
            return inspection
        }
    }

    /// The names alone, of a plugin that loads.
    package func unknownNames(in source: PluginSource) -> [NameFinding] { inspect(source).names }
}

extension PluginInspection {
    fileprivate mutating func read(_ manifest: PackedValue) {
        version = manifest.pluginVersion
        takesBatches = manifest["handle_batch"] == .other("function")
        requires = PluginRequirements(manifest)
        settings = (manifest["config"].pairs ?? []).sorted { $0.key < $1.key }.map { name, field in
            let fallback = field["default"]
            return Setting(
                name: name, type: field["type"].text ?? "", isRequired: field["required"] == .boolean(true),
                fallback: fallback.isNone ? nil : fallback.shown, doc: field["doc"].text)
        }
    }
}

extension PluginState {
    /// Compiles all Lua files of a plugin; returns those that are right.
    static func compile(_ source: PluginSource, problems: inout [PluginProblem]) -> [String] {
        var limits = fl_lua_limits(
            memory: PluginBinding(subscriber: "", source: source).memory,
            cpu: UInt64(clamping: Limits.pluginLoadCPU.nanoseconds),
            load_cpu: UInt64(clamping: Limits.pluginLoadCPU.nanoseconds), wall: .max, concurrency: 1)
        var good: [String] = []
        for path in source.files.keys.sorted() where path.hasSuffix(".lua") {
            // One for each, so that many files together don't run out of memory that the plugin never needs at once.
            guard let lua = fl_lua_open(&limits, source.name) else { continue }
            defer { fl_lua_close(lua) }
            var packed: UnsafePointer<UInt8>?
            var length = 0
            let bytes = source.files[path] ?? []
            let isRight = bytes.withUnsafeBytes {
                fl_lua_compile(lua, PluginSource.chunkName(path), $0.baseAddress, $0.count, &packed, &length) == 1
            }
            if isRight {
                good.append(path)
            } else {
                let parts = PackedValue(UnsafeRawBufferPointer(start: packed, count: length))?.items ?? []
                problems.append(PluginProblem(luaError: parts.first?.text ?? "could not be compiled", trace: ""))
            }
        }
        return good
    }
}
