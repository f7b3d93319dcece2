// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events

/// One subscriber's interpreter with its plugin loaded. Belongs to the lane's thread; closes with its last reference.
final class PluginState {
    let lua: OpaquePointer
    let manifest: PackedValue
    /// Values of the settings that must not be shown, as the subscriber's block has them and as the plugin's schema takes them: one
    /// that was written down for a try is kept like one from the environment.
    private(set) var secrets: [(name: String, value: [UInt8])] = []
    let takesBatches: Bool
    let hasInit: Bool
    let hasStop: Bool
    let hasMigrate: Bool
    /// Of what the plugin keeps in `ctx.state`; 1 where it says nothing.
    let stateVersion: Int

    /// Loads the plugin and checks everything that can be checked without running a handler.
    ///
    /// - Parameter isBound: whether a subscriber's settings and grants are checked as well, or the plugin alone.
    /// - Parameter problems: gets every problem found; where it is left empty the state is good.
    init?(
        _ binding: PluginBinding, clock: any Clock, isTest: Bool = false, isBound: Bool = true,
        problems: inout [PluginProblem]
    ) {
        let source = binding.source
        let entry = PluginSource.chunkName(source.entry)
        guard let text = source.files[source.entry] else {
            problems.append(
                PluginProblem(
                    message: "plugin \"\(source.name)\" has no file \(entry)",
                    remedy: "create Plugins/\(source.name).lua, or Plugins/\(source.name)/init.lua"))
            return nil
        }
        var limits = fl_lua_limits(
            memory: binding.memory, cpu: UInt64(clamping: binding.cpu.nanoseconds),
            load_cpu: UInt64(clamping: max(binding.cpu, Limits.pluginLoadCPU).nanoseconds),
            wall: UInt64(clamping: binding.timeout.nanoseconds),
            concurrency: UInt32(clamping: max(1, binding.concurrency)))
        guard let lua = fl_lua_open(&limits, binding.subscriber) else {
            problems.append(
                PluginProblem(
                    message: "\(binding.memory) bytes are too little memory for a plugin",
                    remedy: "raise `memory` in the subscriber's limits; 16MiB is plenty for most"))
            return nil
        }
        self.lua = lua
        fl_lua_set_time(lua, clock.now().milliseconds)
        func add(_ name: String, _ path: String, _ bytes: [UInt8]) {
            bytes.withUnsafeBytes { fl_lua_module(lua, name, PluginSource.chunkName(path), $0.baseAddress, $0.count) }
        }
        let main = "fairlead.plugin"
        if isTest {
            add(main, "fairlead/test", Array(PluginTestPrelude.main.utf8))
            add("fairlead.test", "fairlead/test", Array(PluginTestPrelude.module.utf8))
            add("fairlead.file", source.entry, text)
        } else {
            add(main, source.entry, text)
        }
        for (name, path) in source.modules { add(name, path, source.files[path] ?? []) }

        var packed: UnsafePointer<UInt8>?
        var length = 0
        let loaded = fl_lua_load(lua, main, &packed, &length)
        let value = PackedValue(UnsafeRawBufferPointer(start: packed, count: length)) ?? .none
        guard loaded == 1 else {
            let parts = value.items ?? []
            problems.append(
                PluginProblem(luaError: parts.first?.text ?? "could not be loaded", trace: parts.last?.text ?? ""))
            manifest = .none
            takesBatches = false
            hasInit = false
            hasStop = false
            hasMigrate = false
            stateVersion = 1
            return nil
        }
        manifest = value
        takesBatches = value["handle_batch"] == .other("function")
        hasInit = value["init"] == .other("function")
        hasStop = value["stop"] == .other("function")
        hasMigrate = value["migrate"] == .other("function")
        if case .integer(let version) = value["state_version"] { stateVersion = Int(version) } else { stateVersion = 1 }
        let before = problems.count
        check(entry, binding, isBound: isBound, &problems)
        if problems.count > before { return nil }
    }

    deinit {
        fl_lua_close(lua)
    }

    private static let manifestKeys = LuaAPI.plugin.names

