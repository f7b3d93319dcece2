// SPDX-License-Identifier: Apache-2.0

/// A plugin's files as they were when the configuration was read. Nothing is read from disk after that.
package struct PluginSource: Sendable {
    /// As `run` in routes.conf calls it.
    package var name: String
    /// Bytes by path relative to the plugins' folder: `slack.lua`, `slack/format.lua`, `lib/money.lua`.
    package var files: [String: [UInt8]]
    /// Which of `files` is the plugin: `slack.lua` or `slack/init.lua`.
    package var entry: String

    package init(name: String, files: [String: [UInt8]], entry: String) {
        self.name = name
        self.files = files
        self.entry = entry
    }

    /// What errors and traces call a file.
    static func chunkName(_ path: String) -> String { "Plugins/" + path }

    /// A file's path relative to the plugins' folder, out of what errors and traces call it.
    package static func path(ofChunk name: String) -> String {
        name.hasPrefix("Plugins/") ? String(name.dropFirst("Plugins/".count)) : name
    }

    /// What `require` calls each file: those in the plugin's own folder first, then those in `lib`.
    var modules: [(name: String, path: String)] {
        func moduleName(_ path: String, below folder: String) -> String? {
            guard path.hasPrefix(folder), path.hasSuffix(".lua") else { return nil }
            var name = String(path.dropFirst(folder.count).dropLast(4))
            if name.hasSuffix("/init") { name.removeLast(5) }
            return String(name.map { $0 == "/" ? "." : $0 })
        }
        let folder = name + "/"
        let paths = files.keys.sorted()
        let own = paths.filter { $0 != entry }.compactMap { path in moduleName(path, below: folder).map { ($0, path) } }
        let shared = paths.compactMap { path in moduleName(path, below: "lib/").map { ($0, path) } }
        return own + shared
    }
}

/// One subscriber's use of a plugin: settings, grants and limits.
package struct PluginBinding: Sendable {
    package var subscriber: String
    package var source: PluginSource
    package var settings: [PluginSetting]
    package var grants: [PluginGrant]
    /// Processor time of one call.
    package var cpu: Duration
    /// Bytes of the subscriber's interpreter.
    package var memory: Int
    /// Longest that one attempt may take, waiting included.
    package var timeout: Duration
    /// Calls under way at once.
    package var concurrency: Int
    package var batch: Batch?

    /// `handle_batch` gets up to `count` events, at the latest `every` after the first of them came.
    package struct Batch: Hashable, Sendable {
        package var count: Int
        package var every: Duration

        package init(count: Int, every: Duration) {
            self.count = count
            self.every = every
        }
    }

    package init(
        subscriber: String, source: PluginSource, settings: [PluginSetting] = [], grants: [PluginGrant] = [],
        cpu: Duration = .milliseconds(100), memory: Int = 32 << 20, timeout: Duration = .seconds(10),
        concurrency: Int = 1, batch: Batch? = nil
    ) {
        self.subscriber = subscriber
        self.source = source
        self.settings = settings
        self.grants = grants
        self.cpu = cpu
        self.memory = memory
        self.timeout = timeout
        self.concurrency = concurrency
        self.batch = batch
    }
}

package struct PluginSetting: Hashable, Sendable {
    package var name: String
    package var value: PluginValue

    package init(_ name: String, _ value: PluginValue) {
        self.name = name
        self.value = value
    }
}

/// A setting as routes.conf has it; the plugin's `config` says what it should be.
package indirect enum PluginValue: Hashable, Sendable {
    case string(String)
    /// A bare word.
    case name(String)
    case integer(Int64)
    case number(Double)
    case boolean(Bool)
    case duration(Duration)
    /// Bytes.
    case size(Int)
    case rate(count: Int, per: Duration)
    case percent(Int)
    case secret(name: String, value: String)
    case list([PluginValue])
    case block([PluginSetting])
}

/// Something that a plugin may touch; all else is refused.
package enum PluginGrant: Hashable, Sendable {
    case mail
    /// A host name, `*.example.com`, with an optional `:port`.
    case http(String)
    case publish(String)
    case env(String)
    /// A folder that may be appended to; empty, as a plugin's wish, for any.
    case file(String)
}

extension PluginGrant: CustomStringConvertible {
    /// As `allow` has it.
    package var description: String {
        switch self {
        case .mail: "mail"
        case .http(let host): "http \"\(host)\""
        case .publish(let topic): "publish \(topic)"
        case .env(let name): "env \(name)"
        case .file(let path): "file \"\(path.isEmpty ? "FOLDER" : path)\""
        }
    }
}