    private func check(_ file: String, _ binding: PluginBinding, isBound: Bool, _ problems: inout [PluginProblem]) {
        func problem(_ message: String, _ remedy: String? = nil) {
            problems.append(PluginProblem(file: file, message: message, remedy: remedy))
        }
        switch manifest {
        case .none: break
        case .map(let pairs):
            for (key, value) in pairs {
                if !Self.manifestKeys.contains(key) {
                    let near = key.nearest(of: Self.manifestKeys).map { "; did you mean \"\($0)\"?" } ?? ""
                    problem("the plugin's table has the unknown key \"\(key)\"\(near)")
                }
                let isFunction = ["init", "handle", "handle_batch", "migrate", "stop"].contains(key)
                if isFunction, value != .other("function") {
                    problem("\(key) is a \(value.typeName), not a function", "write \(key) = function(…) … end")
                }
            }
            if manifest["handle"].isNone, manifest["handle_batch"].isNone {
                problem("the plugin's table has no handle", "add handle = function(event, ctx) … end")
            }
            if !manifest["api"].isNone, manifest["api"] != .integer(1) {
                problem("the plugin is written for another api than 1", "write api = 1")
            }
            let version = manifest["version"]
            if !version.isNone {
                if manifest.pluginVersion == nil {
                    problem("version is a \(version.typeName), not a string", "write version = \"1.2.0\"")
                } else if let bytes = manifest.pluginVersion?.utf8.count, bytes > Limits.pluginVersionBytesMax {
                    problem(
                        "version has \(bytes) bytes; the limit is \(Limits.pluginVersionBytesMax)",
                        "write version = \"1.2.0\"")
                }
            }
            switch manifest["state_version"] {
            case .none: break
            case .integer(let version) where version >= 1: break
            case let other:
                problem("state_version is \(other.shown), not an integer from 1 on", "write state_version = 1")
            }
        default:
            problem(
                "the file returns \(manifest.typeName), not a function or a table",
                "end it with `return function(event, ctx) … end`")
        }
        if binding.batch != nil, !takesBatches {
            problem(
                "the subscriber asks for batches, and the plugin has no handle_batch",
                "write handle_batch = function(events, ctx) … end, or take `batch` out of routes.conf")
        }
        checkRequirementsTable(file, &problems)
        guard isBound else {
            if !manifest["config"].isNone {
                _ = ConfigSchema(manifest["config"], file: file, problems: &problems)
            }
            return
        }
        checkRequirements(file, binding, &problems)
        configure(file, binding, &problems)
    }

    private func checkRequirementsTable(_ file: String, _ problems: inout [PluginProblem]) {
        let keys = LuaAPI.requirements.names
        for (key, _) in manifest["requires"].pairs ?? [] where !keys.contains(key) {
            problems.append(
                PluginProblem(
                    file: file, message: "requires has the unknown key \"\(key)\"",
                    remedy: "its keys are \(keys.joined(separator: ", "))"))
        }
    }

    private func checkRequirements(_ file: String, _ binding: PluginBinding, _ problems: inout [PluginProblem]) {
        let grants = Grants(binding.grants)
        for grant in PluginRequirements(manifest).grants(with: binding.settings) where !grants.covers(grant) {
            problems.append(
                PluginProblem(
                    file: file, message: "plugin \"\(binding.source.name)\" requires \(grant), which is not granted",
                    remedy: "add `allow \(grant)` to subscriber \(binding.subscriber)"))
        }
    }

    private func configure(_ file: String, _ binding: PluginBinding, _ problems: inout [PluginProblem]) {
        var config: PackedValue
        if manifest["config"].isNone {
            config = .map(binding.settings.compactMap { setting in setting.value.untyped.map { (setting.name, $0) } })
        } else {
            func problem(_ message: String, _ remedy: String) {
                problems.append(PluginProblem(file: file, message: message, remedy: remedy))
            }
            let before = problems.count
            let schema = ConfigSchema(manifest["config"], file: file, problems: &problems)
            guard problems.count == before else { return }
            let applied = schema.apply(binding.settings, plugin: binding.source.name, problems: &problems)
            config = applied.config
            for (setting, value, pattern) in applied.patterns {
                let result = fl_lua_matches(lua, value, value.utf8.count, pattern, pattern.utf8.count)
                guard result != 1 else { continue }
                if result == -2 {
                    problem(
                        "setting \"\(setting)\" takes too long to match against \(pattern)", "write a simpler pattern")
                    continue
                }
                problems.append(
                    result == 0
                        ? PluginProblem(
                            file: file,
                            message: "setting \"\(setting)\" is \"\(value)\", which does not match \(pattern)",
                            remedy: "see config.\(setting) in \(file)", setting: setting)
                        : PluginProblem(file: file, message: "config.\(setting).pattern is no Lua pattern: \(pattern)"))
            }
        }
        secrets += config.secrets
        let bytes = config.packed()
        let done = fl_lua_configure(lua, bytes, bytes.count)
        if done == 0 {
            problems.append(
                PluginProblem(
                    file: file, message: "the settings don't fit into the plugin's memory",
                    remedy: "raise `memory` in the subscriber's limits"))
        }
    }
}

extension Duration {
    /// Whole nanoseconds, saturating.
    var nanoseconds: Int64 {
        let (seconds, fraction) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds < 0 ? .min : .max }
        let (sum, carried) = product.addingReportingOverflow(fraction / 1_000_000_000)
        return carried ? .max : sum
    }
}
